"""`export quantize` on small trained networks: what it writes, prints and refuses."""

import json

import numpy as np
import pytest

pytest.importorskip("nncf", reason="needs nncf (make install-test)")
pytest.importorskip("openvino")
pytest.importorskip("pycocotools")

from export import graph_edit, metadata
from export.__main__ import main
from export.families import serve_pose_file
from export.quantization import graph
from synthetic.accuracy import default_weights
from synthetic.annotations import annotations
from synthetic.scene import render_scene
from synthetic.seeds import TRAIN

pytestmark = pytest.mark.filterwarnings("ignore")  # those of nncf


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder of rendered scenes with their annotations."""
    folder = tmp_path_factory.mktemp("pictures")
    scenes = [(seed, render_scene(seed)) for seed in TRAIN[-8:]]
    for seed, scene in scenes:
        (folder / f"{seed}.jpg").write_bytes(scene.jpeg)
    truth = annotations(scenes)
    images = [image | {"file_name": f"{image['id']}.jpg"} for image in truth.images]
    people = [person | {"category_id": 1, "id": number} for number, person in enumerate(truth.people, 1)]
    (folder / "truth.json").write_text(json.dumps({"images": images, "annotations": people}))
    return folder


def test_a_pose_network_in_eight_bits_keeps_its_form(pictures, tmp_path, capsys):
    pose, output = default_weights()[0], tmp_path / "small.onnx"
    options = ["--pictures", str(pictures), "--boxes", str(pictures / "truth.json"), "--may-lose", "0.2"]
    assert main(["quantize", "--pose", str(pose), *options, "--output", str(output)]) == 0
    printed = capsys.readouterr().out
    assert "layers are in eight bits" in printed and "average precision" in printed
    assert "follow a decision" in printed and "depthwise" in printed and "ONNX Runtime: " in printed
    model, original = graph_edit.load(output), graph_edit.load(pose)
    meta = metadata.read(model)
    assert (meta["precision"], meta["quantised_from"]) == ("int8", graph_edit.sha256(pose))
    assert meta["keypoint_set"] == metadata.read(original)["keypoint_set"]
    assert len(graph.in_eight_bits(model)) > 20
    assert output.stat().st_size < pose.stat().st_size
    served = serve_pose_file(output)
    assert served.model.max_batch_size == serve_pose_file(pose).model.max_batch_size
    crops = np.random.default_rng(0).integers(0, 256, (2, 256, 192, 3)).astype(np.uint8)
    (served_graph,) = served.graphs.values()
    assert all(np.isfinite(each).all() for each in graph_edit.cpu_session(served_graph).run(None, {"crops": crops}))


def test_a_detector_that_would_lose_too_much_is_not_written(pictures, tmp_path, capsys):
    detector, output = default_weights()[1], tmp_path / "small.onnx"
    options = ["--pictures", str(pictures), "--may-lose", "-1"]
    assert main(["quantize", "--detector", str(detector), *options, "--output", str(output)]) == 1
    message = capsys.readouterr().err
    assert "small.onnx not written" in message and "--may-lose" in message
    assert not output.exists()


@pytest.mark.parametrize(
    ("options", "text"),
    [([], "--pose FILE or --detector FILE"), (["--pose", str(default_weights()[0])], "add --boxes FILE")],
)
def test_what_is_missing_is_named(pictures, tmp_path, capsys, options, text):
    assert main(["quantize", *options, "--pictures", str(pictures), "--output", str(tmp_path / "a.onnx")]) == 2
    assert text in capsys.readouterr().err
