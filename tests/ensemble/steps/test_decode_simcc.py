import numpy as np
import pytest

from ensemble.geometry import TopDownCrop
from ensemble.steps.decode_simcc import decode_simcc


def rows(*values):
    return np.array(values, np.float32)[None]


def test_argmax_and_smaller_maximum():
    keypoints, scores = decode_simcc(rows([0, 3, 1]), rows([0, 0, 0, 2]))
    assert keypoints.tolist() == [[[1, 3]]]
    assert scores.tolist() == [[2]]
    assert (keypoints.dtype, scores.dtype) == (np.float32, np.float32)


def test_the_first_of_equal_maxima_wins():
    assert decode_simcc(rows([5, 5, 5]), rows([1, 7, 7]))[0].tolist() == [[[0, 1]]]


@pytest.mark.parametrize("top", [0.0, -0.0, -1.0])
def test_a_score_that_is_not_positive_makes_a_keypoint_invalid(top):
    keypoints, scores = decode_simcc(rows([top, -2]), rows([9, 0]))
    assert keypoints.tolist() == [[[-1, -1]]]
    assert scores[0, 0] == top


def test_no_person_gives_empty_arrays():
    keypoints, scores = decode_simcc(np.zeros((0, 17, 384), np.float32), np.zeros((0, 17, 512), np.float32))
    placed = TopDownCrop.to_picture(keypoints, (384, 512), np.zeros((0, 2), np.float32), np.zeros((0, 2), np.float32))
    assert (placed.shape, scores.shape, placed.dtype) == ((0, 17, 2), (0, 17), np.float32)


def test_rows_of_different_persons_are_refused():
    with pytest.raises(ValueError, match=r"\(1, 1, 2\) and simcc_y \(1, 2, 2\)"):
        decode_simcc(rows([1, 2]), rows([1, 2], [3, 4]))


@pytest.mark.parametrize("prefix", ["body", "crowd", "whole"])
def test_the_decoder_equals_the_reference(shared, prefix):
    golden = np.load(shared / "reference" / "decode.npz")
    simcc_x, simcc_y = golden[f"{prefix}_simcc_x"], golden[f"{prefix}_simcc_y"]
    bins, scores = decode_simcc(simcc_x, simcc_y)
    placed = TopDownCrop.to_picture(
        bins, (simcc_x.shape[2], simcc_y.shape[2]), golden[f"{prefix}_center"], golden[f"{prefix}_scale"]
    )
    np.testing.assert_array_equal(bins / 2, golden[f"{prefix}_keypoints_input"])
    np.testing.assert_array_equal(scores, golden[f"{prefix}_scores"])
    np.testing.assert_array_equal(placed, golden[f"{prefix}_keypoints_image"])
