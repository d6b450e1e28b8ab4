"""The served graphs on the ONNX Runtime of Triton's releases, each in an environment made by `make ort-versions`."""

import json
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest
from tritonclient.grpc import model_config_pb2

torch = pytest.importorskip("torch", reason="needs PyTorch")

from ensemble import in_process  # noqa: E402
from ensemble.triton.stored import read_config, run_here  # noqa: E402
from export.__main__ import main  # noqa: E402
from export.families.poseformer.export import export_onnx  # noqa: E402
from tests.export.detectors.test_nanodet import save_nanodet  # noqa: E402
from tests.pipeline.test_golden import CASES, TOLERANCE, golden_repository  # noqa: E402, F401
from tests.tiny_networks import heatmap_network, lifter_network  # noqa: E402

pytestmark = pytest.mark.torch
FOLDER = Path(__file__).parent
CHECKOUT = FOLDER.parents[1]
VERSIONS = sorted(path.stem for path in FOLDER.glob("*.in"))
TRAINED = ("cigpose-t_rendered_256x192", "graphpcnn-t_rendered_128x96", "logocap-t_rendered_256")
NETWORKS = (*TRAINED, "hrnet", "lifter", "yolox", "nanodet")
ROUNDING = {"rtol": 1e-3, "atol": 1e-3}
SAME = {"logocap-t_rendered_256": 0.99}  # in noise, rounding turns some of its steps of a quarter of a pixel


class Worker:
    """A session of another ONNX Runtime, in the form of `InferenceSession.run`."""

    def __init__(self, process, network, folder):
        self._process, self._network, self._folder = process, network, folder

    def run(self, names, feeds):
        inputs, outputs = self._folder / "inputs.npz", self._folder / "outputs.npz"
        np.savez(inputs, **feeds)
        self._process.stdin.write(json.dumps([str(self._network), str(inputs), str(outputs)]) + "\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline(), "the worker has ended; its error is above"
        with np.load(outputs) as results:
            return [results[name] for name in names]


@pytest.fixture(scope="module", params=VERSIONS)
def start(request, tmp_path_factory):
    """Return a function: network -> its session in the environment of one version."""
    environment = CHECKOUT / "out" / "ort_versions" / request.param
    python = environment / "bin" / "python"
    if not any(environment.glob("lib/python*/site-packages/onnxruntime")):
        pytest.skip(f"onnxruntime {request.param} is not installed: run `make ort-versions`, with Python 3.11 or newer")
    command = [python, "-I", FOLDER / "worker.py"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield lambda network, threads=1: Worker(process, network, tmp_path_factory.mktemp("arrays"))
        process.stdin.close()


@pytest.fixture(scope="module")
def graphs(tmp_path_factory):
    """Return the served graph of a network of every family: name -> (file, config)."""
    folder = tmp_path_factory.mktemp("files")
    torch.save(heatmap_network("hrnet").state_dict(), folder / "hrnet_96x64.pth")
    assert main(["onnx", "--checkpoint", f"{folder}/hrnet_96x64.pth", "--output", f"{folder}/hrnet.onnx"]) == 0
    export_onnx(lifter_network(), folder / "lifter.onnx")
    save_nanodet(folder / "nanodet.onnx")
    weights = CHECKOUT / "weights"
    trained = [word for name in TRAINED for word in ("--pose", f"{weights}/{name}.onnx")]
    small = ["--pose", f"{folder}/hrnet.onnx", "--lifter", f"{folder}/lifter.onnx"]
    found = {}
    for detector, poses in ((weights / "yolox-t_rendered_416.onnx", trained), (folder / "nanodet.onnx", small)):
        output = folder / detector.stem
        assert main(["repository", *poses, "--detector", str(detector), "--output", str(output)]) == 0
        for path in output.glob("*/1/model.onnx"):
            name = path.parents[1].name
            key = detector.stem.partition("-")[0] if name == "detector" else name
            found[key] = path, read_config(output, name)
    return found


def random_inputs(config, seed):
    """Return three rows of random pixels or numbers for each input, of a side of 128 where the size is free."""
    chance, inputs = np.random.default_rng(seed), {}
    for tensor in config.input:
        shape = [*([3] if config.max_batch_size > 1 else [1]), *(128 if dim < 0 else dim for dim in tensor.dims)]
        shape = shape if config.max_batch_size else shape[1:]
        pixels = tensor.data_type == model_config_pb2.TYPE_UINT8
        inputs[tensor.name] = (
            chance.integers(0, 256, shape, np.uint8) if pixels else chance.normal(size=shape).astype(np.float32)
        )
    return inputs


def test_every_family_is_covered(graphs):
    assert set(graphs) == set(NETWORKS)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_served_graph_answers_the_same(graphs, start, name):
    path, config = graphs[name]
    inputs, outputs = random_inputs(config, seed=1), [tensor.name for tensor in config.output]
    expected = in_process._session(path, 1).run(outputs, inputs)
    for output, array, other in zip(outputs, expected, start(path).run(outputs, inputs), strict=True):
        assert array.dtype == other.dtype and array.size
        same = np.isclose(other, array, **ROUNDING).mean()
        assert same >= SAME.get(name, 1.0), f"{output}: {1 - same:.2%} of the values differ"


def test_the_page_states_the_opset_of_the_graphs(graphs):
    models = [onnx.load(path) for path, _ in graphs.values()]
    (opset,) = {entry.version for model in models for entry in model.opset_import}
    page = (CHECKOUT / "docs" / "backends.md").read_text(encoding="utf-8")
    assert f"opset {opset} of ONNX's own operators" in page
    domains = {node.domain for model in models for node in model.graph.node}
    assert domains == {""}, "operators of other domains are not in every build"


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_keypoints_equal_the_reference(shared, golden_repository, start, monkeypatch, case):  # noqa: F811
    """As `tests/pipeline/test_golden.py`, with the other ONNX Runtime in the pipeline."""
    monkeypatch.setattr(in_process, "_session", start)
    golden = np.load(shared / "reference" / f"e2e_000000000785_{case}.npz")
    photo = (shared / "data" / "coco_sample" / "000000000785.jpg").read_bytes()
    answer = run_here(golden_repository, f"pose_from_boxes_{CASES[case]}")(image=photo, bboxes=golden["boxes"])
    sure = np.stack([golden["margin_x"], golden["margin_y"]], axis=2) > 2 * TOLERANCE
    assert sure.mean() > 0.95
    np.testing.assert_array_equal(answer["keypoints"][sure], golden["keypoints_plain"][sure])
    np.testing.assert_allclose(answer["keypoint_scores"], golden["scores_plain"], atol=TOLERANCE)
