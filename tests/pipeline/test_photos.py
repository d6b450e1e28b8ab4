"""Photos of people through the server, with published detector weights and a trained network of 17 keypoints."""

import json

import numpy as np
import pytest
from cigpose_client import keypoint_sets
from cigpose_client.evaluation import keypoint_similarities

from export.repository import build_repository
from tests.triton import call

pytestmark = pytest.mark.server

MISSED = {  # annotation id -> why YOLOX-Nano does not find it at the default threshold of 0.5
    467657: "a person half hidden behind others, with a score of only 0.28",
    1202706: "a sliver of a person, 11 pixels wide and without labelled keypoints, with a score of only 0.17",
}


@pytest.fixture(scope="module")
def photo_server(shared, serve, tmp_path_factory):
    weights, output = shared / "weights", tmp_path_factory.mktemp("photos")
    build_repository([weights / "pp-tinypose_coco_256x192.onnx"], weights / "yolox_nano.onnx", output)
    with serve(output, profile="cpu") as running:
        yield running


@pytest.fixture(scope="module")
def photos(shared):
    """Encoded pictures and their annotations: [(bytes, [annotation, ...]), ...]."""
    folder = shared / "data" / "coco_sample"
    content = json.loads((folder / "test_coco_wholebody.json").read_text())
    return [
        (
            (folder / image["file_name"]).read_bytes(),
            [a for a in content["annotations"] if a["image_id"] == image["id"]],
        )
        for image in content["images"]
    ]


def xyxy(annotation):
    x, y, width, height = annotation["bbox"]
    return [x, y, x + width, y + height]


def similarity(keypoints, annotation):
    """Return the object keypoint similarity over the labelled ones of COCO's 17 keypoints."""
    truth = np.array(annotation["keypoints"], float).reshape(-1, 3)
    each = keypoint_similarities(keypoints, truth[:, :2], annotation["area"], keypoint_sets()["coco"].sigmas)
    return each[truth[:, 2] > 0].mean()


def iou(box, boxes):
    top_left, bottom_right = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    overlap = np.prod(np.clip(bottom_right - top_left, 0, None), axis=1)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    return overlap / (np.prod(box[2:] - box[:2]) + areas - overlap)


def test_every_person_of_60_pixels_is_found(photo_server, photos):
    missed = set()
    for encoded, annotations in photos:
        found = call(photo_server, "pose", encoded, outputs=["bboxes"])["bboxes"]
        for annotation in annotations:
            box = np.array(xyxy(annotation), float)
            if not annotation["iscrowd"] and box[3] - box[1] >= 60 and not (iou(box, found) >= 0.5).any():
                missed.add(annotation["id"])
    assert missed == set(MISSED)


def test_keypoints_of_real_people_in_given_boxes(photo_server, photos):
    similarities = []
    for encoded, annotations in photos:
        labelled = [a for a in annotations if a["num_keypoints"]]
        bboxes = np.array([xyxy(a) for a in labelled], np.float32)
        keypoints = call(photo_server, "pose_from_boxes", encoded, bboxes)["keypoints"]
        similarities += map(similarity, keypoints, labelled)
    assert len(similarities) == 12
    assert np.mean(similarities) >= 0.88


def test_keypoints_of_real_people_in_detected_boxes(photo_server, photos):
    similarities, found = [], 0
    for encoded, annotations in photos:
        answer = call(photo_server, "pose", encoded)
        found += len(answer["bboxes"])
        for annotation in annotations:
            overlaps = iou(np.array(xyxy(annotation), float), answer["bboxes"])
            if annotation["num_keypoints"] and overlaps.max() >= 0.5:
                similarities.append(similarity(answer["keypoints"][overlaps.argmax()], annotation))
    assert found == 11
    assert np.mean(similarities) >= 0.90
