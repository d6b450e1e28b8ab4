"""`export quantize` on small trained networks: what it writes, prints and refuses."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

pytest.importorskip("nncf", reason="needs nncf (make install-test)")
pytest.importorskip("openvino")
pytest.importorskip("pycocotools")

from export import graph_edit, metadata
from export.__main__ import main
from export.families import serve_pose_file
from export.quantization import graph
from export.quantization.trial import pose_trial
from synthetic.accuracy import default_weights
from synthetic.annotations import write_pictures
from synthetic.seeds import TRAIN
from tests.networks import save_detector

pytestmark = pytest.mark.filterwarnings("ignore")  # those of nncf


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder of rendered scenes with their annotations."""
    folder = tmp_path_factory.mktemp("pictures")
    write_pictures(folder, TRAIN[-8:])
    return folder


def test_a_pose_network_in_eight_bits_keeps_its_form(pictures, tmp_path, capsys):
    pose, output = default_weights()[0], tmp_path / "small.onnx"
    options = ["--pictures", str(pictures), "--boxes", str(pictures / "annotations.json"), "--may-lose", "0.5"]
    report = tmp_path / "report.json"
    assert main(["quantize", "--pose", str(pose), *options, "--output", str(output), "--report", str(report)]) == 0
    printed, steps = capsys.readouterr()
    assert "layers are in eight bits" in printed and "average precision" in printed
    assert "follow a decision" in printed and "depthwise" in printed
    assert "layers in eight bits, OpenVINO: " in steps and "layers in eight bits, ONNX Runtime: " in steps
    figures = json.loads(report.read_text())[pose.stem]
    assert figures["loss"] == pytest.approx(figures["float32"] - figures["in_eight_bits"], abs=1e-3)
    assert figures["measured_on"] == 4 and f"{figures['eight_bits']} of {figures['layers']} layers" in printed
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


def write_squares(folder, colour):
    """Write two pictures with a square of this colour, BGR, in a new folder."""
    folder.mkdir()
    picture = np.zeros((128, 128, 3), np.uint8)
    picture[32:96, 32:96] = colour
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(folder / name), picture)
    return folder


def test_a_detector_that_would_lose_too_much_is_not_written(tmp_path, capsys):
    detector, output, report = save_detector(tmp_path / "red.onnx"), tmp_path / "small.onnx", tmp_path / "report.json"
    report.write_text('{"another": 1}')
    red = write_squares(tmp_path / "red", (0, 0, 255))
    options = ["--pictures", str(red), "--may-lose", "-1", "--report", str(report)]
    assert main(["quantize", "--detector", str(detector), *options, "--output", str(output)]) == 1
    message = capsys.readouterr().err
    assert "small.onnx not written" in message and "--may-lose" in message
    assert not output.exists()
    assert json.loads(report.read_text())["red"]["eight_bits"] == 0
    assert json.loads(report.read_text())["another"] == 1


def test_a_loss_by_bfloat16_alone_is_named(pictures, tmp_path, capsys):
    options = ["--pictures", str(pictures), "--boxes", str(pictures / "annotations.json"), "--may-lose", "-1"]
    output, report = tmp_path / "small.onnx", tmp_path / "report.json"
    pose = default_weights()[0]
    assert main(["quantize", "--pose", str(pose), *options, "--output", str(output), "--report", str(report)]) == 1
    message = capsys.readouterr().err
    assert "0 layers in eight bits" in message and "all of it from bf16; -1 is allowed" in message
    assert json.loads(report.read_text())[pose.stem]["eight_bits"] == 0


def test_pictures_without_people_are_refused(tmp_path, capsys):
    blue = write_squares(tmp_path / "blue", (255, 0, 0))
    detector = ["--detector", str(save_detector(tmp_path / "red.onnx"))]
    options = ["--pictures", str(blue), "--output", str(tmp_path / "small.onnx")]
    for network in (detector, ["--pose", str(default_weights()[0]), *detector]):
        assert main(["quantize", *network, *options]) == 1
        assert "no person is found on the 1 pictures that measure the loss" in capsys.readouterr().err
    assert not (tmp_path / "small.onnx").exists()


def test_a_network_in_eight_bits_is_refused_before_the_work(tmp_path, capsys):
    pose = Path(__file__).parents[3] / "weights" / "int8" / "cigpose-t_rendered_256x192.onnx"
    options = ["--pictures", str(tmp_path), "--boxes", str(tmp_path / "absent.json"), "--output", "small.onnx"]
    assert main(["quantize", "--pose", str(pose), *options]) == 1
    assert "192.onnx: the network is in eight bits already" in capsys.readouterr().err


@pytest.fixture
def annotated(pictures, tmp_path, capsys):
    """Return a function: change of the annotations -> the error of `quantize` with them."""

    def run(change):
        content = json.loads((pictures / "annotations.json").read_text())
        change(content)
        boxes = tmp_path / "annotations.json"
        boxes.write_text(json.dumps(content))
        options = ["--pictures", str(pictures), "--boxes", str(boxes), "--output", str(tmp_path / "small.onnx")]
        assert main(["quantize", "--pose", str(default_weights()[0]), *options]) == 1
        return capsys.readouterr().err

    return run


def test_a_name_of_two_pictures_is_refused(annotated):
    def change(content):
        content["images"].append({**content["images"][0], "id": "second", "file_name": f"a/{TRAIN[-8]}.jpg"})

    assert f"{TRAIN[-8]}.jpg is the picture of ids {TRAIN[-8]} and second; keep one" in annotated(change)


def test_folders_of_names_do_not_count(annotated):
    def change(content):
        for image in content["images"]:
            image["file_name"] = f"train/{image['file_name']}"
        content["annotations"][0]["bbox"] = [10, 10, 0, 0]  # is only read where the picture is found

    assert "of annotation 1 is empty" in annotated(change)


def test_an_empty_box_is_named(annotated):
    def change(content):
        content["annotations"][0]["bbox"] = [10, 10, 0, 0]

    assert "bbox [10, 10, 0, 0] (x, y, width, height) of annotation 1 is empty" in annotated(change)


def test_a_damaged_picture_is_named(tmp_path, capsys):
    folder = write_squares(tmp_path / "pictures", (0, 0, 255))
    (folder / "b.png").write_bytes((folder / "b.png").read_bytes()[:50])
    options = ["--pictures", str(folder), "--output", str(tmp_path / "small.onnx")]
    assert main(["quantize", "--detector", str(save_detector(tmp_path / "red.onnx")), *options]) == 1
    assert f"error: {folder / 'b.png'}: image" in capsys.readouterr().err


@pytest.mark.parametrize("limit", [1, 32])
def test_more_boxes_than_the_network_takes_at_once(pictures, limit):
    trial = pose_trial(default_weights()[0], None)
    boxes = np.float32([[10, 10, 100 + at, 200] for at in range(33)])
    picture = next(pictures.glob("*.jpg")).read_bytes()
    expected = [trial.sample(picture, boxes[rows]) for rows in (slice(0, 32), slice(32, 33))]
    limited = replace(trial, network=replace(trial.network, max_batch_size=limit))
    sizes, outputs = [], [tensor.name for tensor in trial.network.outputs]
    session = graph_edit.cpu_session(trial.graph)

    def run(inputs):
        sizes.append(len(inputs["crops"]))
        return dict(zip(outputs, session.run(outputs, inputs), strict=True))

    sample = limited.sample(picture, boxes)
    answer = limited.answer(sample, run)
    assert max(sizes) == limit and len(limited.inner_inputs([sample])) == 33
    for name in ("bboxes", "keypoints"):
        np.testing.assert_allclose(answer[name], np.concatenate([each[name] for each in expected]), atol=1e-2)


def test_a_lifter_stays_in_float32(tmp_path, capsys):
    lifter = Path(__file__).parents[3] / "weights" / "capf-t_rendered_256x192.onnx"
    options = ["--pictures", str(tmp_path), "--output", "small.onnx"]
    assert main(["quantize", "--pose", str(lifter), *options]) == 1
    assert "192.onnx is a lifter, which stays in float32; quantise the pose network" in capsys.readouterr().err


def test_an_open_size_is_set_by_its_option(tmp_path, capsys):
    blue, detector = write_squares(tmp_path / "blue", (255, 0, 0)), save_detector(tmp_path / "red.onnx")
    model = onnx.load(detector)
    for dim in model.graph.input[0].type.tensor_type.shape.dim[2:]:
        dim.dim_param = "open"
    onnx.save(model, detector)
    options = ["--detector", str(detector), "--pictures", str(blue), "--output", str(tmp_path / "small.onnx")]
    assert main(["quantize", *options]) == 1
    assert "set them with --detector-size WIDTHxHEIGHT" in capsys.readouterr().err
    assert main(["quantize", *options, "--detector-size", "416x416"]) == 1
    assert "no person is found" in capsys.readouterr().err


def test_black_crops_do_not_calibrate(pictures):
    trial = pose_trial(default_weights()[0], None)
    picture = next(pictures.glob("*.jpg")).read_bytes()
    empty, one = trial.sample(picture, None), trial.sample(picture, np.float32([[10, 10, 100, 200]]))
    assert len(trial.inner_inputs([empty, one])) == 1
    with pytest.raises(ValueError, match="no person is found on the 1 pictures that calibrate"):
        trial.inner_inputs([empty])


@pytest.mark.parametrize("content", ["", "garbage", "[1]"])
def test_another_file_is_no_report(tmp_path, capsys, content):
    (tmp_path / "report.json").write_text(content)
    options = ["--detector", "absent.onnx", "--pictures", "absent", "--output", str(tmp_path / "small.onnx")]
    assert main(["quantize", *options, "--report", str(tmp_path / "report.json")]) == 2
    assert f"report.json holds b{content!r}, no JSON object; choose another file" in capsys.readouterr().err
    assert (tmp_path / "report.json").read_text() == content


def test_outputs_that_cannot_be_written_are_refused(tmp_path, capsys):
    options = ["quantize", "--detector", "absent.onnx", "--pictures", "absent", "--output"]
    assert main([*options, str(tmp_path)]) == 2
    assert f"{tmp_path} is a folder; give the name of a file" in capsys.readouterr().err
    output = str(tmp_path / "small.onnx")
    assert main([*options, output, "--report", output]) == 2
    assert "small.onnx would overwrite the output" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "text"),
    [([], "--pose FILE or --detector FILE"), (["--pose", str(default_weights()[0])], "add --boxes FILE")],
)
def test_what_is_missing_is_named(pictures, tmp_path, capsys, options, text):
    assert main(["quantize", *options, "--pictures", str(pictures), "--output", str(tmp_path / "a.onnx")]) == 2
    assert text in capsys.readouterr().err
