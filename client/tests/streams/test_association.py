"""Overlap, OKS and assignment."""

import sys

import numpy as np
import pytest
from cigpose_client.streams import association


def test_oks_is_that_of_coco():
    rng = np.random.default_rng(0)
    a, b = rng.uniform(0, 100, (2, 3, 5, 2))
    sigmas, area = rng.uniform(0.02, 0.1, 5), 5000.0
    tolerance = np.tile(2 * sigmas * np.sqrt(area), (3, 1))
    ones = np.ones((3, 5))
    found = association.oks(a, b, ones, ones, tolerance)
    for row, column in np.ndindex(3, 3):  # cocoeval: e = d^2 / (2 sigma)^2 / area / 2
        errors = ((a[row] - b[column]) ** 2).sum(axis=1) / (2 * sigmas) ** 2 / area / 2
        assert found[row, column] == pytest.approx(np.exp(-errors).mean())


def test_keypoints_count_with_the_smaller_weight():
    a, b = np.zeros((1, 2, 2)), np.array([[[0.0, 0.0], [900.0, 0.0]]])
    tolerance = np.full((1, 2), 10.0)
    assert association.oks(a, b, np.ones((1, 2)), np.array([[1.0, 0.0]]), tolerance)[0, 0] == pytest.approx(1)
    assert association.oks(a, b, np.array([[0.5, 0.5]]), np.ones((1, 2)), tolerance)[0, 0] == pytest.approx(0.5)


def test_overlaps():
    boxes = np.array([[0.0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30], [4, 4, 4, 4]])
    found = association.overlaps(boxes, boxes)
    np.testing.assert_allclose(found[0], [1, 1 / 3, 0, 0], atol=1e-6)
    assert found[3, 3] == 0


def test_the_assignment_has_the_largest_sum_and_no_pair_below_the_limit():
    similarity = np.array([[0.9, 0.8, 0.0], [0.8, 0.1, 0.0], [0.0, 0.0, 0.05]])
    rows, columns = association.assign(similarity, 0.15)
    assert list(zip(rows, columns, strict=True)) == [(0, 1), (1, 0)]
    assert [len(part) for part in association.assign(np.zeros((0, 3)), 0.15)] == [0, 0]


def test_a_missing_scipy_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(ModuleNotFoundError, match=r"cigpose-client\[track\]"):
        association.assign(np.ones((1, 1)), 0.15)
