import io
import json
import re
import sys
import threading
import time
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from cigpose_client.__main__ import main

from client.tests.fake_server import OVERLOADED, start
from client.tests.processes import ran_without_stdout


@pytest.fixture
def run(server, capsys):
    """Run the command against the fake server; the answer has `status`, `out` and `err`."""

    def run(*argv):
        url = () if "--url" in argv else ("--url", server.url)
        status = main([*map(str, argv), *url])
        captured = capsys.readouterr()
        return SimpleNamespace(status=status, out=captured.out, err=captured.err)

    return run


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    cv2.imwrite(str(path), np.full((240, 320, 3), 90, np.uint8))
    return path


def numbered(folder, *counts):
    folder.mkdir(exist_ok=True)
    for count in counts:
        (folder / f"{count:012}.jpg").write_bytes(str(count).encode())
    return folder


def pipe(monkeypatch, data):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_image_prints_the_people_as_json(run, photo):
    answer = run("image", photo)
    (entry,) = json.loads(answer.out)
    assert answer.status == 0
    assert answer.err == ""
    assert entry["picture"] == str(photo)
    assert entry["keypoint_set"] == "coco_wholebody"
    assert entry["persons_detected"] == 2
    assert [person["bbox"] for person in entry["people"]] == [[0, 20, 60, 200], [10, 20, 70, 200]]
    assert entry["people"][0]["bbox_score"] == 0.9
    assert len(entry["people"][0]["keypoints"]) == 133
    assert entry["people"][0]["keypoints"][0] == [6.0, 182.0, 0.1]


def test_several_pictures_are_answered_in_order(run, server, tmp_path):
    folder = numbered(tmp_path / "in", 0, 1, 2, 3)
    server.delay_s = lambda picture: 0.1 if picture == b"0" else 0.0
    answer = run("image", *sorted(folder.iterdir()))
    assert [len(entry["people"]) for entry in json.loads(answer.out)] == [0, 1, 2, 3]
    assert "4 pictures answered, 0 failed, 0 left out, 6 people" in answer.err


def test_json_goes_to_the_file(run, photo, tmp_path):
    answer = run("image", photo, "--json", tmp_path / "people.json")
    assert answer.out == ""
    assert len(json.loads((tmp_path / "people.json").read_text())) == 1


@pytest.mark.parametrize("model", ["pose", "body", "crowd"])
def test_skeletons_are_drawn(run, photo, tmp_path, model):
    assert run("image", photo, "--model", model, "--output", tmp_path / "drawn.png").status == 0
    drawn = cv2.imread(str(tmp_path / "drawn.png"))
    assert (drawn != 90).any()
    assert drawn.shape == (240, 320, 3)


def test_the_threshold_decides_what_is_drawn(run, photo, tmp_path):
    run("image", photo, "--threshold", "2", "--output", tmp_path / "drawn.png")
    assert (cv2.imread(str(tmp_path / "drawn.png")) == 90).all()


def test_several_drawings_go_to_a_folder(run, photo, tmp_path):
    other = tmp_path / "other.png"
    other.write_bytes(photo.read_bytes())
    assert run("image", photo, other, "--output", tmp_path / "drawn").status == 0
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == ["other.png", "photo.png"]


def test_a_folder_takes_the_drawing_of_one_picture(run, photo, tmp_path):
    (tmp_path / "drawn").mkdir()
    assert run("image", photo, "--output", tmp_path / "drawn").status == 0
    assert (tmp_path / "drawn" / "photo.png").is_file()


@pytest.mark.parametrize(
    ("output", "words"),
    [("one.png", "give a folder"), ("-", "only one drawn picture"), ("folder", "draw them in separate runs")],
)
def test_impossible_places_for_drawings_are_refused(run, photo, tmp_path, output, words):
    target = output if output == "-" else tmp_path / output
    answer = run("image", photo, photo, "--output", target, "--json", tmp_path / "j")
    assert answer.status == 2
    assert words in answer.err


def test_stdin_and_stdout(server, photo, tmp_path, monkeypatch, capsysbinary):
    pipe(monkeypatch, photo.read_bytes())
    argv = ["image", "-", "--output", "-", "--json", str(tmp_path / "people.json"), "--url", server.url]
    assert main(argv) == 0
    drawn = cv2.imdecode(np.frombuffer(capsysbinary.readouterr().out, np.uint8), cv2.IMREAD_COLOR)
    assert drawn.shape == (240, 320, 3)
    assert json.loads((tmp_path / "people.json").read_text())[0]["picture"] == "-"


def test_stdout_takes_one_thing_only(run, photo):
    answer = run("image", photo, "--output", "-")
    assert answer.status == 2
    assert "--json FILE" in answer.err


@pytest.mark.parametrize("output", [[], ["--json", "-"], ["--json", "people.json", "--output", "-"]])
def test_a_closed_stdout_is_wrong_usage_where_it_is_needed(server, photo, tmp_path, monkeypatch, capsys, output):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdout", None)
    assert main(["image", str(photo), *output, "--url", server.url]) == 2
    assert "stdout is closed; name a file with --json, or --output" in capsys.readouterr().err
    assert not server.requests


def test_a_closed_stdout_is_no_fault_where_it_is_not_needed(server, photo, tmp_path):
    run = ran_without_stdout("image", photo, "--json", tmp_path / "people.json", "--url", server.url)
    assert (run.returncode, run.stderr) == (0, "")
    assert len(json.loads((tmp_path / "people.json").read_text())) == 1


def test_json_lines(run, tmp_path):
    answer = run("folder", numbered(tmp_path / "in", 1, 2))
    entries = [json.loads(line) for line in answer.out.splitlines()]
    assert [entry["picture"] for entry in entries] == ["000000000001.jpg", "000000000002.jpg"]


def test_scores_of_a_bottom_up_network_are_taken_as_they_are(run, photo, server, tmp_path):
    """Its keypoint scores are low: drawn from 0.05 on, and people are ranked by their own score."""
    (entry,) = json.loads(run("image", photo, "--model", "pose_body", "--format", "coco").out)[:1]
    run("image", photo, "--model", "pose_body", "--output", tmp_path / "top-down.png", "--json", tmp_path / "a.json")
    server.bottom_up = ("pose_body",)
    (own, *_) = json.loads(run("image", photo, "--model", "pose_body", "--format", "coco").out)
    assert entry["score"] < 0.9
    assert own["score"] == pytest.approx(0.9)
    run("image", photo, "--model", "pose_body", "--output", tmp_path / "bottom-up.png", "--json", tmp_path / "a.json")
    painted = [(cv2.imread(str(tmp_path / f"{name}.png")) != 90).sum() for name in ("top-down", "bottom-up")]
    assert 0 < painted[0] < painted[1]


def test_coco_results_name_pictures_by_number(run, tmp_path):
    answer = run("folder", numbered(tmp_path / "in", 0, 785), "--format", "coco", "--model", "body")
    entries = json.loads(answer.out)
    assert len(entries) == 785
    assert {entry["image_id"] for entry in entries} == {785}
    assert {"category_id", "keypoints", "score"} <= set(entries[0])


def test_recursive_reads_folders_below(run, tmp_path):
    folder = numbered(tmp_path / "in", 1)
    numbered(folder / "sub", 2)
    assert len(run("folder", folder).out.splitlines()) == 1
    assert '"sub/000000000002.jpg"' in run("folder", folder, "--recursive").out


def test_a_failure_ends_the_run_and_leaves_valid_json(run, tmp_path):
    folder = numbered(tmp_path / "in", 1, 2)
    (folder / "0.jpg").write_bytes(b"no picture")
    answer = run("folder", folder, "--format", "json", "--concurrency", "1")
    assert answer.status == 1
    assert "neither JPEG" in answer.err
    assert json.loads(answer.out) == []


def test_continue_on_error_answers_the_rest(run, tmp_path):
    folder = numbered(tmp_path / "in", 1, 2)
    (folder / "0.jpg").write_bytes(b"no picture")
    answer = run("folder", folder, "--continue-on-error")
    entries = [json.loads(line) for line in answer.out.splitlines()]
    assert answer.status == 1
    assert [("error" in entry) for entry in entries] == [True, False, False]
    assert "0.jpg: in ensemble" in answer.err or "0.jpg: the image is neither" in answer.err
    assert "2 pictures answered, 1 failed, 0 left out, 3 people" in answer.err


def test_requests_sent_again_are_reported(run, server, tmp_path):
    server.failures = [OVERLOADED] * 2
    answer = run("folder", numbered(tmp_path / "in", 1, 2, 3))
    assert answer.status == 0
    assert "2 requests sent again" in answer.err


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("image", "nowhere.jpg"), "nowhere.jpg"),
        (("folder", "nowhere"), "nowhere is not a folder"),
        (("image", "{photo}", "--model", "nope"), "cigpose-client info"),
        (("image", "{photo}", "--url", "127.0.0.1:1", "--timeout", "0.2"), "is the server running"),
    ],
)
def test_mistakes_name_the_remedy(run, photo, argv, words):
    answer = run(*(word.format(photo=photo) for word in argv))
    assert answer.status == 1
    assert words in answer.err
    assert "Traceback" not in answer.err


@pytest.mark.parametrize(
    "argv", [(), ("image",), ("image", "a", "--concurrency", "0"), ("image", "a", "--header", "x")]
)
def test_wrong_usage_is_status_2(run, argv):
    assert run(*argv).status == 2


def test_help_is_status_0(capsys):
    assert main(["--help"]) == 0
    assert main(["--version"]) == 0


def test_a_server_that_restarts_costs_no_picture(run, server, tmp_path):
    """The server stops while 60 pictures are being sent, and is back half a second later."""
    handle = start(server)
    state = {"handle": handle}

    def restart():
        state["handle"].stop(None).wait()
        time.sleep(0.5)
        state["handle"] = start(server, server.url)

    restarter = threading.Thread(target=restart)
    server.delay_s = lambda _: (len(server.requests) == 20 and restarter.start()) or 0.01
    answer = run("folder", numbered(tmp_path / "in", *range(60)))
    restarter.join()
    state["handle"].stop(None).wait()
    assert answer.status == 0
    assert [len(json.loads(line)["people"]) for line in answer.out.splitlines()] == list(range(60))
    assert int(re.search(r"(\d+) requests sent again", answer.err)[1]) > 0
