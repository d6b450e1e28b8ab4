import pytest

from benchmarks import gateway
from benchmarks.closed_loop import Load
from tests.pictures import encode, noise_picture

pytest.importorskip("uvicorn", reason="the gateway needs requirements/gateway.txt")


def test_the_gateway_alone_is_measured():
    result = gateway._alone([encode(noise_picture(64, 48), ".jpg")], callers=4, requests=60)
    assert 0.05 < result["alone_ms_of_processor_per_picture"] < 100
    assert result["alone_pictures_per_s_and_core"] == pytest.approx(1000 / result["alone_ms_of_processor_per_picture"])
    assert result["alone_pictures_per_s"] > 1


def test_the_ratio_is_the_median_of_the_pairs():
    pairs = [(Load(10.0, 2.0, [0.1]), Load(rate, 2.0, [0.2])) for rate in (9.0, 10.0, 5.0)]
    summary = gateway._summary(pairs)
    assert (summary["ratio"], summary["ratios"]) == (0.9, [0.9, 1.0, 0.5])
    assert (summary["grpc_p50_ms"], summary["gateway_p50_ms"]) == (100, 200)
    assert "| 0.90 |" in gateway.as_table(summary)
