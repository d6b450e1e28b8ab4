"""YOLOX files of all published sizes, raw and decoded."""

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch")

from export import graph_edit  # noqa: E402
from export.detectors import serve_detector_file  # noqa: E402
from export.repository import build_repository  # noqa: E402
from tests.export.detectors.yolox_architecture import SIZES, Yolox, constructed, save_onnx  # noqa: E402
from tests.networks import save_pose_network  # noqa: E402
from tests.pictures import encode, noise_picture  # noqa: E402
from tests.triton import call  # noqa: E402

pytestmark = pytest.mark.torch
PICTURE = (160, 128)  # (w, h): small, and not square


def convolutions(network):
    return sorted(tuple(m.weight.shape) for m in network.modules() if isinstance(m, torch.nn.Conv2d))


@pytest.mark.parametrize("size", SIZES)
def test_the_architecture_has_the_published_parameters(size):
    with torch.device("meta"):
        network = Yolox(size)
    count = sum(parameter.numel() for parameter in network.parameters()) / 1e6
    assert count == pytest.approx(SIZES[size][3], abs=0.05 if SIZES[size][3] > 5.1 else 0.005)


def test_the_architecture_is_that_of_the_published_nano(shared):
    model = onnx.load(shared / "weights" / "yolox_nano.onnx")
    weights = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    published = sorted(weights[node.input[1]] for node in model.graph.node if node.op_type == "Conv")
    with torch.device("meta"):
        assert convolutions(Yolox("nano")) == published


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Return a function: size -> network, raw file, decoded file."""
    folder, made = tmp_path_factory.mktemp("yolox"), {}

    def make(size):
        if size not in made:
            network = constructed(size)
            forms = [("raw", False), ("decoded", True)]
            made[size] = (
                network,
                *(save_onnx(network, folder / f"{size}-{n}.onnx", PICTURE, decoded) for n, decoded in forms),
            )
        return made[size]

    return make


@pytest.mark.parametrize(
    "size", [pytest.param(size, marks=[pytest.mark.slow] if size in "smlx" else []) for size in SIZES]
)
def test_raw_and_decoded_files_serve_the_same_boxes(size, files):
    network, raw, decoded = files(size)
    pictures = np.random.default_rng(0).integers(0, 256, (3, PICTURE[1], PICTURE[0], 3), np.uint8)
    answers = []
    for path, form in ((raw, "yolox-raw"), (decoded, "yolox-decoded")):
        served = serve_detector_file(path)
        assert served.detector.source["source_form"] == f"{form}, strides 8, 16, 32, 80 classes"
        assert (served.detector.input_size, served.detector.max_batch_size) == (PICTURE, 8)
        answers.append(graph_edit.cpu_session(served.model).run(["boxes", "scores"], {"letterboxed": pictures}))
    network.decoded = True
    with torch.no_grad():
        rows = network(torch.from_numpy(pictures).permute(0, 3, 1, 2).float()).numpy()
    centers, halves = rows[..., :2], rows[..., 2:4] / 2
    for boxes, scores in answers:
        np.testing.assert_allclose(boxes, np.concatenate([centers - halves, centers + halves], 2), atol=2e-2)
        np.testing.assert_allclose(scores, rows[..., 4] * rows[..., 5], atol=1e-4)
    assert scores.std() > 1e-3


@pytest.mark.server
def test_raw_and_decoded_files_are_served_alike(files, serve, tmp_path):
    _, *paths = files("nano")
    pose, picture, answers = save_pose_network(tmp_path / "spots.onnx"), encode(noise_picture(300, 200)), []
    for path in paths:
        build_repository([pose], path, tmp_path / path.stem)
        with serve(tmp_path / path.stem, profile="cpu") as server:
            answers.append(call(server, "pose", picture, outputs=["bboxes", "bbox_scores"], bbox_threshold=0.25))
    raw, decoded = answers
    assert len(raw["bboxes"]) > 1
    np.testing.assert_allclose(raw["bboxes"], decoded["bboxes"], atol=5e-2)
    np.testing.assert_allclose(raw["bbox_scores"], decoded["bbox_scores"], atol=1e-4)
