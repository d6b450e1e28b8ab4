"""`folder --shard` divides the pictures; `parquet` joins the parts."""

import importlib.util
import json

import cv2
import numpy as np
import pytest
from cigpose_client.__main__ import main

COUNT = 4


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(40):
        cv2.imwrite(str(folder / f"{number:02}.png"), np.full((6, 8, 3), number, np.uint8))
    return folder


@pytest.fixture
def part(server, folder, tmp_path):
    """Run one shard, and return the names in its records."""

    def run(number, count=COUNT):
        path = tmp_path / f"part{number}.jsonl"
        argv = ["folder", folder, "--json", path, "--shard", f"{number}/{count}", "--resume", "--url", server.url]
        assert main([str(word) for word in argv]) == 0
        return [json.loads(line)["picture"] for line in path.read_text().splitlines()] if path.exists() else []

    return run


def test_shards_hold_every_picture_once(part, folder):
    parts = [part(number) for number in range(1, COUNT + 1)]
    assert sorted(name for names in parts for name in names) == sorted(path.name for path in folder.iterdir())
    assert all(parts)


def test_a_picture_keeps_its_shard_when_others_are_added(part, folder, server):
    before = part(2)
    for number in range(40, 60):
        cv2.imwrite(str(folder / f"a{number}.png"), np.full((6, 8, 3), number, np.uint8))
    server.requests.clear()
    after = part(2)
    assert set(before) < set(after)
    assert len(server.requests) == len(after) - len(before)


def test_a_shard_without_pictures_is_no_failure(part):
    assert any(part(number, 1000) == [] for number in range(1, 4))


@pytest.mark.parametrize("text", ["0/4", "5/4", "3", "a/b", "1/0", "-1/4"])
def test_an_impossible_shard_is_wrong_usage(folder, capsys, text):
    assert main(["folder", str(folder), f"--shard={text}"]) == 2
    assert "is not K/N with K from 1 to N" in capsys.readouterr().err


@pytest.mark.skipif(importlib.util.find_spec("pyarrow") is not None, reason="pyarrow is installed here")
def test_parquet_without_its_library_names_the_extra(tmp_path, capsys):
    (tmp_path / "a.jsonl").write_text('{"picture":"a.png","people":[]}\n')
    assert main(["parquet", str(tmp_path / "a.jsonl"), "--output", str(tmp_path / "a.parquet")]) == 1
    assert "pip install 'cigpose-client[parquet]'" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]
