import numpy as np
import onnx
import pytest

from export import graph_edit, metadata
from export.detectors import DetectorOptions, serve_detector_file
from export.detectors.nanodet import MEAN, STD
from tests.networks import save_graph

SIZE, STRIDES, BINS = (96, 64), (8, 16, 32), 5
LOGITS = {
    stride: np.random.default_rng(stride).normal(0, 3, (SIZE[0] * SIZE[1] // stride**2, 4 * BINS)).astype(np.float32)
    for stride in STRIDES
}


def save_nanodet(path, last="Sigmoid", meta=None, columns=4 * BINS):
    """Write a file of two classes: a cell's mean of blue, and of red, as it is after mean and standard deviation."""
    width, height = SIZE
    outputs, nodes = [], []
    for stride in STRIDES:
        cells = len(LOGITS[stride])
        outputs += [
            f"float[1,{cells},2] cls_pred_stride_{stride}",
            f"float[1,{cells},{columns}] dis_pred_stride_{stride}",
        ]
        nodes.append(f"""
        mean{stride} = AveragePool<kernel_shape=[{stride},{stride}], strides=[{stride},{stride}]>(data)
        ends{stride} = Gather<axis=1>(mean{stride}, blue_and_red)
        flat{stride} = Reshape(ends{stride}, columns)
        rows{stride} = Transpose<perm=[0,2,1]>(flat{stride})
        cls_pred_stride_{stride} = {last}(rows{stride})
        one{stride} = Slice(rows{stride}, zero, one, axis)
        nothing{stride} = Mul(one{stride}, nought)
        dis_pred_stride_{stride} = Add(nothing{stride}, logits{stride})""")
    text = f"""
    <ir_version: 8, opset_import: ["": 17]>
    nanodet (float[1,3,{height},{width}] data) => ({", ".join(outputs)}) {{{"".join(nodes)}
    }}"""
    constants = {
        "blue_and_red": np.array([0, 2]),
        "columns": np.array([1, 2, -1]),
        "zero": np.array([0]),
        "one": np.array([1]),
        "axis": np.array([2]),
        "nought": np.array(0.0, np.float32),
        **{f"logits{stride}": values[None, :, :columns] for stride, values in LOGITS.items()},
    }
    save_graph(text, constants, path)
    if meta:
        model = onnx.load(path)
        metadata.write(model, meta)
        onnx.save(model, path)
    return path


def detect(served, *pictures):
    return graph_edit.cpu_session(served.model).run(["boxes", "scores"], {"letterboxed": np.stack(pictures)})


def expected_boxes():
    """Decode one cell after the other."""
    boxes = []
    for stride in STRIDES:
        for cell, logits in enumerate(LOGITS[stride]):
            row, column = divmod(cell, SIZE[0] // stride)
            shares = np.exp(logits.reshape(4, BINS).astype(float))
            left, top, right, bottom = stride * (shares / shares.sum(1, keepdims=True)) @ np.arange(BINS)
            x, y = (column + 0.5) * stride, (row + 0.5) * stride
            boxes.append([x - left, y - top, x + right, y + bottom])
    return boxes


def expected_scores(picture, channel, mean=MEAN, std=STD):
    normalised = (picture.astype(float) - mean) / std
    cells = [
        normalised.reshape(SIZE[1] // stride, stride, SIZE[0] // stride, stride, 3).mean((1, 3))[..., channel].ravel()
        for stride in STRIDES
    ]
    return 1 / (1 + np.exp(-np.concatenate(cells)))


def pictures(count=2):
    return np.random.default_rng(0).integers(0, 256, (count, SIZE[1], SIZE[0], 3), np.uint8)


@pytest.mark.parametrize("last", ["Sigmoid", "Identity"])
@pytest.mark.parametrize(("person", "channel"), [(0, 0), (1, 2)])
def test_boxes_and_scores(tmp_path, last, person, channel):
    """Scores outside 0 to 1 come before the sigmoid."""
    served = serve_detector_file(save_nanodet(tmp_path / "n.onnx", last), DetectorOptions(person=person))
    assert served.detector.source["source_form"] == "nanodet, strides 8, 16, 32, 2 classes"
    assert (served.detector.input_size, served.detector.candidates, served.detector.max_batch_size) == (SIZE, 126, 8)
    assert served.detector.bbox_threshold == 0.3
    boxes, scores = detect(served, *pictures())
    for i, picture in enumerate(pictures()):
        np.testing.assert_allclose(boxes[i], expected_boxes(), rtol=0, atol=1e-3)
        np.testing.assert_allclose(scores[i], expected_scores(picture, channel), atol=1e-5)


def test_mean_and_deviation_of_the_metadata(tmp_path):
    meta = {"mean": [127, 126, 125], "std": [128, 100, 90]}
    (picture,) = pictures(1)
    _, scores = detect(serve_detector_file(save_nanodet(tmp_path / "n.onnx", meta=meta)), picture)
    np.testing.assert_allclose(scores[0], expected_scores(picture, 0, meta["mean"], meta["std"]), atol=1e-5)


def test_what_is_refused(tmp_path):
    path = save_nanodet(tmp_path / "n.onnx")
    with pytest.raises(ValueError, match=r"n\.onnx: class 2 does not exist; the file has 2 classes"):
        serve_detector_file(path, DetectorOptions(person=2))
    path = save_nanodet(tmp_path / "m.onnx", columns=4 * BINS - 1)
    with pytest.raises(
        ValueError, match=r"dis_pred_stride_32 \[1, 6, 19\]; a NanoDet of 96x64 .* 96, 24, 6 cells, and"
    ):
        serve_detector_file(path)


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        ({"mean": "abc"}, "says mean 'abc'; it must be 3 numbers, such as 103.53"),
        ({"std": [0, 0, 0]}, r"says std \[0, 0, 0\]; it must be 3 numbers above 0, such as 57.375"),
        ([], "key cigpose_meta is no JSON object"),
    ],
)
def test_unusable_metadata_are_refused(tmp_path, meta, message):
    path = save_nanodet(tmp_path / "n.onnx")
    model = onnx.load(path)
    metadata.write(model, meta)
    onnx.save(model, path)
    with pytest.raises(ValueError, match=rf"n\.onnx: .*{message}"):
        serve_detector_file(path)
