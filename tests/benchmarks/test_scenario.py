import numpy as np
import pytest

from benchmarks.load import _percentile
from benchmarks.scenario import Pictures, Scenario, scenarios
from ensemble.picture import PictureLimits, PictureRefused, decode_picture


@pytest.mark.parametrize("scenario", scenarios().values(), ids=str)
def test_every_scenario_is_sound(scenario):
    assert sum(scenario.people.values()) == pytest.approx(1)
    assert bool(scenario.rates_per_s) != bool(scenario.callers)
    assert scenario.limits


def test_arrivals_have_the_stated_rates_one_after_the_other():
    scenario = Scenario("s", "", {"1": 1.0}, {}, rates_per_s=((100, 5.0), (10, 50.0)))
    times = np.array(scenario.arrivals())
    assert (np.diff(times) >= 0).all()
    assert (times < 100).sum() == pytest.approx(500, rel=0.2)
    assert (times >= 100).sum() == pytest.approx(500, rel=0.2)
    assert scenario.arrivals() == times.tolist()


def test_pictures_follow_the_mix_and_some_are_cut_off():
    pictures = Pictures(Scenario("s", "", {"0": 0.5, "1": 0.5}, {}, callers=1, corrupt_share=0.25))
    drawn = [pictures.draw() for _ in range(200)]
    assert sum(picture.corrupt for picture in drawn) == pytest.approx(50, rel=0.5)
    for picture in drawn[:20]:
        if picture.corrupt:
            with pytest.raises(PictureRefused):
                decode_picture(picture.encoded, PictureLimits())
        else:
            decode_picture(picture.encoded, PictureLimits())


def test_the_verdict_names_what_is_over_its_limit():
    scenario = Scenario("s", "", {}, {"p99_ms": 100, "failed_share": 0.0})
    assert scenario.verdict(p99_ms=100, failed_share=0) == []
    assert scenario.verdict(p99_ms=101, failed_share=0.5) == [
        "p99_ms is 101, over the limit of 100",
        "failed_share is 0.5, over the limit of 0.0",
    ]


def test_percentiles_of_a_histogram():
    times = {10: 50, 20: 45, 1000: 5}
    assert [_percentile(times, p) for p in (50, 95, 99)] == [10, 20, 1000]
