import numpy as np
import pytest

from ensemble.geometry import TopDownCrop
from ensemble.steps import Request
from ensemble.steps.crop_persons import CropPersons, check_crop_count
from tests.pictures import noise_picture

STEP = CropPersons("crop_persons", input_width=48, input_height=64, max_crops=3, padding=1.5)
IMAGE_BGR = noise_picture(320, 240)


def crop(count, **parameters):
    boxes = np.array([[10 * n, 20, 10 * n + 60, 120] for n in range(count)], np.float32).reshape(-1, 4)
    outputs = STEP.run(Request({"image_bgr": IMAGE_BGR, "person_boxes": boxes}, parameters, frozenset()))
    return boxes, outputs


def test_a_crop_for_each_box():
    boxes, outputs = crop(3)
    expected = TopDownCrop((48, 64), padding=1.5)
    centers, scales = expected.regions(boxes)
    assert outputs.keys() == {"crops", "centers", "scales"}
    np.testing.assert_array_equal(outputs["crops"], expected.apply(IMAGE_BGR, centers, scales))
    np.testing.assert_array_equal(outputs["centers"], centers)
    np.testing.assert_array_equal(outputs["scales"], scales)
    assert STEP.counts({}, outputs) == {"cigpose_crops_total": 3, "cigpose_dummy_crops_total": 0}


def test_the_crop_of_unbiased_networks():
    step = CropPersons("crop_persons", 48, 64, 3, warp="udp")
    box = np.array([[10, 20, 70, 120]], np.float32)
    outputs = step.run(Request({"image_bgr": IMAGE_BGR, "person_boxes": box}, {}, frozenset()))
    expected = TopDownCrop((48, 64), warp="udp").apply(IMAGE_BGR, outputs["centers"], outputs["scales"])
    np.testing.assert_array_equal(outputs["crops"], expected)
    assert CropPersons.from_settings("crop_persons", step.settings) == step


def test_nobody_is_one_black_crop():
    _, outputs = crop(0)
    assert (outputs["crops"].shape, outputs["crops"].dtype) == ((1, 64, 48, 3), np.uint8)
    assert not outputs["crops"].any()
    assert outputs["centers"].shape == outputs["scales"].shape == (0, 2)
    assert STEP.counts({}, outputs) == {"cigpose_crops_total": 0, "cigpose_dummy_crops_total": 1}


def test_more_crops_than_the_network_takes_are_refused():
    check_crop_count(32, 32, 32)
    with pytest.raises(ValueError, match=r"^bboxes: 33 are more than this network's limit of 32 a request; "):
        check_crop_count(33, 32, 32)
    with pytest.raises(
        ValueError,
        match="^request parameter max_persons is 40; this network's keypoints are for 1 to 32 persons a request "
        r"\(without keypoints in the requested outputs there is no such limit\)$",
    ):
        check_crop_count(3, 40, 32)


def test_the_step_refuses_more_than_it_takes():
    assert len(crop(2, max_persons=3)[1]["crops"]) == 2
    with pytest.raises(ValueError, match="4 are more than this network's limit of 3"):
        crop(4)
    with pytest.raises(ValueError, match="max_persons is 4; this network's keypoints are for 1 to 3 persons"):
        crop(1, max_persons=4)
