"""Trained networks in eight bits on four annotated photos. The layers are calibrated on views of the same photos.

PHOTO_RESULTS=tests/pipeline/results python -m pytest tests/pipeline/test_photos_in_eight_bits.py   # records
"""

import itertools
import json
import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("nncf", reason="needs nncf (make install-test)")
pytest.importorskip("openvino")

from cigpose_client import PoseClient
from cigpose_client.outputs import write_file

from export.__main__ import main as export
from export.repository import build_repository
from tests.photos import annotated, films, in_given_boxes

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # those of nncf

RESULTS = Path(__file__).with_name("results") / "photos_in_eight_bits.json"
TINYPOSE, NANO = "pp-tinypose_coco_256x192", "yolox_nano"


@pytest.fixture(scope="module")
def views(shared, tmp_path_factory):
    """A folder of views of the photos, like a user's own pictures, with `annotations.json`."""
    folder, images, people = tmp_path_factory.mktemp("views"), [], []
    for frame in itertools.chain(*films(shared)):
        name = f"{len(images):03}.jpg"
        (folder / name).write_bytes(frame.jpeg)
        images.append({"id": len(images), "file_name": name})
        for person in (each.person for each in frame.people):
            corner, opposite = np.split(person.bbox_xyxy, 2)
            row = {"image_id": images[-1]["id"], "area": person.area, "bbox": [*corner, *(opposite - corner)]}
            row["keypoints"] = np.column_stack([person.points, person.visible]).ravel().tolist()
            people.append({**row, "id": len(people) + 1, "category_id": 1, "iscrowd": 0, "num_keypoints": 17})
    (folder / "annotations.json").write_text(json.dumps({"images": images, "annotations": people}))
    return folder


def quantise(pose, views, output, *options):
    known = ["--pictures", views, "--boxes", views / "annotations.json", "--output", output]
    return export(["quantize", "--pose", str(pose), *map(str, (*known, *options))])


def test_all_layers_of_pp_tinypose(photo_network, views, shared, serve, tmp_path):
    """On so few pictures, the standard error alone is about the default bound."""
    pose, detector = photo_network(TINYPOSE), photo_network(NANO)
    small = tmp_path / pose.name
    assert quantise(pose, views, small, "--may-lose", 0.05) == 0
    means = {}
    for name, (network, profile) in {"float32": (pose, "cpu"), "eight_bits": (small, "cpu-int8")}.items():
        build_repository([network], detector, tmp_path / name)
        with serve(tmp_path / name, profile=profile) as server, PoseClient(server.grpc_url, timeout_s=60) as client:
            means[name] = round(in_given_boxes(client, annotated(shared)), 4)
    assert means["eight_bits"] >= means["float32"] - 0.01
    if folder := os.environ.get("PHOTO_RESULTS"):
        write_file(Path(folder) / RESULTS.name, json.dumps({TINYPOSE: means}, indent=2) + "\n")
    assert means == pytest.approx(json.loads(RESULTS.read_text())[TINYPOSE], abs=0.01)


def test_movenet_is_refused_because_bfloat16_alone_loses_too_much(photo_network, views, tmp_path, capsys):
    output = tmp_path / "small.onnx"
    assert quantise(photo_network("movenet-thunder"), views, output) == 1
    assert "all of it from bf16; 0.005 is allowed" in capsys.readouterr().err
    assert not output.exists()
