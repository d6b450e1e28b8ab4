import math

import pytest

from ensemble.request_parameters import RequestParameters, parse_parameters

DEFAULTS = RequestParameters()


def test_nothing_given_leaves_the_defaults():
    assert parse_parameters({}, DEFAULTS) == DEFAULTS == RequestParameters(0.5, 0.45, 32)


@pytest.mark.parametrize("value", [0.25, "0.25", "2.5e-1"])
def test_numbers_and_numeric_strings(value):
    assert parse_parameters({"bbox_threshold": value}, DEFAULTS).bbox_threshold == 0.25


@pytest.mark.parametrize("value", [7, "7", 7.0])
def test_whole_numbers(value):
    assert parse_parameters({"max_persons": value}, DEFAULTS).max_persons == 7


def test_ends_of_the_ranges_are_inside():
    given = {"bbox_threshold": 0, "nms_threshold": 1, "max_persons": 1}
    assert parse_parameters(given, DEFAULTS) == RequestParameters(0, 1, 1)


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan, math.inf, "nan", "half", "", None, True, [0.5]])
def test_bad_values_are_refused_with_name_value_and_range(value):
    with pytest.raises(ValueError, match=r"nms_threshold is .*; it must be a number from 0\.0 to 1\.0") as error:
        parse_parameters({"nms_threshold": value}, DEFAULTS)
    assert repr(value) in str(error.value)


@pytest.mark.parametrize("value", [0, -1, 2.5, 10_001, "inf", "many", False])
def test_bad_counts_are_refused(value):
    with pytest.raises(ValueError, match=r"max_persons is .*; it must be a whole number from 1 to 10000"):
        parse_parameters({"max_persons": value}, DEFAULTS)


def test_unknown_names_are_refused():
    with pytest.raises(
        ValueError, match="unknown request parameter box_threshold; known: bbox_threshold, nms_threshold"
    ):
        parse_parameters({"box_threshold": 0.5}, DEFAULTS)


def test_tritons_own_parameters_are_ignored():
    given = {"priority": 1, "timeout": 5, "sequence_id": 3, "triton_enable_empty_final_response": True}
    assert parse_parameters(given, DEFAULTS) == DEFAULTS
