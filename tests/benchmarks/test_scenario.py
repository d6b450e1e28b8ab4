import cv2
import numpy as np
import pytest

from benchmarks.scenario import Pictures, Scenario, rendered, scenarios
from ensemble.steps.decode_image import PictureLimits, PictureRefused, decode_picture


@pytest.mark.parametrize("scenario", scenarios().values(), ids=str)
def test_every_scenario_is_sound(scenario):
    assert sum(scenario.people.values()) == pytest.approx(1)
    assert sum(scenario.sizes.values()) == pytest.approx(1)
    assert bool(scenario.rates) != bool(scenario.callers)
    assert scenario.limits.keys() <= {"p99_ms", "refused_share", "failed_share", "recovered_times"}
    assert "recovered_times" not in scenario.limits or len(scenario.rates) > 1
    assert scenario.limits


def test_every_shape_of_load_has_a_scenario():
    assert {"steady", "step", "spike", "overload"} <= scenarios().keys()
    assert any(share > 1 for _, share in scenarios()["overload"].rates)


def test_arrivals_have_the_stated_rates_one_after_the_other():
    scenario = Scenario("s", "", {"1": 1.0}, {}, rates=((100, 0.5), (10, 5.0)))
    arrivals = scenario.arrivals(sustained_per_s=10)
    times, phases = (np.array(column) for column in zip(*arrivals, strict=True))
    assert (np.diff(times) >= 0).all()
    assert (times < 100).sum() == pytest.approx(500, rel=0.2)
    assert (times >= 100).sum() == pytest.approx(500, rel=0.2)
    assert ((times >= 100) == (phases == 1)).all()
    assert scenario.arrivals(10) == arrivals


def test_pictures_follow_the_mix_and_some_are_truncated():
    scenario = Scenario(
        "s", "", {"0": 0.5, "1": 0.5}, {}, callers=1, sizes={"640": 0.5, "320": 0.5}, corrupt_share=0.25
    )
    pictures = Pictures(scenario)
    drawn = [pictures.draw() for _ in range(200)]
    assert sum(picture.corrupt for picture in drawn) == pytest.approx(50, rel=0.5)
    sides = []
    for picture in drawn[:40]:
        if picture.corrupt:
            with pytest.raises(PictureRefused):
                decode_picture(picture.encoded, PictureLimits())
        else:
            sides.append(max(decode_picture(picture.encoded, PictureLimits()).shape))
    assert {*sides} == {320, 640}


def test_a_larger_picture_shows_the_same_scene():
    small, large = (decode_picture(rendered(1, side, 0), PictureLimits()) for side in (320, 1280))
    again = cv2.resize(large, small.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(again.astype(int) - small).mean() < 8


def test_the_verdict_names_each_exceeded_limit():
    scenario = Scenario("s", "", {}, {"p99_ms": 100, "failed_share": 0.0})
    assert scenario.verdict({"p99_ms": 100, "failed_share": 0}) == []
    assert scenario.verdict({"p99_ms": 101, "failed_share": 0.5}) == [
        "p99_ms is 101, over the limit of 100",
        "failed_share is 0.5, over the limit of 0.0",
    ]


def test_without_an_answer_the_verdict_fails():
    assert Scenario("s", "", {}, {"p99_ms": 100}).verdict({"p99_ms": float("nan")})
