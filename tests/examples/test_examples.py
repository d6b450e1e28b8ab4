"""The examples run as their pages say, against a server that answers by rule."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from client.tests.fake_server import FakeServer, start
from gateway.settings import Settings
from tests.gateway.conftest import running

CHECKOUT = Path(__file__).parents[2]
EXAMPLES = CHECKOUT / "examples"


@pytest.fixture(scope="module")
def fake():
    fake = FakeServer()
    handle = start(fake)
    yield fake
    handle.stop(None).wait()


def output(*command, **options):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(CHECKOUT / "client"), str(CHECKOUT)])}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_every_example_is_listed():
    listed = re.findall(r"^\| `([\w./]+)", (EXAMPLES / "README.md").read_text(encoding="utf-8"), re.M)
    files = {
        path.relative_to(EXAMPLES).as_posix() for path in EXAMPLES.rglob("*") if path.suffix in (".py", ".sh", ".mjs")
    }
    assert {*listed} == {name for name in files if "node_modules" not in name}
    assert len(listed) == 5


def test_picture(fake, tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"3")
    lines = output(sys.executable, EXAMPLES / "picture.py", tmp_path / "a.jpg", fake.url)
    assert len(lines) == 3 and lines[0] == "person 0.90: nose at 6, 182, score 0.10"


def test_folder(fake, tmp_path):
    for name, content in (("a", b"3"), ("b", b"no picture"), ("c", b"0")):
        (tmp_path / f"{name}.jpg").write_bytes(content)
    lines = output(sys.executable, EXAMPLES / "folder.py", tmp_path, fake.url)
    assert lines == ["a.jpg: 3 people", "b.jpg: the image is neither JPEG, PNG, WebP nor BMP", "c.jpg: 0 people"]


def test_film(fake, tmp_path):
    pytest.importorskip("scipy", reason="streams need scipy")
    writer = cv2.VideoWriter(str(tmp_path / "a.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 64))
    for _ in range(12):
        writer.write(np.zeros((64, 64, 3), np.uint8))
    writer.release()
    before = len(fake.requests)
    lines = output(sys.executable, EXAMPLES / "film.py", tmp_path / "a.avi", fake.url)
    assert len(lines) == 12 and len({tuple(re.findall(r"id (\d+)", line)) for line in lines}) == 1
    models = [request.model for request in fake.requests[before:]]
    assert models.count("pose") == 2 and models.count("pose_from_boxes") == 10


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_picture_with_curl(fake, tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"3")
    with running(Settings(url=fake.url)) as client:
        (line,) = output("sh", EXAMPLES / "picture.sh", tmp_path / "a.jpg", str(client.base_url).rstrip("/"))
    assert len(json.loads(line)["people"]) == 3 and json.loads(line)["keypoint_names"][0] == "nose"


def test_picture_in_node(fake, tmp_path):
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("Node is not installed")
    shutil.copytree(EXAMPLES / "node", tmp_path / "examples" / "node", ignore=shutil.ignore_patterns("node_modules"))
    (tmp_path / "docs").mkdir()
    shutil.copy(CHECKOUT / "docs" / "kserve_v2.proto", tmp_path / "docs")
    install = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts"]
    done = subprocess.run(install, cwd=tmp_path / "examples" / "node", capture_output=True, text=True, timeout=300)
    if done.returncode:
        pytest.skip(f"npm cannot fetch the packages: {done.stderr[-200:]}")
    (tmp_path / "a.jpg").write_bytes(b"3")
    lines = output("node", tmp_path / "examples" / "node" / "picture.mjs", tmp_path / "a.jpg", fake.url)
    assert len(lines) == 3 and lines[0] == "person 0.90: nose at 6, 182"
