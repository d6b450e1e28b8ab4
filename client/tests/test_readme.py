"""The examples of the README run, and its tables are complete."""

import asyncio
import re
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from cigpose_client import DrawOptions
from cigpose_client._errors import _BREAKS

README = (Path(__file__).parents[1] / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photo.jpg").write_bytes(b"2")
    return ["photo.jpg", "photo.jpg"]


def test_the_first_example(server, photos, capsys):
    exec(BLOCKS[0].replace("localhost:8001", server.url), {})
    assert capsys.readouterr().out.count("left_shoulder") == 2


def test_drawing(client):
    scope = {"poses": client.estimate(b"2"), "image_bgr": np.zeros((240, 320, 3), np.uint8)}
    exec(BLOCKS[1], scope)
    assert scope["drawn"].any()
    assert scope["numbered"].any()


def test_the_table_lists_every_drawing_option():
    table = README.split("| field of `DrawOptions` |")[1].split("\n\n")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| `?([^`|]+)`? \|", table, re.MULTILINE))
    assert rows.pop("parts") == "all"
    assert {name: eval(default) for name, default in rows.items()} == {
        field.name: field.default for field in fields(DrawOptions) if field.name != "parts"
    }


def test_every_broken_connection_is_in_the_table():
    assert [broken.problem for broken in _BREAKS if broken.problem.split(" (")[0] not in README] == []


def test_many_pictures(client, server, photos):
    exec(BLOCKS[2], {"client": client, "paths": photos})
    assert len(server.requests) == 4


def test_asyncio(server, photos):
    lines = BLOCKS[3].replace("localhost:8001", server.url).replace("\n", "\n    ")
    scope = {"paths": photos}
    exec(f"from cigpose_client import AsyncPoseClient\nasync def main():\n    {lines}", scope)
    asyncio.run(scope["main"]())
    assert len(server.requests) == 3
