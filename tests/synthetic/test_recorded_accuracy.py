import json
from pathlib import Path

import pytest

pytest.importorskip("pycocotools", reason="needs pycocotools")

from synthetic.gate import in_process, measure

WEIGHTS = Path(__file__).parents[2] / "weights"
MAY_FALL_BY = 0.01


def test_committed_weights_stay_below_8_mb() -> None:
    assert sum(path.stat().st_size for path in WEIGHTS.glob("*.onnx")) <= 8_000_000


@pytest.mark.slow
def test_accuracy_in_process_is_the_served_one() -> None:
    recorded = json.loads((WEIGHTS / "accuracy.json").read_text())["cpu"]["average_precision"]
    chain = in_process(WEIGHTS / "cigpose-t_rendered_256x192.onnx", WEIGHTS / "yolox-t_rendered_416.onnx")
    measured = measure(chain).average_precision
    for part, expected in recorded.items():
        assert measured[part] > expected - MAY_FALL_BY, part
