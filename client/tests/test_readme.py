"""The examples of the README, run."""

import asyncio
import re
from pathlib import Path

import pytest

BLOCKS = re.findall(r"```python\n(.*?)```", (Path(__file__).parents[1] / "README.md").read_text(), re.DOTALL)


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photo.jpg").write_bytes(b"2")
    return ["photo.jpg", "photo.jpg"]


def test_the_first_example(server, photos, capsys):
    exec(BLOCKS[0].replace("localhost:8001", server.url), {})
    assert capsys.readouterr().out.count("left_shoulder") == 2


def test_many_pictures(client, server, photos):
    exec(BLOCKS[1], {"client": client, "paths": photos})
    assert len(server.requests) == 4


def test_asyncio(server, photos):
    lines = BLOCKS[2].replace("localhost:8001", server.url).replace("\n", "\n    ")
    scope = {"paths": photos}
    exec(f"from cigpose_client import AsyncPoseClient\nasync def main():\n    {lines}", scope)
    asyncio.run(scope["main"]())
    assert len(server.requests) == 3
