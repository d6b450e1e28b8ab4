import json
import math

import pytest

from benchmarks.samples import Outcome, Sample, read, summary


def sent(latencies, *, phase=0, start=0.0, outcome=Outcome.ANSWERED):
    return [Sample(start + number / 100, float(ms), outcome, phase) for number, ms in enumerate(latencies)]


def test_percentiles_count_answered_requests_only():
    found = summary(sent(range(1, 101)) + sent([9000.0] * 100, outcome=Outcome.REFUSED))
    assert (found["p50_ms"], found["p99_ms"]) == pytest.approx((50.5, 99.01))
    assert (found["refused_share"], found["failed_share"]) == (0.5, 0)
    assert math.isnan(found["recovered_times"])


def test_a_rejected_corrupt_picture_is_not_a_failure():
    found = summary(sent([1, 2]) + sent([1], outcome=Outcome.CORRUPT) + sent([5], outcome=Outcome.FAILED))
    assert found["failed_share"] == 0.25
    assert found["outcomes"] == {"answered": 2, "corrupt": 1, "refused": 0, "failed": 1}


def test_recovery_is_measured_at_the_end_of_the_last_phase():
    quiet, overloaded = sent([10] * 50), sent([500] * 50, phase=1, start=1)
    last = sent([300] * 20 + [15] * 20, phase=2, start=2)  # the queue is still being emptied at first
    assert summary(quiet + overloaded + last)["recovered_times"] == pytest.approx(1.5)


def test_samples_are_read_in_order_from_the_first_one_on(tmp_path):
    path = tmp_path / "samples.json"
    path.write_text(json.dumps([(8.0, 3.5, "refused", 1), (7.5, 12.0, "answered", 0)]))
    assert read(path) == [Sample(0.0, 12.0, Outcome.ANSWERED, 0), Sample(0.5, 3.5, Outcome.REFUSED, 1)]
    path.write_text("[]")
    assert read(path) == []
