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


def test_accuracy_in_the_readme():
    row = RESULTS["movenet-thunder, nanodet"]
    readme = " ".join((CHECKOUT / "README.md").read_text(encoding="utf-8").split())
    assert f"finds all {row['people_found']} people" in readme
    assert (
        f"mean OKS of {row['detected_boxes_oks']:.3f} ({row['given_boxes_oks']:.3f} in the annotated boxes)" in readme
    )
