import numpy as np
import onnx
import onnxruntime
import pytest

from export import graph_edit
from export.detectors import serve_detector_file
from export.detectors.yolox import grid
from tests.networks import save_detector, save_pose_network
from tests.pictures import picture_with_persons


def detect(served, pictures):
    return graph_edit.cpu_session(served.model).run(["boxes", "scores"], {"letterboxed": np.stack(pictures)})


def test_a_red_cell_becomes_a_box_around_it(tmp_path):
    served = serve_detector_file(save_detector(tmp_path / "d.onnx", box=(6.0, 10.0)))
    boxes, scores = detect(served, [picture_with_persons([(3, 5)])])
    found = np.flatnonzero(scores[0] > 0.5)
    assert found.tolist() == [5 * 52 + 3]
    np.testing.assert_allclose(boxes[0, found[0]], [28 - 3, 44 - 5, 28 + 3, 44 + 5], rtol=1e-6)


def test_pictures_of_a_batch_do_not_mix(tmp_path):
    served = serve_detector_file(save_detector(tmp_path / "d.onnx"))
    assert served.detector.max_batch_size == 8
    pictures = [picture_with_persons([(i, i)], seed=i) for i in range(4)]
    together = detect(served, pictures)
    for i, picture in enumerate(pictures):
        for ours, alone in zip(together, detect(served, [picture]), strict=True):
            np.testing.assert_array_equal(ours[i], alone[0])


@pytest.mark.parametrize("size", [(416, 416), (640, 384)])
def test_other_input_sizes(tmp_path, size):
    served = serve_detector_file(save_detector(tmp_path / "d.onnx", size))
    assert served.detector.input_size == size
    assert served.detector.candidates == len(grid(size)[0])


def test_grid_cells_are_row_major_from_the_finest_level():
    cells, strides = grid((64, 32))
    assert cells[:9].tolist() == [[x, 0] for x in range(8)] + [[0, 1]]
    assert strides.ravel().tolist() == [8] * 32 + [16] * 8 + [32] * 2


def test_other_networks_are_rejected(tmp_path):
    with pytest.raises(
        ValueError, match=r"simcc_y \[0, 17, 512\]; no family of detectors has this form\. rt-detr: .*yolox"
    ):
        serve_detector_file(save_pose_network(tmp_path / "pose.onnx"))
    path = save_detector(tmp_path / "d.onnx")
    model = onnx.load(path)
    model.graph.output[0].name = "geometry"  # 4 columns, without objectness
    model.graph.output[0].type.tensor_type.shape.dim[2].dim_value = 4
    onnx.save(model, path)
    with pytest.raises(ValueError, match=r"a YOLOX of 416x416 pixels and strides 8, 16, 32 has one, \[batch, 3549, 5"):
        serve_detector_file(path)


def test_the_published_nano_equals_its_raw_output(shared):
    path = shared / "weights" / "yolox_nano.onnx"
    served = serve_detector_file(path)
    pictures = np.random.default_rng(0).integers(0, 256, (2, 416, 416, 3), np.uint8)
    boxes, scores = detect(served, pictures)
    session = onnxruntime.InferenceSession(path)
    cells, strides = grid((416, 416))
    for i, picture in enumerate(pictures):
        raw = session.run(None, {"images": picture.transpose(2, 0, 1)[None].astype(np.float32)})[0][0]
        center, half = (raw[:, :2] + cells) * strides, np.exp(raw[:, 2:4]) * strides / 2
        np.testing.assert_allclose(boxes[i], np.hstack([center - half, center + half]), rtol=1e-4, atol=1e-3)
        np.testing.assert_allclose(scores[i], raw[:, 4] * raw[:, 5], rtol=1e-4, atol=1e-7)
