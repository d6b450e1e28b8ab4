"""The expected answers of `pose_<network>` and `pose_from_boxes_<network>`, from the in-process runtime."""

from pathlib import Path

from ensemble.triton.stored import run_here


class InProcess:
    def __init__(self, repository: Path, network: str):
        self.pose = run_here(repository, f"pose_{network}")
        self.pose_from_boxes = run_here(repository, f"pose_from_boxes_{network}")

    def estimate(self, encoded: bytes, **options):
        answer = self.pose(image=encoded, parameters=options)
        names = ("bboxes", "bbox_scores", "keypoints", "keypoint_scores")
        return *(answer[name] for name in names), int(answer["persons_detected"][0])

    def estimate_boxes(self, encoded: bytes, bboxes):
        answer = self.pose_from_boxes(image=encoded, bboxes=bboxes)
        return answer["keypoints"], answer["keypoint_scores"]
