"""Four annotated photos of real people, and films that pan and zoom over them."""

import json

import cv2
import numpy as np
from cigpose_client import keypoint_sets
from cigpose_client.evaluation import keypoint_similarities

from synthetic.films import FilmFrame, Tracked
from synthetic.scene import Person

BODY = keypoint_sets()["coco"]
RATE, SECONDS = 25.0, 1.4
PAN_S = 2.5


def window(time_s, width, height):
    """Return the (2, 3) matrix from the photo to the picture: a view that pans over its width and zooms.

    The view stays inside the photo: its middle moves by less than half of what the zoom cuts off.
    """
    turn = 2 * np.pi * time_s / PAN_S
    zoom = 1.5 + 0.2 * np.sin(turn)
    middle = np.array([width, height]) / 2 * (1 + (1 - 1 / zoom) * np.array([np.sin(turn + 1), 0.8 * np.cos(turn)]))
    return np.hstack([zoom * np.eye(2), (np.array([[width], [height]]) / 2 - zoom * middle[:, None])])


def seen_through(matrix, annotation, track_id, size):
    """Return the truth about a person of a photo in a view of it; None if fewer than 5 labelled keypoints are in it."""
    labelled = np.array(annotation["keypoints"], float).reshape(-1, 3)
    x, y, width, height = annotation["bbox"]
    corners = np.array([[x, y], [x + width, y + height]])
    points, box = (values @ matrix[:, :2].T + matrix[:, 2] for values in (labelled[:, :2], corners))
    inside = (labelled[:, 2] > 0) & (points >= 0).all(axis=1) & (points < size).all(axis=1)
    if inside.sum() < 5:
        return None
    visible = np.where(inside, 2, 0)
    area = annotation["area"] * matrix[0, 0] ** 2
    person = Person(points, visible, np.clip(box, 0, size).ravel(), area, np.zeros((17, 3)))
    return Tracked(track_id, person, 1.0)


def film(path, annotations):
    """Return the frames of the film over one photo."""
    photo, frames = cv2.imread(str(path)), []
    size = photo.shape[1::-1]
    for index in range(round(RATE * SECONDS)):
        matrix = window(index / RATE, *size)
        jpeg = cv2.imencode(".jpg", cv2.warpAffine(photo, matrix, size), [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()
        people = (seen_through(matrix, each, number, size) for number, each in enumerate(annotations, start=1))
        frames.append(FilmFrame(index / RATE, jpeg, tuple(person for person in people if person)))
    return frames


def films(shared):
    """Return the films over the four photos, with their labelled people."""
    return [film(path, [person for person in people if person["num_keypoints"]]) for path, people in annotated(shared)]


def annotated(shared):
    """Return the paths of the photos and their annotations: [(path, [annotation, ...]), ...]."""
    folder = shared / "data" / "coco_sample"
    content = json.loads((folder / "test_coco_wholebody.json").read_text())
    people = content["annotations"]
    return [
        (folder / image["file_name"], [person for person in people if person["image_id"] == image["id"]])
        for image in content["images"]
    ]


def xyxy(annotation):
    x, y, width, height = annotation["bbox"]
    return [x, y, x + width, y + height]


def similarity(keypoints, annotation):
    """Return the object keypoint similarity over the labelled ones of COCO's 17 keypoints."""
    truth = np.array(annotation["keypoints"], float).reshape(-1, 3)
    each = keypoint_similarities(keypoints[: len(truth)], truth[:, :2], annotation["area"], BODY.sigmas)
    return each[truth[:, 2] > 0].mean()


def in_given_boxes(client, photos):
    """Return the mean similarity of the 12 labelled people in their annotated boxes."""
    similarities = []
    for path, annotations in photos:
        labelled = [person for person in annotations if person["num_keypoints"]]
        poses = client.estimate_boxes(path, np.array([xyxy(person) for person in labelled], np.float32))
        similarities += map(similarity, poses.keypoints, labelled)
    assert len(similarities) == 12
    return float(np.mean(similarities))
