"""Mean object keypoint similarity between served keypoints and the annotations of photos."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from cigpose_client import PoseClient, keypoint_sets
from cigpose_client.evaluation import keypoint_similarities
from numpy.typing import NDArray

_BODY = keypoint_sets()["coco"]


def measure_photos(client: PoseClient, images: Path, annotations: Path) -> dict[str, Any]:
    """Ask for the poses in the annotated boxes and compare their first 17 points with the annotation.

    Args:
        client: of a server whose default network's points begin with COCO's 17.
        images: folder of the pictures that the annotations name.
        annotations: COCO keypoint annotations.

    Returns:
        `people` with at least one labelled point, and the mean of their similarities, `mean_oks` (0 to 1).
    """
    content = json.loads(annotations.read_text(encoding="utf-8"))
    similarities: list[float] = []
    for image in content["images"]:
        people = [a for a in content["annotations"] if a["image_id"] == image["id"] and a["num_keypoints"]]
        if not people:
            continue
        boxes = np.array([person["bbox"] for person in people], np.float32)
        boxes[:, 2:] += boxes[:, :2]
        poses = client.estimate_boxes(images / image["file_name"], boxes)
        similarities += map(object_keypoint_similarity, poses.keypoints, people)
    return {"people": len(similarities), "mean_oks": round(float(np.mean(similarities)), 4)}


def object_keypoint_similarity(keypoints: NDArray[np.float32], person: dict[str, Any]) -> float:
    """Return the similarity of points (K >= 17, 2) in picture pixels to a COCO annotation, over its labelled points."""
    truth = np.array(person["keypoints"], np.float64).reshape(-1, 3)
    each = keypoint_similarities(keypoints[: len(truth)], truth[:, :2], person["area"], _BODY.sigmas)
    return float(each[truth[:, 2] > 0].mean())
