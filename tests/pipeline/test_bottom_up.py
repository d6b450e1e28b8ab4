"""A bottom-up network alone, and beside a top-down one: answers, limits, refusals and probes through a real server."""

import json

import cv2
import numpy as np
import pytest
from cigpose_client.__main__ import main

from ensemble.triton.stored import read_pipeline, run_here
from export.__main__ import main as export
from export.repository import build_repository
from tests import runtimes
from tests.networks import save_bottom_up_network, save_detector, save_pose_network
from tests.pictures import encode, noise_picture
from tests.reliability.launcher import launched
from tests.triton import call, counters

pytestmark = pytest.mark.server


def red_squares(count, width=300, height=200):
    """Return a picture with `count` people for the hand-made networks, as far as there is room."""
    image_bgr = noise_picture(width, height, seed=count)
    for i in range(count):
        left, top = 50 * (i % (width // 50)) + 4, 50 * (i // (width // 50)) + 4
        cv2.rectangle(image_bgr, (left, top), (left + 40, top + 40), (0, 0, 255), cv2.FILLED)
    return encode(image_bgr)


PICTURES = [red_squares(0), red_squares(1, 200, 320), red_squares(4), red_squares(2, 700, 90)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("files")


@pytest.fixture(scope="module")
def alone(folder):
    """A repository of one bottom-up network, and no detector."""
    file = save_bottom_up_network(folder / "red.onnx")
    assert export(["repository", "--pose", str(file), "--output", str(folder / "alone")]) == 0
    return folder / "alone"


@pytest.fixture(scope="module")
def both(folder):
    """A repository of a top-down and two bottom-up networks."""
    files = [
        save_pose_network(folder / "spots.onnx"),
        save_bottom_up_network(folder / "red-128.onnx"),
        save_bottom_up_network(folder / "red-192.onnx", short_side=192),
    ]
    build_repository(files, save_detector(folder / "d.onnx"), folder / "both")
    return folder / "both"


@pytest.fixture(scope="module")
def server(serve, alone):
    with serve(alone, metrics=True, profile="cpu") as running:
        yield running


@pytest.fixture(scope="module")
def server_of_both(serve, both):
    with serve(both, profile="cpu") as running:
        yield running


def test_a_bottom_up_network_needs_no_detector_and_has_no_twin(alone):
    assert sorted(path.name for path in alone.iterdir() if path.is_dir()) == [
        *("admit_picture", "await_turn", "decode_image", "fit_picture_128", "pose", "pose_red", "red"),
        "select_poses_128",
    ]
    assert read_pipeline(alone, "pose").parameters == {
        "kind": "bottom_up",
        "keypoint_set": "coco",
        "network": "red",
        "max_persons": "30",
        "networks": "red",
    }


def test_both_kinds_share_what_they_can(both):
    names = {path.name for path in both.iterdir() if path.is_dir()}
    assert {name for name in names if name.startswith("pose")} == {
        *("pose", "pose_from_boxes", "pose_spots", "pose_from_boxes_spots", "pose_red-128", "pose_red-192"),
    }
    assert {name for name in names if name.startswith(("decode", "fit", "select"))} == {
        *("decode_image", "decode_simcc", "select_persons"),
        *("fit_picture_128", "fit_picture_192", "select_poses_128", "select_poses_192"),
    }


def test_both_runtimes_answer_the_same(alone, server):
    counts = set()
    for case in runtimes.cases(alone, "pose", PICTURES):
        answer = runtimes.check(server, case, run_here(alone, "pose")(wanted=case[2], **case[1]))
        counts |= {len(answer["bboxes"])} if "bboxes" in answer else set()
    assert 0 in counts
    assert max(counts) > 3


@pytest.mark.parametrize("name", ["pose", "pose_from_boxes_spots", "pose_red-128", "pose_red-192"])
def test_both_kinds_answer_side_by_side(both, server_of_both, name):
    run = run_here(both, name)
    for case in runtimes.cases(both, name, PICTURES):
        runtimes.check(server_of_both, case, run(wanted=case[2], **case[1]))


def test_nobody_gives_empty_arrays(server):
    answer = call(server, "pose", PICTURES[0])
    assert {name: array.shape for name, array in answer.items()} == {
        "bboxes": (0, 4),
        "bbox_scores": (0,),
        "keypoints": (0, 17, 2),
        "keypoint_scores": (0, 17),
        "persons_detected": (1,),
    }


def test_a_crowd_gives_the_30_best_with_their_extents(server):
    before = counters(server, "cigpose_persons_detected_total", "")
    crowd = np.full((128, 256, 3), (0, 0, 255), np.uint8)  # 512 cells, each a person
    answer = call(server, "pose", encode(crowd), max_persons=300)
    assert answer["keypoints"].shape == (30, 17, 2)
    assert answer["persons_detected"].tolist() == [30]
    assert (np.diff(answer["bbox_scores"]) <= 0).all()
    np.testing.assert_array_equal(answer["bboxes"][:, :2], answer["keypoints"].min(axis=1))
    np.testing.assert_array_equal(answer["bboxes"][:, 2:], answer["keypoints"].max(axis=1))
    after = counters(server, "cigpose_persons_detected_total", "")
    assert sum(after.values()) - sum(before.values()) == 30


def test_options(server):
    everybody = call(server, "pose", PICTURES[2])
    count = len(everybody["bboxes"])
    middle = float(np.sort(everybody["bbox_scores"])[count // 2])
    best = call(server, "pose", PICTURES[2], bbox_threshold=str(middle))
    assert 0 < len(best["bboxes"]) < count or len(set(everybody["bbox_scores"])) == 1
    answer = call(server, "pose", PICTURES[2], max_persons=2)
    assert (len(answer["bboxes"]), answer["persons_detected"].tolist()) == (2, [count])


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"nms_threshold": "0.5"}, "request parameter nms_threshold is '0.5'; it does not apply to this network"),
        ({"bbox_threshold": "2"}, "request parameter bbox_threshold is '2'; it must be a number from 0.0 to 1.0"),
        ({"colour": "red"}, "unknown request parameter colour; known: bbox_threshold, nms_threshold, max_persons"),
    ],
)
def test_refusals_name_the_parameter(server, parameters, sentence):
    before = counters(server, "cigpose_pictures_refused_total", "reason")
    failure = call(server, "pose", PICTURES[1], error=True, **parameters)
    assert failure.status() == "StatusCode.INVALID_ARGUMENT"
    assert sentence in failure.message()
    after = counters(server, "cigpose_pictures_refused_total", "reason")
    assert after["parameters"] - before["parameters"] == 1


def test_pictures_of_wrong_bytes_are_refused(server):
    for encoded in (b"", b"hello", PICTURES[1][:300]):
        assert call(server, "pose", encoded, error=True).status() == "StatusCode.INVALID_ARGUMENT"


@pytest.mark.parametrize("size", [(1, 1), (1, 60_000), (60_000, 1), (7000, 7000), (3000, 10)])
def test_extreme_sizes_are_answered(server, size):
    red = encode(np.full((size[1], size[0], 3), (0, 0, 255), np.uint8))
    found = call(server, "pose", red)["keypoints"]
    assert found.shape[1:] == (17, 2)
    assert np.isfinite(found).all()
    grey = encode(np.full((size[1], size[0], 3), 90, np.uint8))
    assert call(server, "pose", grey)["keypoints"].shape == (0, 17, 2)


def test_there_is_no_ensemble_for_given_boxes(server):
    failure = call(server, "pose_from_boxes_red", PICTURES[1], np.float32([[0, 0, 9, 9]]), error=True)
    assert failure.status() == "StatusCode.NOT_FOUND"


def test_the_watchdogs_canaries_are_answered(alone, server):
    assert runtimes.failed_canaries(server, alone) == {}


@pytest.mark.slow
def test_the_watchdog_leaves_an_idle_network_alone(alone, tritonserver, tmp_path):
    with launched(alone, tmp_path) as watched:
        watched.wait_until(lambda: counters(watched, "nv_inference_exec_count").get("red", 0) >= 2, 60)
        state = json.loads(watched.health.read_text())
    assert (state["healthy"], state["broken"], state["recoveries"], state["restarts"]) == (True, {}, {}, 0)


def test_probes_ask_each_network_for_what_it_offers(server_of_both, both, capsys):
    assert main(["check", "--url", server_of_both.grpc_url]) == 0
    lines = [line.split()[:2] for line in capsys.readouterr().out.splitlines()]
    names = ["pose", "pose_spots", "pose_red-128", "pose_red-192"]
    assert lines == [["ok", f"{name}:"] for name in names]
    assert main(["info", "--json", "--url", server_of_both.grpc_url]) == 0
    listing = json.loads(capsys.readouterr().out)["models"]
    assert [(model["name"], model["kind"]) for model in listing] == list(
        zip(names, ["top_down", "top_down", "bottom_up", "bottom_up"], strict=True)
    )
    assert export(["verify", str(both), "--url", server_of_both.grpc_url, "--crops", "2"]) == 0
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == [
        *("detector", "red-128", "red-192", "spots")
    ]


def test_evaluation_asks_for_people_without_boxes(server, tmp_path, capsys):
    pytest.importorskip("pycocotools")
    (tmp_path / "images").mkdir()
    truth = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "person"}]}
    for number in (1, 4):
        picture, name = red_squares(number), f"{number}.png"
        (tmp_path / "images" / name).write_bytes(picture)
        truth["images"].append({"id": number, "file_name": name, "width": 300, "height": 200})
        for person in call(server, "pose", picture)["keypoints"]:
            flat = np.column_stack([person, np.full(17, 2)]).ravel().tolist()
            fields = {"keypoints": flat, "num_keypoints": 17, "bbox": [0, 0, 9, 9], "area": 1600.0, "iscrowd": 0}
            identity = {"id": len(truth["annotations"]) + 1, "image_id": number, "category_id": 1}
            truth["annotations"].append(identity | fields)
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    files = ["--annotations", str(tmp_path / "truth.json"), "--images", str(tmp_path / "images")]
    assert main(["evaluate", *files, "--model", "pose_red", "--url", server.grpc_url, "--json", "-"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["network"], report["boxes"]) == ("red", "detector")
    assert report["metrics"]["body"]["AP50"] > 0.9
