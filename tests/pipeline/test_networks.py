"""Networks of different forms, input sizes and keypoint sets in one repository, also under concurrent load."""

from concurrent.futures import ThreadPoolExecutor
from queue import Queue

import numpy as np
import pytest
import tritonclient.grpc

torch = pytest.importorskip("torch", reason="needs PyTorch")

from ensemble.triton.stored import run_here  # noqa: E402
from export.__main__ import main  # noqa: E402
from export.families.crops import INPUT, example_crops, normalised  # noqa: E402
from export.families.graph_pcnn.export import clearest  # noqa: E402
from export.families.top_down import MEAN, STD  # noqa: E402
from export.repository import build_repository  # noqa: E402
from tests import runtimes  # noqa: E402
from tests.in_process import InProcess  # noqa: E402
from tests.networks import save_detector, save_pose_network  # noqa: E402
from tests.pictures import encode, picture_with_persons  # noqa: E402
from tests.tiny_networks import graph_pcnn_network, heatmap_network  # noqa: E402
from tests.triton import call, counters  # noqa: E402

pytestmark = [pytest.mark.server, pytest.mark.torch]

PICTURES = [encode(picture_with_persons([(12 * i + 3, 7 * i + 3) for i in range(n)], seed=n)) for n in (0, 1, 4)]
SIMCC = {"whole-133": (133, (288, 384)), "body-17": (17, (192, 256)), "crowd-14": (14, (192, 256))}  # exact arithmetic
TINY = {  # exported from checkpoints with the command
    "maps-rgb": lambda: heatmap_network("hrnet"),
    "maps-bgr": lambda: heatmap_network("resnet"),
    "two-stages": lambda: graph_pcnn_network("hrnet"),
}
NETWORKS = (*SIMCC, *TINY)
ROUNDING = 1e-3  # what another composition of a batch may change, in pixels and scores


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints")
    for name, build in TINY.items():
        torch.save(build().state_dict(), folder / f"{name}_96x64.pth")
    return {name: folder / f"{name}_96x64.pth" for name in TINY}


@pytest.fixture(scope="module")
def all_repository(checkpoints, tmp_path_factory):
    folder, output = tmp_path_factory.mktemp("all"), tmp_path_factory.mktemp("all-repository")
    for name, (count, size) in SIMCC.items():
        save_pose_network(folder / f"{name}.onnx", count, size, seed=count)
    for name, checkpoint in checkpoints.items():
        assert main(["onnx", "--checkpoint", str(checkpoint), "--output", str(folder / f"{name}.onnx")]) == 0
    build_repository([folder / f"{name}.onnx" for name in NETWORKS], save_detector(folder / "d.onnx"), output)
    return output


@pytest.fixture(scope="module")
def all_server(all_repository, serve):
    with serve(all_repository, profile="cpu", metrics=True) as running:
        yield running


@pytest.mark.parametrize("network", ["", *(f"_{name}" for name in NETWORKS)])
@pytest.mark.parametrize("kind", ["pose", "pose_from_boxes"])
def test_both_runtimes_answer_the_same(all_repository, all_server, kind, network):
    """Every pipeline of the repository, bit for bit, with any subset of its outputs."""
    run = run_here(all_repository, kind + network)
    for case in runtimes.cases(all_repository, kind + network, PICTURES):
        runtimes.check(all_server, case, run(wanted=case[2], **case[1]))


def test_no_pipeline_is_left_out(all_repository):
    assert len(runtimes.pipelines(all_repository)) == 2 * (1 + len(NETWORKS))


def test_the_watchdogs_canaries_are_answered(all_server, all_repository):
    assert runtimes.failed_canaries(all_server, all_repository) == {}


def test_each_answers_as_in_process_while_all_are_under_load(all_repository, all_server):
    pictures = [encode(picture_with_persons([(4 * i + 3, 3 * i + 3) for i in range(n)], seed=n)) for n in range(4)]
    alone = {name: InProcess(all_repository, name) for name in NETWORKS}
    work = [(name, picture) for name in NETWORKS for picture in pictures] * 3
    with ThreadPoolExecutor(36) as pool:
        answers = list(pool.map(lambda item: call(all_server, f"pose_{item[0]}", item[1]), work))
    for (name, picture), answer in zip(work, answers, strict=True):
        bboxes, scores, keypoints, keypoint_scores, _ = alone[name].estimate(picture)
        rounding = 0 if name in SIMCC else ROUNDING
        assert answer["keypoints"].shape == (len(bboxes), SIMCC.get(name, (17,))[0], 2)
        np.testing.assert_array_equal(answer["bboxes"], bboxes)
        np.testing.assert_array_equal(answer["bbox_scores"], scores)
        np.testing.assert_allclose(answer["keypoints"], keypoints, rtol=0, atol=rounding)
        np.testing.assert_allclose(answer["keypoint_scores"], keypoint_scores, rtol=0, atol=rounding)


def test_each_is_batched_by_itself(all_server):
    """Crops for two networks of one input size, taken in turn: each network merges its own."""
    crops = tritonclient.grpc.InferInput("crops", [1, 96, 64, 3], "UINT8")
    crops.set_data_from_numpy(np.zeros((1, 96, 64, 3), np.uint8))
    kinds, names = ("nv_inference_request_success", "nv_inference_exec_count"), ("maps-rgb", "two-stages")
    before, answers = [counters(all_server, kind) for kind in kinds], Queue()
    with tritonclient.grpc.InferenceServerClient(all_server.grpc_url) as client:
        for name in names * 64:
            client.async_infer(name, [crops], lambda result, error: answers.put(error))
        assert [answers.get(timeout=60) for _ in range(128)] == [None] * 128
    after = [counters(all_server, kind) for kind in kinds]
    asked, run = ({name: new[name] - old[name] for name in names} for old, new in zip(before, after, strict=True))
    assert asked == {"maps-rgb": 64, "two-stages": 64}
    assert all(run[name] < 64 for name in names)


def test_the_default_is_the_first(all_server):
    picture = encode(picture_with_persons([(10, 10), (30, 20)]))
    bboxes = np.array([[0, 0, 99.5, 200], [50, 60, 300, 400.25]], np.float32)
    for default, named, given in (
        ("pose", "pose_whole-133", None),
        ("pose_from_boxes", "pose_from_boxes_whole-133", bboxes),
    ):
        answer, expected = (call(all_server, model, picture, given) for model in (default, named))
        for name in answer:
            np.testing.assert_array_equal(answer[name], expected[name])


@pytest.mark.parametrize("batches", [(1, 2, 3)])
def test_guided_points_of_the_server_are_those_of_pytorch(all_server, batches):
    network, count = TINY["two-stages"](), sum(batches)
    pixels = example_crops(network.variant.baseline, 3 * count).permute(0, 2, 3, 1).numpy() * STD + MEAN
    crops = np.clip(pixels, 0, 255).astype(np.uint8)
    inputs = normalised({"crops": crops})[INPUT]
    chosen = clearest(network, inputs, count)
    with torch.no_grad():
        refined, coarse, scores = network(inputs[chosen])
    parts = np.split(crops[chosen.numpy()], np.cumsum(batches)[:-1])
    with tritonclient.grpc.InferenceServerClient(all_server.grpc_url) as client:
        answers = [ask(client, part) for part in parts]
    found = {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}
    np.testing.assert_array_equal(found["coarse_keypoints"], coarse)
    np.testing.assert_allclose(found["grid_keypoints"], refined, rtol=0, atol=1e-3)
    np.testing.assert_allclose(found["grid_scores"], scores, rtol=0, atol=1e-4)
    assert np.abs(found["grid_keypoints"] - found["coarse_keypoints"]).max() > 0.1


def ask(client, crops):
    tensor = tritonclient.grpc.InferInput("crops", crops.shape, "UINT8")
    tensor.set_data_from_numpy(crops)
    answer = client.infer("two-stages", [tensor])
    return {name: answer.as_numpy(name) for name in ("grid_keypoints", "coarse_keypoints", "grid_scores")}


@pytest.mark.parametrize("name", TINY)
def test_each_is_verified_against_its_checkpoint(all_repository, all_server, checkpoints, capsys, name):
    arguments = ["verify", str(all_repository), "--url", all_server.grpc_url, "--checkpoint", str(checkpoints[name])]
    assert main(arguments) == 0  # the checkpoint's digest tells which network
    compared = [line.split(": ")[:2] for line in capsys.readouterr().out.splitlines()]
    assert compared == [[name, "PyTorch, ONNX Runtime"], [name, "ONNX Runtime, served"]]
