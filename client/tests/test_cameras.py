"""Films and cameras with ids: several sources, sources that break, and real RTSP and HTTP servers that are killed."""

import functools
import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import cv2
import grpc
import numpy as np
import pytest
from cigpose_client.__main__ import main
from cigpose_client._cli.frames import Frame, open_video
from cigpose_client._cli.progress import Progress
from cigpose_client._cli.run import Run
from cigpose_client._cli.video import open_output
from cigpose_client._draw import color_of
from cigpose_client.outputs import Part

from client.tests.processes import started

SYSTEM_PYTHON = "/usr/bin/python3"
RTSP_SERVER, MJPEG_SERVER = (Path(__file__).with_name(name) for name in ("rtsp_server.py", "mjpeg_server.py"))
FRAMES = 12


@pytest.fixture(autouse=True)
def no_ffmpeg(monkeypatch):
    monkeypatch.setattr("cigpose_client._cli.video_writer.shutil.which", lambda name: None)


@pytest.fixture
def clips(tmp_path):
    """Two films of different sizes."""
    paths = []
    for number, size in enumerate([(64, 48), (160, 240)]):
        paths.append(str(tmp_path / f"clip{number}.avi"))
        writer = cv2.VideoWriter(paths[-1], cv2.VideoWriter_fourcc(*"MJPG"), 12.0, size)
        for _ in range(FRAMES):
            writer.write(np.zeros((*size[::-1], 3), np.uint8))
        writer.release()
    return paths


def lines(path):
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def test_a_tracked_film_has_ids_and_few_detections(server, clips, tmp_path, capsys):
    out, drawn = tmp_path / "out.jsonl", tmp_path / "drawn.avi"
    argv = ["video", clips[1], "--track", "--detect-every", "4", "--smooth", "--json", str(out), "--output", str(drawn)]
    assert main([*argv, "--url", server.url]) == 0
    entries = lines(out)
    assert [entry["frame"] for entry in entries] == list(range(FRAMES))
    assert all([person["track_id"] for person in entry["people"]] == [1, 2] for entry in entries)
    detections = [request for request in server.requests if request.boxes is None]
    assert len(detections) < FRAMES
    frame = cv2.VideoCapture(str(drawn)).read()[1]
    for track in (1, 2):
        assert (np.abs(frame.astype(int) - color_of(track)).max(axis=2) < 90).any()
    assert server.most_at_once == 1


def test_without_track_there_are_no_ids(server, clips, tmp_path):
    out = tmp_path / "out.jsonl"
    assert main(["video", clips[0], "--json", str(out), "--url", server.url]) == 0
    assert "track_id" not in lines(out)[0]["people"][0]


def test_a_tracked_camera_has_ids(server, clips, tmp_path, capsys):
    out = tmp_path / "out.jsonl"
    assert main(["camera", clips[0], "--track", "--json", str(out), "--url", server.url]) == 0
    assert lines(out)[0]["people"][1]["track_id"] == 2
    assert "frames dropped, because newer ones had arrived" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["video", "x.avi", "--detect-every", "4"], "--detect-every needs --track"),
        (["camera", "--smooth"], "--smooth needs --track"),
        (["cameras", "0", "--no-track", "--max-lost", "4"], "--max-lost needs --track"),
        (["video", "x.avi", "--track", "--boxes", "b.json"], "leave out --boxes or --track"),
        (["video", "x.avi", "--track", "--resume", "--json", "x.jsonl"], "leave out --resume or --track"),
        (["cameras", "0", "--format", "coco"], "COCO results do not name sources"),
        (["cameras", "a.avi", "b.avi", "a.avi"], "a.avi is given twice"),
    ],
)
def test_options_that_do_not_fit_are_refused(capsys, argv, words):
    assert main(argv) == 2
    assert words in capsys.readouterr().err


def test_sources_keep_their_own_order_and_ids(server, clips, tmp_path, capsys):
    server.delay_s = 0.01
    out, again = tmp_path / "out.jsonl", shutil.copy(clips[0], tmp_path / "again.avi")
    argv = ["cameras", *clips, str(again), "--json", str(out), "--output", str(tmp_path / "drawn"), "--url", server.url]
    assert main(argv) == 0
    entries = lines(out)
    assert len(entries) == 3 * FRAMES
    assert [entry["frame"] for entry in entries if entry["source"] == clips[1]] == list(range(FRAMES))
    assert {tuple(person["track_id"] for person in entry["people"]) for entry in entries} == {(1, 2)}
    assert 2 <= server.most_at_once <= 3
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == ["1.mp4", "2.mp4", "3.mp4"]
    assert f"{clips[1]}: {FRAMES} frames" in capsys.readouterr().err


def test_a_failed_frame_of_one_source_does_not_change_the_others(server, clips, tmp_path):
    server.failures = [(grpc.StatusCode.INVALID_ARGUMENT, "no")]
    out = tmp_path / "out.jsonl"
    argv = ["cameras", *clips, "--continue-on-error", "--json", str(out), "--url", server.url]
    assert main(argv) == 1
    entries = lines(out)
    assert len(entries) == 2 * FRAMES
    assert sum("error" in entry for entry in entries) == 1


def test_what_was_left_out_is_counted_over_all_films(server, clips, tmp_path, capsys):
    out = tmp_path / "out.jsonl"
    server.failures = [(grpc.StatusCode.INVALID_ARGUMENT, "no")]
    assert main(["cameras", *clips, "--json", str(out), "--url", server.url]) == 1
    assert f"1 failed, {2 * FRAMES - 1 - len(lines(out))} left out" in capsys.readouterr().err


def test_a_camera_that_never_answers_is_a_failure(server, clips, tmp_path, capsys):
    address = "rtsp://127.0.0.1:9/x"
    argv = ["cameras", clips[0], address, "--seconds", "5", "--json", str(tmp_path / "out.jsonl"), "--url", server.url]
    assert main(argv) == 1
    assert f"{address} gives no frame" in capsys.readouterr().err
    assert len(lines(tmp_path / "out.jsonl")) == FRAMES


def test_cameras_remove_what_a_killed_run_left(server, clips, tmp_path):
    out, drawn = tmp_path / "out.jsonl", tmp_path / "drawn"
    parts = [Part(out), Part(drawn / "1.mp4")]
    for part in parts:
        part.leave()
    assert main(["cameras", *clips, "--json", str(out), "--output", str(drawn), "--url", server.url]) == 0
    assert not [part.path for part in parts if part.path.exists()]


def test_a_camera_may_come_back_with_another_size(tmp_path):
    path, sizes = tmp_path / "drawn.avi", [(64, 48)] * 3 + [(32, 24)] * 3
    with open_output(str(path), 12.0, None, Run(None, Progress("frames"), 1, False)) as write:
        for index, (width, height) in enumerate(sizes):
            write(Frame(index, index / 12, np.full((height, width, 3), 40 * index, np.uint8)))
    capture = cv2.VideoCapture(str(path))
    frames = [capture.read()[1] for _ in sizes]
    assert [frame.shape for frame in frames] == [(48, 64, 3)] * 6
    assert all(abs(int(frame.mean()) - 40 * index) < 5 for index, frame in enumerate(frames))


def test_a_missing_film_is_named(clips, capsys):
    assert main(["cameras", clips[0], "nowhere.avi", "--url", "127.0.0.1:1"]) == 1
    assert "nowhere.avi cannot be opened" in capsys.readouterr().err


def test_the_newest_frame_wins_and_dropped_frames_are_counted(clips):
    with open_video(clips[0], live=True) as video:
        time.sleep(0.5)
        frames = [frame for frame in video.frames() if frame is not None]
    assert len(frames) + video.dropped == FRAMES
    assert video.dropped > 0


# --- real RTSP and HTTP servers ---


@functools.cache
def missing_rtsp_server():
    """Return what is missing for `rtsp_server.py`; empty if nothing is."""
    if not Path(SYSTEM_PYTHON).exists():
        return SYSTEM_PYTHON
    code = f"import sys; sys.path.insert(0, {str(RTSP_SERVER.parent)!r}); import rtsp_server; rtsp_server.prepared()"
    run = subprocess.run([SYSTEM_PYTHON, "-c", code], capture_output=True, text=True, check=False)
    return run.stderr.strip().splitlines()[-1] if run.returncode else ""


@pytest.fixture(params=["rtsp", "http"])
def network_camera(request):
    """Yield the address of a server, and a function that starts it and returns the process."""
    protocol = request.param
    if protocol == "rtsp" and (missing := missing_rtsp_server()):
        pytest.skip(f"GStreamer's RTSP server is not installed (make rtsp-server): {missing}")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = []

    def start():
        command = [SYSTEM_PYTHON, RTSP_SERVER] if protocol == "rtsp" else [sys.executable, MJPEG_SERVER]
        command = [*map(str, command), str(port)]
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True))
        assert processes[-1].stdout.readline() == "listening\n"
        return processes[-1]

    yield f"{protocol}://127.0.0.1:{port}/test", start
    for process in processes:
        process.kill()
        process.communicate()


def wait_for(condition, limit_s=60.0):
    end_s = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end_s, "it did not happen in time"
        time.sleep(0.05)


@pytest.mark.parametrize("command", ["camera", "cameras"])
def test_a_killed_server_is_connected_again(server, network_camera, clips, tmp_path, command):
    address, start = network_camera
    out, log = tmp_path / "out.jsonl", tmp_path / "log"
    more = [clips[0], "--track"] if command == "cameras" else ["--track"]
    first = None if command == "cameras" else start()  # `cameras` waits for addresses that come later
    with open(log, "w") as stderr:
        process = started(command, address, *more, "--url", server.url, "--json", out, stderr=stderr)
    if first is None:
        wait_for(lambda: f"{address}: cannot be opened; next try in" in log.read_text())
        first = start()

    def count():
        return sum(request.picture.startswith(b"\xff\xd8") for request in server.requests)

    wait_for(lambda: count() > 20)
    first.kill()
    first.wait()
    wait_for(lambda: f"{address}: the connection broke; connecting again" in log.read_text())
    wait_for(lambda: "cannot be opened; next try in" in log.read_text().partition("broke")[2])
    before = count()
    start()
    wait_for(lambda: count() > before + 20)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == 0
    assert f"{address}: connected after" in log.read_text().partition("broke")[2]
    assert "frames dropped" in log.read_text()
    own = [entry for entry in lines(out) if entry.get("source", address) == address]
    assert [entry["frame"] for entry in own] == list(range(len(own)))
    assert len(own) > 40 or command == "cameras"
    times = [entry["time_s"] for entry in own]
    assert times == sorted(times)  # two frames may come in one millisecond


@pytest.fixture
def hanging():
    """Yield addresses that take connections and never answer; OpenCV waits 10 s for each of them."""
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    yield [f"rtsp://127.0.0.1:{listener.getsockname()[1]}/test" for listener in listeners]
    for listener in listeners:
        listener.close()


@pytest.mark.parametrize("network_camera", ["http"], indirect=True)
def test_addresses_that_hang_delay_no_other_source(server, network_camera, hanging, clips, tmp_path):
    """The camera asks for the password, which the records do not show."""
    address, start = network_camera
    start()
    scheme, rest = address.replace("/test", "/locked").split("://")
    out, log = tmp_path / "out.jsonl", tmp_path / "log"
    sources = [*hanging, f"{scheme}://user:secret@{rest}", clips[0]]
    with open(out, "w") as stdout, open(log, "w") as stderr:
        process = started("cameras", *sources, "--url", server.url, stdout=stdout, stderr=stderr)
    try:
        for source in (clips[0], f"{scheme}://user:***@{rest}"):
            wait_for(lambda source=source: f'"source":"{source}"' in out.read_text(), limit_s=20)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=8) == 1
    finally:
        process.kill()
        process.wait()
    assert "secret" not in out.read_text() + log.read_text()
    assert all(f"{source} gives no frame" in log.read_text() for source in hanging)
