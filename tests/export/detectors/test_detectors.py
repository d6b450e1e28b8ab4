"""Detectors of every family and form fulfil one contract."""

import numpy as np
import onnx
import pytest

from export import graph_edit
from export.__main__ import main
from export.detectors import DetectorOptions, serve_detector_file
from export.detectors.yolox import grid, is_decoded, strides_of
from export.network_file import answers
from export.repository import build_repository
from tests.export.detectors.detr_networks import save_detr
from tests.networks import save_detector, save_pose_network
from tests.pictures import encode, picture_with_persons
from tests.triton import call


def red_at(cells, size):
    picture = np.full((size[1], size[0], 3), 90, np.uint8)
    for column, row in cells:
        picture[row * 8 : row * 8 + 8, column * 8 : column * 8 + 8] = (0, 0, 255)
    return picture


def detect(served, *pictures):
    return graph_edit.cpu_session(served.model).run(["boxes", "scores"], {"letterboxed": np.stack(pictures)})


def resized(path, size):
    """Make the height and width of the picture input symbolic."""
    model = onnx.load(path)
    for dim, name in zip(model.graph.input[0].type.tensor_type.shape.dim[2:], ("height", "width"), strict=True):
        dim.dim_param = name
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("form", ["heads", "post-processed"])
def test_rt_detr_finds_red_cells(tmp_path, form):
    served = serve_detector_file(save_detr(tmp_path / "d.onnx", form=form))
    assert served.detector.source["source_form"] == f"rt-detr {form}"
    assert (served.detector.input_size, served.detector.candidates, served.detector.max_batch_size) == ((96, 64), 96, 8)
    boxes, scores = detect(served, red_at([(3, 5)], (96, 64)), red_at([(0, 0), (11, 7)], (96, 64)))
    assert [np.flatnonzero(row > 0.5).tolist() for row in scores] == [[5 * 12 + 3], [0, 95]]
    np.testing.assert_allclose(boxes[0, 63], [28 - 3, 44 - 5, 28 + 3, 44 + 5], rtol=1e-5)


def test_the_class_of_people_can_be_chosen(tmp_path):
    path = save_detr(tmp_path / "d.onnx")
    _, scores = detect(serve_detector_file(path, DetectorOptions(person=1)), red_at([(3, 5)], (96, 64)))
    assert np.flatnonzero(scores[0] < 0.5).tolist() == [63]
    with pytest.raises(ValueError, match="are not those of an RT-DETR with a class 2"):
        serve_detector_file(path, DetectorOptions(person=2))
    with pytest.raises(ValueError, match="class 1 does not exist; the file has 1 classes"):
        serve_detector_file(save_detector(tmp_path / "y.onnx"), DetectorOptions(person=1))


def test_an_open_size_requires_the_option(tmp_path):
    path = resized(save_detector(tmp_path / "d.onnx", (96, 64)), (96, 64))
    with pytest.raises(ValueError, match="height and width are left open; set them with --detector-size WIDTHxHEIGHT"):
        serve_detector_file(path)
    served = serve_detector_file(path, DetectorOptions(input_size=(96, 64)))
    assert served.detector.input_size == (96, 64)


@pytest.mark.parametrize("size", [(416, 416), (640, 640), (160, 128), (1280, 1280)])
@pytest.mark.parametrize("strides", [(8, 16, 32), (8, 16, 32, 64), (4, 8, 16, 32)])
def test_the_number_of_candidates_identifies_the_strides(size, strides):
    assert strides_of(size, len(grid(size, strides)[0])) == strides
    assert strides_of(size, 7) is None


@pytest.mark.parametrize("size", [(416, 416), (160, 128)])
def test_numbers_identify_raw_and_decoded_files(size):
    cells, strides = grid(size)
    raw = np.random.default_rng(0).normal(0.5, 1.0, (len(cells), 6)).astype(np.float32)
    decoded = np.hstack([(raw[:, :2] + cells) * strides, np.exp(raw[:, 2:4]) * strides, raw[:, 4:]])
    assert is_decoded(raw, size, (8, 16, 32)) is False
    assert is_decoded(decoded, size, (8, 16, 32)) is True
    assert is_decoded(np.hstack([decoded[:, :2], raw[:, 2:]]), size, (8, 16, 32)) is None  # negative sizes
    assert is_decoded(raw * 30, size, (8, 16, 32)) is None


def test_numbers_identify_the_form_of_the_published_nano(shared):
    path = shared / "weights" / "yolox_nano.onnx"
    (rows,) = answers(path, graph_edit.load(path)).values()
    cells, strides = grid((416, 416))
    decoded = np.hstack([(rows[:, :2] + cells) * strides, np.exp(rows[:, 2:4]) * strides, rows[:, 4:]])
    assert is_decoded(rows, (416, 416), (8, 16, 32)) is False
    assert is_decoded(decoded, (416, 416), (8, 16, 32)) is True


def test_ambiguous_numbers_require_the_option(tmp_path):
    path = save_detector(tmp_path / "d.onnx", (96, 64))
    model = onnx.load(path)
    (offsets,) = (tensor for tensor in model.graph.initializer if tensor.name == "offsets")
    values = onnx.numpy_helper.to_array(offsets).copy()
    values[..., :2] = 5.0
    offsets.CopyFrom(onnx.numpy_helper.from_array(values, "offsets"))
    onnx.save(model, path)
    with pytest.raises(ValueError, match="--detector-form yolox-raw or yolox-decoded"):
        serve_detector_file(path)
    for form in ("yolox-raw", "yolox-decoded"):
        assert serve_detector_file(path, DetectorOptions(form=form)).detector.source["source_form"].startswith(form)
    with pytest.raises(ValueError, match=r"no family of detectors has this form\. rt-detr: picture -> logits"):
        serve_detector_file(path, DetectorOptions(form="rt-detr"))


def test_options_on_the_command_line(tmp_path, capsys):
    pose, output = save_pose_network(tmp_path / "spots.onnx"), tmp_path / "r"
    detector = resized(save_detr(tmp_path / "d.onnx"), (96, 64))
    arguments = ["repository", "--pose", str(pose), "--detector", str(detector), "--output", str(output)]
    assert main(arguments) == 1
    assert "set them with --detector-size" in capsys.readouterr().err
    assert main([*arguments, "--detector-size", "96x64", "--detector-form", "rt-detr"]) == 0
    assert "detector: max_batch_size 8, 96x64 pixels, from d.onnx" in capsys.readouterr().out
    assert 'string_value: "rt-detr heads"' in (output / "detector" / "config.pbtxt").read_text()
    with pytest.raises(SystemExit):
        main([*arguments, "--detector-size", "96"])
    assert "'96' is not WIDTHxHEIGHT" in capsys.readouterr().err


@pytest.mark.server
def test_rt_detr_replaces_yolox(serve, tmp_path):
    """Detectors of both families give the same people."""
    pose, size, cells = save_pose_network(tmp_path / "spots.onnx"), (416, 416), [(10, 10), (30, 20)]
    picture, results = encode(picture_with_persons(cells)), []
    for detector in (save_detector(tmp_path / "yolox.onnx", size), save_detr(tmp_path / "detr.onnx", size, box=(6, 6))):
        build_repository([pose], detector, tmp_path / detector.stem)
        with serve(tmp_path / detector.stem, profile="cpu") as server:
            results.append(call(server, "pose", picture))
    yolox, detr = results
    assert yolox["persons_detected"] == detr["persons_detected"] == 2
    np.testing.assert_allclose(yolox["bboxes"], detr["bboxes"], atol=1e-3)
    np.testing.assert_allclose(yolox["keypoints"], detr["keypoints"], atol=1e-2)
