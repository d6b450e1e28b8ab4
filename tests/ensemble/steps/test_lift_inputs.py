import numpy as np
import pytest

from ensemble.geometry import PelvisCrop
from ensemble.keypoints.human36m import to_human36m
from ensemble.steps import Request
from ensemble.steps.lift_inputs import LiftInputs, over_width, pelvis_regions
from ensemble.steps.lift_outputs import LiftOutputs
from tests.ensemble.test_human36m import standing
from tests.pictures import noise_picture

STEP = LiftInputs("lift_inputs", 192, 256, 32, "coco")


def run(keypoints, step=STEP, image_bgr=None):
    image_bgr = noise_picture(320, 240) if image_bgr is None else image_bgr
    return step.run(Request({"image_bgr": image_bgr, "keypoints": keypoints}, {}, frozenset()))


def test_the_crop_spans_two_metres_around_a_point_below_the_pelvis():
    joints = to_human36m(standing(), "coco")  # 100 pixels a metre
    centers, widths = pelvis_regions(joints)
    np.testing.assert_allclose(centers, joints[:, 0] + [0, 10], atol=0.2)
    np.testing.assert_allclose(widths, 200, rtol=0.01)


def test_joints_in_both_frames():
    keypoints = standing() + np.float32([150, 40])
    answer = run(keypoints)
    joints = to_human36m(keypoints, "coco")
    centers, widths = pelvis_regions(joints)
    zoom = 191 / (widths[0] - 1)
    pixels = zoom * (joints[0] - centers[0]) + [95.5, 127.5]
    np.testing.assert_allclose(answer["keypoints_crop"][0], pixels / [96, 128] - 1, atol=1e-5)
    image = np.stack([2 * joints[0, :, 0] / 320 - 1, 2 * joints[0, :, 1] / 320 - 240 / 320], axis=1)
    np.testing.assert_allclose(answer["keypoints_image"][0], image, atol=1e-6)
    expected = PelvisCrop((192, 256)).apply(noise_picture(320, 240), centers, widths)
    np.testing.assert_array_equal(answer["lift_crops"], expected)
    assert {name: array.dtype for name, array in answer.items()} == {
        "lift_crops": np.uint8,
        "keypoints_image": np.float32,
        "keypoints_crop": np.float32,
    }


def test_the_picture_spans_minus_one_to_one_along_x():
    corners = np.float32([[[0, 0], [320, 240], [160, 120]]])
    np.testing.assert_allclose(over_width(corners, (320, 240))[0], [[-1, -0.75], [1, 0.75], [0, 0]])


@pytest.mark.parametrize("keypoints", [np.zeros((1, 17, 2)), standing() * 0.0001, standing() * 1e4, standing() - 5000])
def test_hopeless_keypoints_give_finite_inputs(keypoints):
    answer = run(keypoints.astype(np.float32))
    assert answer["lift_crops"].shape == (1, 256, 192, 3)
    assert all(np.isfinite(answer[name]).all() for name in ("keypoints_image", "keypoints_crop"))


def test_nobody_gives_one_black_crop_that_is_dropped_afterwards():
    nobody = np.empty((0, 17, 2), np.float32)
    answer = run(nobody)
    assert {name: array.shape for name, array in answer.items()} == {
        "lift_crops": (1, 256, 192, 3),
        "keypoints_image": (1, 17, 2),
        "keypoints_crop": (1, 17, 2),
    }
    assert not answer["lift_crops"].any()
    lifted = Request({"lifted": np.ones((1, 17, 3), np.float32), "keypoints": nobody}, {}, frozenset())
    assert LiftOutputs().run(lifted)["keypoints_3d"].shape == (0, 17, 3)


def test_more_persons_than_the_lifter_takes_are_refused():
    step = LiftInputs("lift_inputs", 192, 256, 2, "coco")
    assert len(run(np.repeat(standing(), 2, axis=0), step)["lift_crops"]) == 2
    expected = "keypoints_3d: 3 persons are more than this lifter's limit of 2 a request; send fewer boxes, set max_p"
    with pytest.raises(ValueError, match=expected):
        run(np.repeat(standing(), 3, axis=0), step)


def test_whole_body_keypoints_are_lifted_by_their_first_17():
    image_bgr = noise_picture(320, 240)
    whole = run(standing("coco_wholebody"), LiftInputs("lift_inputs", 192, 256, 32, "coco_wholebody"), image_bgr)
    for name, array in run(standing(), image_bgr=image_bgr).items():
        np.testing.assert_array_equal(whole[name], array)


def test_settings_survive_a_config():
    assert LiftInputs.from_settings("lift_inputs", STEP.settings) == STEP
