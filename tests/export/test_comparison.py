"""Differences between two runs of one network."""

import math

import numpy as np
import pytest

from export.comparison import difference, joined


@pytest.fixture
def answers():
    generator = np.random.default_rng(0)
    return {name: generator.normal(size=(2, 3, width)).astype(np.float32) for name, width in (("x", 8), ("y", 12))}


def test_equal_answers(answers):
    found = difference(answers, answers)
    assert (found.largest, found.rms) == (0, 0)


def test_one_changed_value(answers):
    changed = {**answers, "x": answers["x"].copy()}
    changed["x"][1, 2, 0] += 100
    found = difference(answers, changed)
    assert found.largest == pytest.approx(100)
    assert found.rms == pytest.approx(100 / math.sqrt(2 * 3 * 8) / answers["x"].std(), rel=1e-4)


def test_the_output_that_differs_most_counts(answers):
    answers["small"] = answers["x"] * np.float32(1e-6)
    changed = {**answers, "small": answers["small"] * np.float32(1.5)}
    assert difference(answers, changed).rms > 0.4


def test_nan_is_never_close(answers):
    changed = {**answers, "y": answers["y"] * np.float32(math.nan)}
    assert not difference(answers, changed).rms <= 1e9


def test_names_and_shapes_must_agree(answers):
    for changed in ({"x": answers["x"]}, {**answers, "y": answers["x"]}):
        with pytest.raises(ValueError, match=r"shapes differ: {'x': \(2, 3, 8\), 'y': \(2, 3, 12\)} expected, "):
            difference(answers, changed)


def test_batches_are_joined(answers):
    parts = [{name: array[i : i + 1] for name, array in answers.items()} for i in range(2)]
    assert difference(answers, joined(parts)).largest == 0
