"""The client example of the README, run with a wheel in an empty environment against a real server."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pictures import encode, picture_with_persons

CHECKOUT = Path(__file__).parents[2]
pytestmark = [pytest.mark.server, pytest.mark.slow]


def run(*command, **options):
    return subprocess.run(command, check=True, capture_output=True, text=True, **options).stdout


def test_the_example_runs_from_an_empty_environment(server, tmp_path):
    (example,) = re.findall(r"```python\n(.*?)```", (CHECKOUT / "README.md").read_text(), re.DOTALL)
    assert len(example.splitlines()) <= 10
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path, cwd=CHECKOUT / "client")
    (wheel,) = tmp_path.glob("*.whl")
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    run(python, "-m", "pip", "install", "-q", wheel)
    assert "opencv" not in run(python, "-m", "pip", "list")
    (tmp_path / "photo.jpg").write_bytes(encode(picture_with_persons([(10, 10), (30, 20)]), ".png"))
    said = run(python, "-c", example.replace("localhost:8001", server.grpc_url), cwd=tmp_path)
    assert said.count("[") == said.count("(") == 2, "boxes and noses of two people"
