"""What another version of a network loses, and how certain that is."""

from dataclasses import dataclass

import numpy as np
import pytest
from cigpose_client import keypoint_sets
from cigpose_client.evaluation import Dataset

from export.quantization.loss import AP, SIMILARITY, loss


@dataclass
class Moved:
    """A trial of COCO's people whose other version moves each person by `run`'s number of pixels."""

    keypoint_set: str = "coco"
    kind: str = "top-down"
    given_boxes: bool = True

    def answer(self, sample, run):
        return {**sample, "keypoints": sample["keypoints"] + np.float32(run(sample))}


def picture(at=0):
    points = np.random.default_rng(at).uniform(10, 90, (1, 17, 2)).astype(np.float32)
    return {
        "bboxes": np.array([[0, 0, 100, 100]], np.float32),
        "bbox_scores": np.ones(1, np.float32),
        "keypoints": points,
        "keypoint_scores": np.ones((1, 17), np.float32),
    }


def truth(pictures):
    people = [
        {"image_id": at, "bbox": [0, 0, 100, 100], "area": 5300.0, "keypoints": annotated(each["keypoints"][0])}
        for at, each in enumerate(pictures)
    ]
    return Dataset([{"id": at, "width": 100, "height": 100} for at in range(len(pictures))], people)


def annotated(points):
    return np.column_stack((points, np.full(17, 2))).ravel().tolist()


@pytest.fixture
def pictures():
    return [picture(at) for at in range(20)]


def test_an_equal_version_loses_nothing(pictures):
    found = loss(Moved(), pictures, lambda sample: 0)
    assert (found.measure, found.lost, found.error, found.bound) == (SIMILARITY, 0, 0, 0)


def test_an_even_loss_has_no_error(pictures):
    found = loss(Moved(), pictures, lambda sample: 5)
    sigmas = np.array(keypoint_sets()["coco"].sigmas)
    expected = 1 - np.exp(-50 / (2 * sigmas) ** 2 / 5300 / 2).mean()
    assert found.lost == pytest.approx(expected, abs=1e-3)
    assert found.error == pytest.approx(0, abs=1e-6)


def test_a_loss_on_few_pictures_has_an_error(pictures):
    """Lost people in one of ten groups of pictures: the mean is 0.1, and its standard error 0.1, too."""
    moved = {id(pictures[at]): 1000 for at in (3, 13)}
    found = loss(Moved(), pictures, lambda sample: moved.get(id(sample), 0))
    assert (found.lost, found.error, found.bound) == pytest.approx((0.1, 0.1, 0.2))
    assert str(found).endswith("loss 0.1000, standard error 0.1000")


def test_average_precision_against_the_truth(pictures):
    pytest.importorskip("pycocotools")
    far = {id(each) for each in pictures[::2]}
    found = loss(Moved(), pictures, lambda sample: 1000 if id(sample) in far else 0, list(range(20)), truth(pictures))
    assert (found.measure, found.float32) == (AP, pytest.approx(1.0))
    assert 0.4 < found.lost < 0.8
    assert 0 < found.error < 0.2


def test_one_picture_has_no_error():
    assert loss(Moved(), [picture()], lambda sample: 1000).error == 0


def test_pictures_without_people_are_dealt_out_evenly(pictures):
    """Without annotated people on every tenth picture, no group is empty."""
    pytest.importorskip("pycocotools")
    known = truth(pictures)
    few = Dataset(known.images, [person for person in known.people if person["image_id"] % 10])
    far = {id(each) for each in pictures[1::2]}
    found = loss(Moved(), pictures, lambda sample: 1000 if id(sample) in far else 0, list(range(20)), few)
    assert found.float32 == pytest.approx(1.0, abs=0.2) and found.lost > 0.3
    assert 0 < found.error < 0.2


def test_groups_without_people_do_not_hide_a_loss(pictures):
    empty = {name: array[:0] for name, array in picture().items()}
    found = loss(Moved(), [pictures[0], *[empty] * 9, pictures[1]], lambda sample: 1000 * (sample is pictures[0]))
    assert (found.lost, found.error) == pytest.approx((0.5, 0.5))


@pytest.mark.parametrize("change", [{"iscrowd": 1}, {"keypoints": [0.0] * 51}, {"image_id": 99}])
def test_nothing_to_measure_is_refused(pictures, change):
    known = truth(pictures)
    wrong = Dataset(known.images, [person | change for person in known.people])
    with pytest.raises(ValueError, match="no person but crowds has labelled keypoints on the 20 pictures"):
        loss(Moved(), pictures, lambda sample: 0, list(range(20)), wrong)
