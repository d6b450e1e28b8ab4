"""Measured figures in the documentation are those of the recorded results."""

import json
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
RESULTS = json.loads((CHECKOUT / "tests" / "pipeline" / "results" / "photos.json").read_text())


@pytest.mark.parametrize("networks", ["movenet-thunder, nanodet", "pp-tinypose, yolox_nano"])
def test_accuracy_on_photos(networks):
    row = RESULTS[networks]
    given, found, detected = row["given_boxes_oks"], row["people_found"], row["detected_boxes_oks"]
    page = (CHECKOUT / "docs" / "networks.md").read_text(encoding="utf-8")
    assert f"| {given:.3f} | {found} of 14 | {detected:.3f} |" in page
