import numpy as np
import pytest

from ensemble.networks import Coordinates
from ensemble.steps import Request, load_step
from ensemble.steps.decode_coordinates import DecodeCoordinates

CENTERS, SCALES = np.array([[100, 200], [50, 60]], np.float32), np.array([[30, 40], [300, 400]], np.float32)
POINTS = np.array([[[0, 0], [12, 16]], [[24, 32], [-6, 40]]], np.float32)  # cells of a grid of 24 x 32


@pytest.mark.parametrize("persons", [0, 1, 2])
def test_points_are_mapped_to_the_picture_without_the_black_crop(persons):
    tensors = {
        "grid_keypoints": POINTS[: max(1, persons)],
        "grid_scores": np.array([[0.5, 0.9], [0.1, -1]], np.float32)[: max(1, persons)],
        "centers": CENTERS[:persons],
        "scales": SCALES[:persons],
    }
    answer = Coordinates((24, 32)).decoder.run(Request(tensors, {}, frozenset()))
    expected = [[[85, 180], [100, 200]], [[200, 260], [-175, 360]]]
    assert answer["keypoints"].tolist() == expected[:persons]
    assert answer["keypoints"].shape == (persons, 2, 2)
    np.testing.assert_array_equal(answer["keypoint_scores"], tensors["grid_scores"][:persons])


def test_a_config_holds_all_that_the_step_needs():
    decoder = Coordinates((24, 32)).decoder
    assert decoder.name == "decode_coordinates_32x24"
    step = f"{DecodeCoordinates.__module__}:{DecodeCoordinates.__qualname__}"
    assert load_step(decoder.name, {"step": step, **decoder.settings}) == decoder
