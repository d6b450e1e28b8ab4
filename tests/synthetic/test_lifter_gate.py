"""What the committed lifter gains from the picture must not fall below the record weights/lifter.json."""

import json

import pytest

from synthetic.lifter_accuracy import NETWORK, RECORD, measure_lifter

RECORDED = json.loads(RECORD.read_text(encoding="utf-8"))
OWN, NO_CONTEXT, PLAIN = (RECORDED[f"{NETWORK.stem}{suffix}"] for suffix in ("", "_no-context", "_plain"))


def test_context_is_worth_more_than_coordinates_alone():
    """The claim of the paper, arXiv 2311.03312."""
    assert OWN["MPJPE_mm"] <= 0.9 * NO_CONTEXT["MPJPE_mm"]
    assert OWN["MPJPE_mm"] < PLAIN["MPJPE_mm"]
    assert OWN["people"] == NO_CONTEXT["people"] == PLAIN["people"]


def test_the_lifter_errs_as_recorded():
    measured = measure_lifter(NETWORK)
    assert measured["people"] == OWN["people"]
    for name in ("MPJPE_mm", "P-MPJPE_mm"):
        assert measured[name] == pytest.approx(OWN[name], rel=0.01)


def test_the_lifter_is_small_enough_for_the_repository():
    assert NETWORK.stat().st_size <= 8_000_000
