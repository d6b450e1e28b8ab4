"""How near the served key points come to people's annotation of photos: mean object key point similarity."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from cigpose_client import PoseClient
from numpy.typing import NDArray

from ensemble.keypoints import keypoint_set

_BODY = keypoint_set("coco")


def measure_photos(client: PoseClient, images: Path, annotations: Path) -> dict[str, Any]:
    """Ask for the poses in the annotated boxes and compare their first 17 points with the annotation.

    Args:
        client: of a server whose default network's points begin with COCO's 17.
        images: folder of the pictures that the annotations name.
        annotations: COCO key point annotations.

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
    """Return the similarity of points (K >= 17, 2) in picture pixels to a COCO annotation, over its labelled points.

    Source: pycocotools, `COCOeval.computeOks`: the mean of exp(-d^2 / (2 area (2 sigma)^2)).
    """
    truth = np.array(person["keypoints"], np.float64).reshape(-1, 3)
    squares = ((keypoints[: len(truth)] - truth[:, :2]) ** 2).sum(axis=1)
    variances = (2 * np.array(_BODY.sigmas)) ** 2
    each = np.exp(-squares / (2 * variances * (person["area"] + np.spacing(1))))
    return float(each[truth[:, 2] > 0].mean())
