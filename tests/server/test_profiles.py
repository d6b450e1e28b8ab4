"""All machine profiles return the same people, and keypoints within the tolerance of the precision."""

import numpy as np
import pytest
import tritonclient.grpc

from server.stubs import stubs_of
from tests.pictures import encode, picture_with_persons
from tests.reliability.footprint import resident_mb
from tests.triton import call

pytestmark = pytest.mark.server


def need_openvino(tritonserver):
    pytest.importorskip("openvino")
    if not tritonserver.has_stand_in():
        pytest.skip(
            "the server's own backend ignores precision and threads for OpenVINO, so these profiles are refused"
        )


@pytest.mark.parametrize(
    ("profile", "tolerance"),
    [
        ("", 0.0),
        ("cpu-latency", 0.0),
        ("cpu-openvino", 1e-4),
        ("cpu-bf16", 5e-2),
        ("cpu-bf16-latency", 5e-2),
    ],  # tolerances of scores, which reach about 4; bfloat16 keeps 8 bits
)
def test_a_profile_equals_the_in_process_runtime(serve, repository, alone, tritonserver, profile, tolerance):
    if tolerance:
        need_openvino(tritonserver)
    encoded = encode(picture_with_persons([(5, 5), (20, 30), (40, 12)]))
    bboxes, scores, keypoints, keypoint_scores, _ = alone.estimate(encoded)
    with serve(repository, profile=profile) as server:
        answer = call(server, "pose", encoded)
    np.testing.assert_array_equal(answer["bboxes"], bboxes)
    np.testing.assert_array_equal(answer["bbox_scores"], scores)
    np.testing.assert_allclose(answer["keypoint_scores"], keypoint_scores, atol=tolerance)
    if not tolerance:
        np.testing.assert_array_equal(answer["keypoints"], keypoints)


@pytest.mark.torch
@pytest.mark.parametrize("repository", ["graph_pcnn"], indirect=True)
def test_graph_pcnn_stays_in_float32_where_others_are_in_bfloat16(serve, repository, alone, tritonserver):
    need_openvino(tritonserver)
    encoded = encode(picture_with_persons([(5, 5), (20, 30), (40, 12)]))
    _, _, keypoints, keypoint_scores, _ = alone.estimate(encoded)
    with serve(repository, profile="cpu-bf16") as server:
        answer = call(server, "pose", encoded)
    np.testing.assert_allclose(answer["keypoints"], keypoints, rtol=0, atol=1e-2)
    np.testing.assert_allclose(answer["keypoint_scores"], keypoint_scores, rtol=0, atol=1e-4)


@pytest.mark.parametrize("profile", ["cpu", "cpu-openvino"])
def test_a_large_request_is_answered_as_single_people_are(serve, repository, tritonserver, profile):
    """The stand-in runs 4 of the 11 people at a time."""
    if profile != "cpu":
        need_openvino(tritonserver)
    people = np.random.default_rng(0).integers(0, 255, (11, 256, 192, 3), np.uint8)
    with (
        serve(repository, profile=profile) as server,
        tritonclient.grpc.InferenceServerClient(server.grpc_url) as client,
    ):

        def run(crops):
            sent = tritonclient.grpc.InferInput("crops", list(crops.shape), "UINT8")
            sent.set_data_from_numpy(crops)
            return client.infer("spots", [sent])

        together, alone = run(people), [run(person[None]) for person in people]
    for name in ("simcc_x", "simcc_y"):
        expected = np.concatenate([answer.as_numpy(name) for answer in alone])
        assert len(np.unique(expected, axis=0)) == len(people)
        np.testing.assert_allclose(together.as_numpy(name), expected, rtol=1e-5, atol=1e-5)


def test_memory_does_not_grow_with_varying_batch_sizes(serve, repository):
    """ONNX Runtime's memory patterns would add half as much memory: each new batch size leaves a gap."""
    chance = np.random.default_rng(0)
    with (
        serve(repository, profile="cpu-latency") as server,
        tritonclient.grpc.InferenceServerClient(server.grpc_url) as client,
    ):
        own = [pid for pid, model in stubs_of(server.process.pid).items() if model == "spots"]
        pids = own or [server.process.pid]  # Triton's own backend has no process

        def run(persons):
            crops = tritonclient.grpc.InferInput("crops", [persons, 256, 192, 3], "UINT8")
            crops.set_data_from_numpy(np.zeros(crops.shape(), np.uint8))
            client.infer("spots", [crops])

        for _ in range(3):
            run(8)
        before_mb = resident_mb(pids)
        for persons in chance.integers(1, 9, 100):
            run(int(persons))
        assert resident_mb(pids) < 1.1 * before_mb
