"""3-D on a real server: both runtimes, the contract's edges, and what runs for which output.

`lift` is hand-made and exact, `capf` is a tiny Context-Aware PoseFormer; both stand on the hand-made `spots`.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue

import numpy as np
import pytest
import tritonclient.grpc

torch = pytest.importorskip("torch", reason="needs PyTorch")

from ensemble.triton.stored import run_here  # noqa: E402
from export.__main__ import main  # noqa: E402
from export.families.poseformer.export import export_onnx  # noqa: E402
from tests import runtimes  # noqa: E402
from tests.export.seams.files import save_lifter  # noqa: E402
from tests.networks import save_detector, save_pose_network  # noqa: E402
from tests.pictures import encode, noise_picture, picture_with_persons  # noqa: E402
from tests.tiny_networks import lifter_network  # noqa: E402
from tests.triton import call, counters  # noqa: E402

pytestmark = [pytest.mark.server, pytest.mark.torch]

OWN = ("lift", "lift_inputs", "lift_outputs")
PICTURES = [encode(picture_with_persons([(12 * i + 3, 7 * i + 3) for i in range(n)], seed=n)) for n in (0, 1, 4)]


@pytest.fixture(scope="module")
def lifted_repository(tmp_path_factory):
    folder, output = tmp_path_factory.mktemp("lifters"), tmp_path_factory.mktemp("lifted") / "r"
    export_onnx(lifter_network(), folder / "capf.onnx")
    poses = [save_pose_network(folder / "whole.onnx", 133), save_pose_network(folder / "spots.onnx")]
    command = [*("--lifter", save_lifter(folder / "lift.onnx")), *("--lifter", folder / "capf.onnx")]
    command += [part for pose in poses for part in ("--pose", pose)]
    command += ["--lift-from", "spots", "--detector", save_detector(folder / "d.onnx"), "--output", output]
    assert main(["repository", *map(str, command)]) == 0
    return output


@pytest.fixture(scope="module")
def lifted_server(lifted_repository, serve):
    with serve(lifted_repository, profile="cpu", metrics=True) as running:
        yield running


@pytest.mark.parametrize("name", ["pose_3d", "pose_3d_from_boxes", "pose_capf", "pose_from_boxes_capf", "pose"])
def test_both_runtimes_answer_the_same(lifted_repository, lifted_server, name):
    """Bit for bit, with any subset of the outputs."""
    run = run_here(lifted_repository, name)
    for case in runtimes.cases(lifted_repository, name, PICTURES):
        runtimes.check(lifted_server, case, run(wanted=case[2], **case[1]))


def test_lifters_are_served_on_openvino(lifted_repository, serve):
    pytest.importorskip("openvino")
    boxes = np.float32([[0, 0, 90, 180]])
    with serve(lifted_repository, profile="cpu-openvino") as server:
        for model in ("pose_3d_from_boxes", "pose_from_boxes_capf"):
            answer = call(server, model, PICTURES[1], boxes)
            expected = run_here(lifted_repository, model)(image=PICTURES[1], bboxes=boxes)
            np.testing.assert_allclose(answer["keypoints_3d"], expected["keypoints_3d"], atol=1e-4)


def test_the_ensembles_of_the_repository(lifted_repository):
    expected = {"pose", "pose_from_boxes", "pose_3d", "pose_3d_from_boxes"}
    for network in ("whole", "spots", "lift", "capf"):
        expected |= {f"pose_{network}", f"pose_from_boxes_{network}"}
    assert set(runtimes.pipelines(lifted_repository)) == expected


@pytest.mark.parametrize("model", ["pose_3d", "pose_3d_from_boxes", "pose_lift", "pose_from_boxes_capf"])
def test_the_contract_page(lifted_server, model):
    with tritonclient.grpc.InferenceServerClient(lifted_server.grpc_url) as client:
        config = client.get_model_config(model, as_json=True)["config"]
    parameters = {key: value["string_value"] for key, value in config["parameters"].items()}
    assert parameters == {
        **{"kind": "lifted", "keypoint_set": "coco", "keypoint_set_3d": "human36m", "lifts_from": "spots"},
        **{"network": "capf" if "capf" in model else "lift", "max_persons": "32", "networks": "whole,spots,lift,capf"},
    }
    section = (Path(__file__).parents[2] / "docs" / "contract.md").read_text().split("## Joints in space")[1]
    outputs = {tensor["name"]: f"[{','.join(tensor['dims'])}]" for tensor in config["output"]}
    assert f"| `keypoints_3d` | FP32 {outputs['keypoints_3d']} |" in section.split("\n## ")[0]


@pytest.mark.parametrize("count", [0, 1, 2, 32])
def test_numbers_of_people(lifted_server, count):
    encoded = encode(picture_with_persons([(3 + 5 * (i % 9), 2 + 6 * (i // 9)) for i in range(count)], seed=count))
    answer = call(lifted_server, "pose_3d", encoded)
    assert answer["keypoints_3d"].shape == (count, 17, 3)
    assert answer["keypoints_3d"].dtype == np.float32
    flat = call(lifted_server, "pose_spots", encoded)
    for name, array in flat.items():
        np.testing.assert_array_equal(answer[name], array)
    assert len(np.unique(answer["keypoints_3d"], axis=0)) == count  # distinct people, not copies


def test_too_many_people(lifted_server):
    encoded = encode(picture_with_persons([(i % 45 + 2, 4 * (i // 45) + 2) for i in range(0, 160, 4)]))
    answer = call(lifted_server, "pose_3d", encoded)
    assert (len(answer["keypoints_3d"]), answer["persons_detected"].tolist()) == (32, [40])
    failure = call(lifted_server, "pose_3d_from_boxes", encoded, np.float32([[0, 0, 5, 5]] * 33), error=True)
    assert failure.status() == "StatusCode.INVALID_ARGUMENT"
    assert "33 are more than this network's limit of 32 a request" in failure.message()


def test_a_box_that_is_not_finite_is_refused(lifted_server):
    bboxes = np.float32([[0, 0, 50, 90], [0, np.nan, 5, 5]])
    failure = call(lifted_server, "pose_3d_from_boxes", encode(noise_picture()), bboxes, error=True)
    assert failure.status() == "StatusCode.INVALID_ARGUMENT"
    assert "bboxes[1] = [0.0, nan, 5.0, 5.0] is not finite" in failure.message()


@pytest.mark.parametrize("model", ["pose_3d_from_boxes", "pose_from_boxes_capf"])
@pytest.mark.parametrize(
    "bbox",
    [
        pytest.param([-80, -60, 60, 90], id="partly outside"),
        pytest.param([-500, -400, -300, -100], id="joints outside the picture"),
        pytest.param([100, 100, 104, 108], id="a person of 8 pixels"),
        pytest.param([100, 100, 100.001, 100.001], id="a person of a point"),
        pytest.param([-1e5, -1e5, 1e5, 1e5], id="much larger than the picture"),
    ],
)
def test_unusual_boxes(lifted_repository, lifted_server, model, bbox):
    encoded, bboxes = encode(noise_picture()), np.float32([bbox])
    answer = call(lifted_server, model, encoded, bboxes)
    assert np.isfinite(answer["keypoints_3d"]).all()
    expected = run_here(lifted_repository, model)(image=encoded, bboxes=bboxes)
    np.testing.assert_array_equal(answer["keypoints_3d"], expected["keypoints_3d"])


@pytest.mark.parametrize("model", ["pose_3d", "pose_3d_from_boxes"])
def test_who_does_not_ask_for_3d_never_runs_the_lifter(lifted_server, model):
    boxes = np.float32([[0, 0, 90, 180]]) if "boxes" in model else None
    before = counters(lifted_server, "nv_inference_exec_count")
    for outputs in (["keypoints"], ["keypoints", "keypoint_scores", "bboxes"], ["persons_detected"]):
        assert set(call(lifted_server, model, PICTURES[1], boxes, outputs)) == set(outputs)
    after = counters(lifted_server, "nv_inference_exec_count")
    assert [after[name] - before[name] for name in OWN] == [0, 0, 0]
    assert after["spots"] > before["spots"]
    assert set(call(lifted_server, model, PICTURES[1], boxes, ["keypoints_3d"])) == {"keypoints_3d"}
    assert [counters(lifted_server, "nv_inference_exec_count")[name] - after[name] for name in OWN] == [1, 1, 1]


def test_the_watchdogs_canaries_are_answered(lifted_server, lifted_repository):
    assert runtimes.failed_canaries(lifted_server, lifted_repository) == {}


def test_crops_of_the_lifter_merge_across_requests(lifted_server):
    arrays = {"lift_crops": np.zeros((1, 96, 64, 3), np.uint8)}
    arrays |= {name: np.zeros((1, 17, 2), np.float32) for name in ("keypoints_image", "keypoints_crop")}
    inputs = []
    for name, array in arrays.items():
        kind = "UINT8" if array.dtype == np.uint8 else "FP32"
        inputs.append(tritonclient.grpc.InferInput(name, array.shape, kind).set_data_from_numpy(array))
    kinds, answers = ("nv_inference_request_success", "nv_inference_exec_count"), Queue()
    before = [counters(lifted_server, kind)["capf"] for kind in kinds]
    with tritonclient.grpc.InferenceServerClient(lifted_server.grpc_url) as client:
        for _ in range(128):
            client.async_infer("capf", inputs, lambda result, error: answers.put(error))
        assert [answers.get(timeout=60) for _ in range(128)] == [None] * 128
    asked, run = (counters(lifted_server, kind)["capf"] - was for kind, was in zip(kinds, before, strict=True))
    assert asked == 128
    assert run < 128


def test_many_callers_get_their_own_answers(lifted_server):
    boxes = [np.float32([[5 * i, 4 * i, 90 + 9 * i, 150 + 3 * i]]) for i in range(12)]
    alone = [call(lifted_server, "pose_3d_from_boxes", PICTURES[2], each) for each in boxes]
    with ThreadPoolExecutor(12) as pool:
        together = list(pool.map(lambda each: call(lifted_server, "pose_3d_from_boxes", PICTURES[2], each), boxes))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(other["keypoints_3d"], one["keypoints_3d"], rtol=0, atol=1e-5)


def test_both_lifters_are_verified(lifted_repository, lifted_server, capsys):
    chosen = ["--network", "lift", "--network", "capf"]
    assert main(["verify", str(lifted_repository), "--url", lifted_server.grpc_url, "--crops", "3", *chosen]) == 0
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == ["lift", "capf"]
