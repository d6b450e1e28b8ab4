import json
import os
from pathlib import Path

import pytest

from export.repository import build_repository
from tests.networks import save_detector, save_pose_network
from tests.pictures import encode, picture_with_persons
from tests.reliability.load import expected_answers


@pytest.fixture(scope="session")
def pictures():
    """Pictures with 0 to 3 people, all different."""
    return [encode(picture_with_persons([(6 + 9 * i, 5 * n + 4) for i in range(n % 4)], seed=n)) for n in range(6)]


@pytest.fixture(scope="session")
def expected(alone, pictures):
    return expected_answers(alone, pictures)


@pytest.fixture(scope="session")
def slow(tmp_path_factory):
    """A repository whose pose network takes most of the time, as published ones do.

    On two cores it serves about as many crowded pictures as CIGPose-m in bfloat16 (`benchmarks/results/compare.json`).
    """
    folder = tmp_path_factory.mktemp("slow")
    pose = save_pose_network(folder / "slow.onnx", idle_channels=768)
    build_repository([pose], save_detector(folder / "red_cells.onnx"), folder / "repository")
    return folder / "repository"


@pytest.fixture(scope="session")
def crowded():
    """Three people in every picture; files of 12 kB, or receiving them would be the most of a spike's work."""
    cells = [[(6 + 9 * i, 5 * n + 4) for i in range(3)] for n in range(4)]
    return [encode(picture_with_persons(it, seed=n, grain=4), ".webp") for n, it in enumerate(cells)]


@pytest.fixture(scope="session")
def record():
    """Return a function that stores a row of the report in the folder RELIABILITY_RESULTS, if that is set."""

    def keep(name, **row):
        folder = os.environ.get("RELIABILITY_RESULTS")
        if folder:
            Path(folder).mkdir(parents=True, exist_ok=True)
            (Path(folder) / f"{name}.json").write_text(json.dumps(row, indent=2, sort_keys=True) + "\n")

    return keep
