"""The public contract, on hand-made networks with exactly known answers."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tritonclient.grpc

from tests.conftest import HEADS
from tests.pictures import encode, noise_picture, picture_with_persons
from tests.triton import call, counters, executions_of_a_crowd

pytestmark = [pytest.mark.server, pytest.mark.parametrize("repository", HEADS, indirect=True)]

SHAPES = {
    "bboxes": ("N", 4),
    "bbox_scores": ("N",),
    "keypoints": ("N", 17, 2),
    "keypoint_scores": ("N", 17),
    "persons_detected": (1,),
}


def assert_contract(answer, count, detected=None):
    assert {name: array.shape for name, array in answer.items()} == {
        name: tuple(count if n == "N" else n for n in shape) for name, shape in SHAPES.items()
    }
    assert answer["persons_detected"].tolist() == [count if detected is None else detected]
    assert all(answer[name].dtype == np.float32 for name in SHAPES if name != "persons_detected")


@pytest.mark.parametrize("count", [0, 1, 2, 5, 32])
def test_people_come_best_first_and_equal_the_in_process_ones(server, alone, count):
    cells = [(3 + 5 * (i % 9), 2 + 6 * (i // 9)) for i in range(count)]
    encoded = encode(picture_with_persons(cells, seed=count))
    answer = call(server, "pose", encoded)
    assert_contract(answer, count)
    bboxes, scores, keypoints, keypoint_scores, _ = alone.estimate(encoded)
    np.testing.assert_array_equal(answer["bboxes"], bboxes)
    np.testing.assert_array_equal(answer["bbox_scores"], scores)
    np.testing.assert_array_equal(answer["keypoints"], keypoints)
    np.testing.assert_array_equal(answer["keypoint_scores"], keypoint_scores)
    assert len(np.unique(answer["keypoints"], axis=0)) == count  # distinct people, not copies
    assert (np.diff(answer["bbox_scores"]) <= 0).all()


def test_the_list_is_cut_at_max_persons_and_the_count_reported(server):
    encoded = encode(picture_with_persons([(i % 45 + 2, 4 * (i // 45) + 2) for i in range(0, 160, 4)]))
    assert_contract(call(server, "pose", encoded), 32, detected=40)
    assert_contract(call(server, "pose", encoded, max_persons=3), 3, detected=40)


@pytest.mark.parametrize("model", ["pose", "pose_from_boxes"])
@pytest.mark.parametrize("outputs", [["bboxes"], ["persons_detected", "bbox_scores"]])
def test_boxes_alone_never_run_the_pose_network(server, model, outputs):
    encoded = encode(picture_with_persons([(10, 10), (20, 20)]))
    bboxes = np.array([[0, 0, 9, 9], [5, 5, 20, 30]], np.float32) if model == "pose_from_boxes" else None
    before = counters(server, "nv_inference_exec_count")["spots"]
    answer = call(server, model, encoded, bboxes, outputs)
    assert set(answer) == set(outputs)
    assert counters(server, "nv_inference_exec_count")["spots"] == before


@pytest.mark.parametrize("count", [0, 1, 2, 32])
def test_given_boxes_are_returned_unchanged(server, alone, count):
    random = np.random.default_rng(count)
    corners = random.uniform(-50, 400, (count, 2))
    bboxes = np.hstack([corners, corners + random.uniform(1, 300, (count, 2))]).astype(np.float32)
    encoded = encode(noise_picture(seed=count))
    answer = call(server, "pose_from_boxes", encoded, bboxes)
    assert_contract(answer, count)
    np.testing.assert_array_equal(answer["bboxes"], bboxes)
    assert (answer["bbox_scores"] == 1).all()
    keypoints, keypoint_scores = alone.estimate_boxes(encoded, bboxes)
    np.testing.assert_array_equal(answer["keypoints"], keypoints)
    np.testing.assert_array_equal(answer["keypoint_scores"], keypoint_scores)


def test_the_default_ensemble_equals_that_of_its_network(server):
    encoded = encode(picture_with_persons([(10, 10), (30, 20)]))
    default, named = (call(server, model, encoded) for model in ("pose", "pose_spots"))
    for name in SHAPES:
        np.testing.assert_array_equal(default[name], named[name])


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"bbox_threshold": 1.5}, "request parameter bbox_threshold is 1.5; it must be a number from 0.0 to 1.0"),
        ({"max_persons": "0"}, "request parameter max_persons is '0'; it must be a whole number from 1 to 10000"),
        ({"max_persons": 33}, "request parameter max_persons is 33; this network's keypoints are for 1 to 32 persons"),
        ({"bbox_treshold": 0.5}, "unknown request parameter bbox_treshold"),
    ],
)
def test_bad_parameters_are_refused(server, parameters, sentence):
    failure = call(server, "pose", encode(noise_picture()), error=True, **parameters)
    assert failure.status() == "StatusCode.INVALID_ARGUMENT"
    assert sentence in failure.message()


@pytest.mark.parametrize(
    ("bboxes", "sentence"),
    [
        ([[0, 0, 5, 5], [0, np.nan, 5, 5]], "bboxes[1] = [0.0, nan, 5.0, 5.0] is not finite"),
        ([[9, 0, 5, 5]], "bboxes[0] = [9.0, 0.0, 5.0, 5.0] is empty"),
        ([[0, 0, 5, 5]] * 33, "33 are more than this network's limit of 32"),
    ],
)
def test_bad_boxes_are_refused(server, bboxes, sentence):
    failure = call(server, "pose_from_boxes", encode(noise_picture()), np.array(bboxes, np.float32), error=True)
    assert failure.status() == "StatusCode.INVALID_ARGUMENT"
    assert sentence in failure.message()


@pytest.mark.parametrize("encoded", [b"", b"hello", encode(noise_picture(), ".jpg")[:200], b"GIF89a" + bytes(99)])
def test_other_bytes_are_rejected_with_a_clear_message(server, encoded):
    failure = call(server, "pose", encoded, error=True)
    assert failure.status() == "StatusCode.INVALID_ARGUMENT"
    assert "image: " in failure.message()
    assert not any(word in failure.message().lower() for word in ("traceback", ".py", "/", "cv2", "opencv", "numpy"))


def test_concurrent_requests_do_not_change_an_answer(server, rounding):
    pictures = [
        encode(picture_with_persons([(5 + 3 * i, 7 * j + 3) for i in range(n % 5)], seed=n))
        for j, n in enumerate([*range(4)] * 4)
    ]
    alone = [call(server, "pose", picture) for picture in pictures]
    for _ in range(3):
        with ThreadPoolExecutor(len(pictures)) as pool:
            together = list(pool.map(lambda picture: call(server, "pose", picture), pictures))
        for answer, single in zip(together, alone, strict=True):
            for name in SHAPES:
                np.testing.assert_allclose(answer[name], single[name], rtol=0, atol=rounding)


def test_a_bad_request_does_not_affect_its_batch(server, rounding):
    good, bad = encode(picture_with_persons([(10, 10)])), b"no picture"
    expected = call(server, "pose", good)
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda i: call(server, "pose", bad if i % 2 else good, error=i % 2), range(32)))
    for i, answer in enumerate(answers):
        if i % 2:
            assert answer.status() == "StatusCode.INVALID_ARGUMENT"
        else:
            np.testing.assert_allclose(answer["keypoints"], expected["keypoints"], rtol=0, atol=rounding)


def test_requests_are_batched(server):
    """Crops of several requests, which wait while both instances are busy, share an execution."""
    largest, single = crops(32), crops(1)
    assert executions_of_a_crowd(server, "spots", largest, single, callers=8) < 8


def crops(count):
    shape = [count, 256, 192, 3]
    return [tritonclient.grpc.InferInput("crops", shape, "UINT8").set_data_from_numpy(np.zeros(shape, np.uint8))]
