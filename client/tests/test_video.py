import itertools
import json
import os
import shutil
import signal
import stat
import subprocess
import threading
import time

import cv2
import imageio_ffmpeg
import numpy as np
import pytest
from cigpose_client.__main__ import main
from cigpose_client._cli.interrupt import gentle_interrupt
from cigpose_client._cli.video_writer import ffmpeg_command, open_writer

FRAMES, RATE, SIZE = 24, 12.0, (64, 48)
FFMPEG = shutil.which("ffmpeg") or imageio_ffmpeg.get_ffmpeg_exe()


@pytest.fixture(autouse=True)
def no_ffmpeg(monkeypatch):
    """Tests are the same on machines with and without ffmpeg; those that need it say so."""
    monkeypatch.setattr("cigpose_client._cli.video_writer.shutil.which", lambda name: None)


@pytest.fixture
def clip(tmp_path):
    """A video whose frames get brighter."""
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), RATE, SIZE)
    for index in range(FRAMES):
        writer.write(np.full((*SIZE[::-1], 3), 10 * index, np.uint8))
    writer.release()
    return path


def brightness(path):
    capture = cv2.VideoCapture(str(path))
    frames = [frame for done, frame in iter(capture.read, (False, None)) if done]
    rate = capture.get(cv2.CAP_PROP_FPS)
    capture.release()
    return [int(frame.mean()) for frame in frames], rate


def test_every_frame_is_answered_in_order(server, clip, capsys):
    delays = itertools.cycle([0.03, 0.0, 0.01])
    server.delay_s = lambda _: next(delays)
    assert main(["video", str(clip), "--url", server.url]) == 0
    captured = capsys.readouterr()
    entries = [json.loads(line) for line in captured.out.splitlines()]
    assert [entry["frame"] for entry in entries] == list(range(FRAMES))
    assert entries[12]["time_s"] == 1.0
    assert f"{FRAMES} frames, {2 * FRAMES} people" in captured.err


@pytest.mark.parametrize("suffix", [".mp4", ".avi"])
def test_the_drawn_video_keeps_order_and_rate(server, clip, tmp_path, capsys, suffix):
    output = tmp_path / "out" / f"drawn{suffix}"
    assert main(["video", str(clip), "--url", server.url, "--output", str(output), "--threshold", "2"]) == 0
    values, rate = brightness(output)
    assert len(values) == FRAMES
    assert rate == RATE
    assert all(abs(value - 10 * index) < 5 for index, value in enumerate(values))
    assert capsys.readouterr().out == ""


def test_people_and_video_at_once(server, clip, tmp_path, capsys):
    argv = ["video", str(clip), "--url", server.url, "--output", str(tmp_path / "drawn.avi"), "--json", "-"]
    assert main(argv) == 0
    assert len(capsys.readouterr().out.splitlines()) == FRAMES


@pytest.mark.parametrize(("flags", "start"), [([], b"\xff\xd8"), (["--lossless"], b"BM")])
def test_frames_are_sent_as_jpeg_or_without_loss(server, clip, capsys, flags, start):
    assert main(["video", str(clip), "--url", server.url, *flags]) == 0
    assert server.requests[0].picture.startswith(start)


def test_ctrl_c_leaves_a_file_that_plays(server, clip, tmp_path, capsys):
    server.delay_s = lambda _: (len(server.requests) == 6 and os.kill(os.getpid(), signal.SIGINT)) or 0.01
    argv = ["video", str(clip), "--url", server.url, "--output", str(tmp_path / "drawn.mp4"), "--concurrency", "2"]
    assert main(argv) == 130
    values, _ = brightness(tmp_path / "drawn.mp4")
    assert 4 <= len(values) < FRAMES


def test_the_second_ctrl_c_interrupts():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs start with it ignored
    try:
        interrupt_twice()
    finally:
        signal.signal(signal.SIGINT, before)


def interrupt_twice():
    with pytest.raises(KeyboardInterrupt), gentle_interrupt() as interrupt:
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupt.pressed
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)


def test_a_frame_that_fails_ends_the_run_or_not(server, clip, tmp_path, capsys):
    import grpc

    refusal = (grpc.StatusCode.INVALID_ARGUMENT, "no")
    for flags, lines in ((["--concurrency", "1"], 0), (["--continue-on-error"], FRAMES)):
        server.failures = [refusal]
        assert main(["video", str(clip), "--url", server.url, *flags]) == 1
        assert len(capsys.readouterr().out.splitlines()) == lines


def test_a_camera_leaves_out_frames_and_ends_in_time(server, clip, tmp_path, capsys):
    server.delay_s = 0.02
    argv = ["camera", str(clip), "--url", server.url, "--output", str(tmp_path / "drawn.avi"), "--json", "-"]
    assert main([*argv, "--seconds", "5"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert 1 <= len(lines) <= FRAMES
    assert len(brightness(tmp_path / "drawn.avi")[0]) >= 1
    assert not [thread for thread in threading.enumerate() if thread.name == "cigpose-camera"]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["video", "nowhere.mp4"], "nowhere.mp4 cannot be opened"),
        (["video", "{clip}", "--output", "{clip}.xyz"], "without ffmpeg only"),
    ],
)
def test_mistakes_are_named(server, clip, capfd, argv, words):
    assert main([word.format(clip=clip) for word in argv] + ["--url", server.url]) == 1
    assert words in capfd.readouterr().err


def test_ffmpeg_takes_the_sound_of_the_source():
    command = ffmpeg_command("ffmpeg", "out.mp4", (63, 48), 29.97, "in.mp4")
    assert command[command.index("-s") + 1] == "63x48"
    assert command[command.index("-r") + 1] == "29.970000"
    assert "in.mp4" in command and "1:a:0?" in command and "-shortest" in command
    assert command[-1] == "out.mp4"
    assert "-shortest" not in ffmpeg_command("ffmpeg", "out.mp4", SIZE, 25, None)


def test_the_failure_of_ffmpeg_is_told(monkeypatch, tmp_path):
    script = tmp_path / "ffmpeg"
    script.write_text("#!/bin/sh\necho 'no such encoder' >&2\nexit 1\n")
    script.chmod(script.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setattr("cigpose_client._cli.video_writer.shutil.which", lambda name: str(script))
    with pytest.raises(OSError, match="no such encoder"), open_writer("x.mp4", SIZE, RATE, None) as writer:
        for _ in range(1000):
            writer.write(np.zeros((*SIZE[::-1], 3), np.uint8))


def test_a_video_with_sound_keeps_it(server, clip, tmp_path, monkeypatch):
    monkeypatch.setattr("cigpose_client._cli.video_writer.shutil.which", lambda name: FFMPEG)
    source = tmp_path / "sound.mp4"
    command = [FFMPEG, "-loglevel", "error", "-i", str(clip), "-f", "lavfi", "-i", "sine=d=2", "-shortest", str(source)]
    subprocess.run(command, check=True)
    output = tmp_path / "drawn.mp4"
    assert main(["video", str(source), "--url", server.url, "--output", str(output)]) == 0
    probe = subprocess.run([FFMPEG, "-i", str(output)], capture_output=True, text=True, check=False).stderr
    assert "Audio:" in probe
    assert len(brightness(output)[0]) == FRAMES
