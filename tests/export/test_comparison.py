"""Differences of SimCC rows."""

import math

import numpy as np
import pytest

from export.comparison import concatenated, difference


@pytest.fixture
def rows():
    generator = np.random.default_rng(0)
    return tuple(generator.normal(size=(2, 3, bins)).astype(np.float32) for bins in (8, 12))


def test_equal_rows(rows):
    found = difference(rows, rows)
    assert (found.largest, found.rms, found.moved) == (0, 0, 0)


def test_one_changed_logit(rows):
    changed = rows[0].copy(), rows[1]
    changed[0][1, 2, 0] += 100
    found = difference(rows, changed)
    spread = np.concatenate([part.ravel() for part in rows]).std()
    assert found.largest == pytest.approx(100)
    assert found.rms == pytest.approx(100 / math.sqrt(120) / spread, rel=1e-4)
    assert found.moved == pytest.approx(1 / 12)
    assert "8.33% of the arg-maxima" in str(found)


def test_the_neighbouring_bin_is_no_move():
    expected = np.zeros((1, 1, 4), np.float32), np.zeros((1, 1, 4), np.float32)
    expected[0][0, 0, 1] = 1
    actual = np.roll(expected[0], 1, axis=2), expected[1]
    assert difference(expected, actual).moved == 0


def test_not_a_number_is_never_close(rows):
    changed = rows[0].copy(), rows[1]
    changed[0][0, 0, 0] = np.nan
    assert not difference(rows, changed).rms <= 1e9


def test_shapes_must_agree(rows):
    with pytest.raises(ValueError, match=r"shapes differ: \[\(2, 3, 8\)"):
        difference(rows, (rows[1], rows[0]))


def test_batches_are_joined(rows):
    parts = [(rows[0][i : i + 1], rows[1][i : i + 1]) for i in range(2)]
    assert difference(rows, concatenated(parts)).largest == 0
