import http.server
import itertools
import json
import os
import shutil
import signal
import stat
import subprocess
import threading
import time
from pathlib import Path

import cv2
import grpc
import imageio_ffmpeg
import numpy as np
import pytest
from cigpose_client.__main__ import main
from cigpose_client._cli.cut import is_cut
from cigpose_client._cli.frames import open_video
from cigpose_client._cli.run import gentle_interrupt
from cigpose_client._cli.video_writer import ffmpeg_command, open_writer
from cigpose_client.outputs import Part

from client.tests.processes import ran_on_a_full_disk, started

FRAMES, RATE, SIZE = 24, 12.0, (64, 48)
FFMPEG = shutil.which("ffmpeg") or imageio_ffmpeg.get_ffmpeg_exe()


@pytest.fixture(autouse=True)
def no_ffmpeg(monkeypatch):
    """Hide ffmpeg, so that tests are the same on every machine; those that need it set it again."""
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
    assert f"{FRAMES} frames answered, 0 failed, 0 left out, {2 * FRAMES} people" in captured.err


@pytest.mark.parametrize("suffix", [".mp4", ".avi"])
def test_the_drawn_video_keeps_order_and_rate(server, clip, tmp_path, capsys, suffix):
    output = tmp_path / "out" / f"drawn{suffix}"
    assert main(["video", str(clip), "--url", server.url, "--output", str(output), "--threshold", "2"]) == 0
    values, rate = brightness(output)
    assert len(values) == FRAMES
    assert rate == RATE
    assert all(abs(value - 10 * index) < 5 for index, value in enumerate(values))
    assert capsys.readouterr().out == ""


def test_people_and_video_in_one_run(server, clip, tmp_path, capsys):
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


@pytest.mark.parametrize("failures", [0, 1])
def test_ctrl_c_ends_a_camera_and_hides_no_failure(server, clip, capsys, failures):
    server.failures = [(grpc.StatusCode.INVALID_ARGUMENT, "no")] * failures
    server.delay_s = lambda _: (len(server.requests) == 1 and os.kill(os.getpid(), signal.SIGINT)) or 0.01
    assert main(["camera", str(clip), "--url", server.url, "--continue-on-error"]) == failures
    assert f"{failures} failed" in capsys.readouterr().err


def test_the_second_ctrl_c_interrupts():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs ignore it
    try:
        interrupt_twice()
    finally:
        signal.signal(signal.SIGINT, before)


def interrupt_twice():
    pressed = []
    with pytest.raises(KeyboardInterrupt), gentle_interrupt(lambda: pressed.append(True)):
        os.kill(os.getpid(), signal.SIGINT)
        assert pressed
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)


def test_continue_on_error_decides_after_a_failed_frame(server, clip, tmp_path, capsys):
    refusal = (grpc.StatusCode.INVALID_ARGUMENT, "no")
    for flags, lines in ((["--concurrency", "1"], 0), (["--continue-on-error"], FRAMES)):
        server.failures = [refusal]
        assert main(["video", str(clip), "--url", server.url, *flags]) == 1
        assert len(capsys.readouterr().out.splitlines()) == lines


def test_a_camera_drops_frames_and_ends_in_time(server, clip, tmp_path, capsys):
    server.delay_s = 0.02
    argv = ["camera", str(clip), "--url", server.url, "--output", str(tmp_path / "drawn.avi"), "--json", "-"]
    assert main([*argv, "--seconds", "5"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert 1 <= len(lines) <= FRAMES
    assert len(brightness(tmp_path / "drawn.avi")[0]) >= 1
    assert not [thread for thread in threading.enumerate() if thread.name == "cigpose-client"]


@pytest.mark.parametrize(
    ("argv", "status", "words"),
    [
        (["video", "{clip}", "--output", "{clip}.xyz"], 2, "without ffmpeg only"),
        (["video", "{clip}", "--output", "-"], 2, "cannot go to stdout"),
        (["video", "{clip}", "--output", "new.avi", "--json", "new", "--resume"], 2, "cannot be continued"),
    ],
)
def test_mistakes_are_named(server, clip, capfd, argv, status, words):
    assert main([word.format(clip=clip) for word in argv] + ["--url", server.url]) == status
    assert words in capfd.readouterr().err


def test_ffmpeg_takes_the_sound_of_the_source():
    command = ffmpeg_command("ffmpeg", "out.mp4", (63, 48), 29.97, "in.mp4")
    assert command[command.index("-s") + 1] == "63x48"
    assert command[command.index("-r") + 1] == "29.970000"
    assert "in.mp4" in command and "1:a:0?" in command and "-shortest" in command
    assert command[-1] == "out.mp4"
    assert "-shortest" not in ffmpeg_command("ffmpeg", "out.mp4", SIZE, 25, None)


def test_an_error_of_ffmpeg_is_reported(monkeypatch, tmp_path):
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


def ffmpeg(*arguments):
    subprocess.run([FFMPEG, "-y", "-loglevel", "error", *map(str, arguments)], check=True)


@pytest.fixture
def noise(tmp_path):
    """A video of unrelated frames, which have about the same size in bytes."""
    path = tmp_path / "noise.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25, SIZE)
    random = np.random.default_rng(0)
    for _ in range(75):
        writer.write(random.integers(0, 255, (*SIZE[::-1], 3), dtype=np.uint8))
    writer.release()
    return path


@pytest.mark.parametrize("suffix", [".avi", ".mp4", ".mkv"])
def test_a_cut_file_is_a_failure(server, noise, tmp_path, capsys, suffix):
    whole, cut, drawn = (tmp_path / f"{name}{suffix}" for name in ("whole", "cut", "drawn"))
    ffmpeg("-i", noise, "-movflags", "+faststart", whole)
    data = whole.read_bytes()
    cut.write_bytes(data[: 2 * len(data) // 5])
    assert main(["video", str(whole), "--url", server.url]) == 0
    capsys.readouterr()
    assert main(["video", str(cut), "--url", server.url, "--output", str(drawn), "--json", "-"]) == 1
    captured = capsys.readouterr()
    count = len(captured.out.splitlines())
    assert 10 < count < 40
    assert f"{cut} ends after {count} of 75 frames: it is cut or damaged" in captured.err
    assert f"{count} frames answered, 0 failed, {75 - count} left out" in captured.err
    assert len(brightness(drawn)[0]) == count


FTYP = (24).to_bytes(4, "big") + b"ftyp" + b"x" * 16
EBML = b"\x1a\x45\xdf\xa3\x82xx"


@pytest.mark.parametrize(
    ("content", "cut"),
    [
        (FTYP + (1).to_bytes(4, "big") + b"mdat" + (20).to_bytes(8, "big") + b"1234", False),
        (FTYP + (1).to_bytes(4, "big") + b"mdat" + (20).to_bytes(8, "big") + b"123", True),
        (FTYP + (0).to_bytes(4, "big") + b"mdat" + b"up to the end", False),
        (FTYP + b"\0" * 12, False),
        (b"RIFF" + (6).to_bytes(4, "little") + b"AVI 12", False),
        (b"RIFF" + (6).to_bytes(4, "little") + b"AVI 1", True),
        (b"RIFF" + (0).to_bytes(4, "little") + b"AVI, not completed by its writer", False),
        (EBML + b"\x18\x53\x80\x67\x84" + b"1234", False),
        (EBML + b"\x18\x53\x80\x67\x84" + b"123", True),
        (EBML + b"\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff" + b"live", False),
        (EBML + b"\0" * 20, False),
        (b"another container", False),
        (b"", False),
    ],
)
def test_a_cut_container(tmp_path, content, cut):
    (tmp_path / "video").write_bytes(content)
    assert is_cut(str(tmp_path / "video")) == cut


def test_a_wrong_frame_count_is_not_a_failure(server, noise, tmp_path, capsys):
    """Containers count frames that an edit list hides, and in Matroska the length of longer sound."""
    cut, edited, sound = (tmp_path / name for name in ("cut.mp4", "edited.mp4", "sound.mkv"))
    ffmpeg("-i", noise, cut)
    ffmpeg("-ss", "0.5", "-i", cut, "-c", "copy", edited)
    ffmpeg("-i", noise, "-f", "lavfi", "-i", "sine=d=6", sound)
    for source, shown in ((edited, 62), (sound, 75)):
        capture = cv2.VideoCapture(str(source))
        assert capture.get(cv2.CAP_PROP_FRAME_COUNT) > shown + 1
        capture.release()
        assert main(["video", str(source), "--url", server.url]) == 0
        assert f"{shown} frames answered, 0 failed, 0 left out" in capsys.readouterr().err


def times_of(path):
    with open_video(str(path)) as video:
        return [frame.time_s for frame in video.frames() if frame is not None]


@pytest.mark.parametrize("suffix", [".avi", ".mp4", ".mkv"])
def test_frames_have_the_times_of_their_film(noise, tmp_path, suffix):
    film = tmp_path / f"film{suffix}"
    ffmpeg("-i", noise, film)
    np.testing.assert_allclose(times_of(film), np.arange(75) / 25, atol=1e-3)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
def test_a_variable_frame_rate(noise, tmp_path, suffix):
    """From frame 40 on, five times as slow; Matroska then announces a clock of 1000 frames a second."""
    film = tmp_path / f"film{suffix}"
    codec = ["-c:v", "libvpx", "-b:v", "1M"] if suffix == ".webm" else []
    ffmpeg("-i", noise, "-vf", "setpts='round(if(lt(N,40),N,40+(N-40)*5)/25/TB)'", "-fps_mode", "vfr", *codec, film)
    index = np.arange(75)
    np.testing.assert_allclose(times_of(film), np.where(index < 40, index, 40 + 5 * (index - 40)) / 25, atol=2e-3)


def test_without_times_in_the_file_frames_are_counted(noise, tmp_path):
    film = tmp_path / "film.mjpeg"
    ffmpeg("-i", noise, film)
    np.testing.assert_allclose(times_of(film), np.arange(75) / 25, atol=1e-3)


@pytest.mark.parametrize(("degrees", "shape"), [(90, (64, 48, 3)), (180, (48, 64, 3))])
def test_a_film_of_a_phone_is_turned_upright(noise, tmp_path, degrees, shape):
    flat, turned = tmp_path / "flat.mp4", tmp_path / "turned.mp4"
    ffmpeg("-i", noise, flat)
    ffmpeg("-display_rotation", degrees, "-i", flat, "-c", "copy", turned)
    with open_video(str(turned)) as video:
        frame = next(frame for frame in video.frames() if frame is not None)
    stored = cv2.VideoCapture(str(flat)).read()[1]
    assert frame.image_bgr.shape == shape
    np.testing.assert_array_equal(frame.image_bgr, np.rot90(stored, degrees // 90))


def test_a_film_damaged_in_the_middle_goes_on_behind_the_damage(server, noise, tmp_path, capsys):
    film, out = tmp_path / "film.mp4", tmp_path / "out.jsonl"
    ffmpeg("-i", noise, "-c:v", "mpeg4", "-g", "1", film)
    data = bytearray(film.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 3000] = bytes(3000)
    film.write_bytes(data)
    assert main(["video", str(film), "--url", server.url, "--json", str(out)]) == 1
    entries = [json.loads(line) for line in out.read_text().splitlines()]
    assert 60 < len(entries) < 75
    assert entries[-1]["frame"] == 74 and entries[-1]["time_s"] == 74 / 25
    assert f"is damaged in the middle: {len(entries)} of 75 frames can be read" in capsys.readouterr().err


@pytest.mark.parametrize("sound_s", [1, 2.9, 6])
def test_the_picture_is_whole_whatever_the_sound_lasts(server, noise, tmp_path, monkeypatch, sound_s):
    monkeypatch.setattr("cigpose_client._cli.video_writer.shutil.which", lambda name: FFMPEG)
    source, output = tmp_path / "source.mp4", tmp_path / "drawn.mp4"
    ffmpeg("-i", noise, "-f", "lavfi", "-i", f"sine=d={sound_s}", source)
    assert main(["video", str(source), "--url", server.url, "--output", str(output)]) == 0
    assert len(brightness(output)[0]) == 75


def test_a_file_is_the_same_under_an_address(server, clip, tmp_path, capsys):
    address = clip.as_uri()
    assert main(["video", address, "--url", server.url, "--output", str(clip)]) == 2
    assert "would overwrite the input" in capsys.readouterr().err
    assert main(["video", address, "--url", server.url]) == 0
    assert len(capsys.readouterr().out.splitlines()) == FRAMES


def test_a_name_with_a_colon_is_no_protocol(server, clip, tmp_path, monkeypatch):
    ffmpeg("-i", clip, tmp_path / "film.mp4")
    (tmp_path / "film.mp4").rename(tmp_path / "2024-01-01T10:30:00.mp4")
    monkeypatch.chdir(tmp_path)
    assert main(["video", "2024-01-01T10:30:00.mp4", "--url", server.url]) == 0


def test_a_missing_one_of_numbered_pictures_is_a_failure(server, tmp_path, capsys):
    for number in set(range(40)) - {15}:
        cv2.imwrite(str(tmp_path / f"i{number:03}.jpg"), np.zeros((48, 64, 3), np.uint8))
    assert main(["video", str(tmp_path / "i%03d.jpg"), "--url", server.url]) == 1
    captured = capsys.readouterr()
    assert "i%03d.jpg ends after 15 of 40 frames" in captured.err
    assert len(captured.out.splitlines()) == 15


def test_after_a_failure_the_rest_of_a_film_is_left_out(server, clip, capsys):
    server.failures = [(grpc.StatusCode.INVALID_ARGUMENT, "no")]
    assert main(["video", str(clip), "--url", server.url, "--concurrency", "1"]) == 1
    assert f"0 frames answered, 1 failed, {FRAMES - 1} left out" in capsys.readouterr().err


def test_a_rate_with_many_digits_is_written(tmp_path):
    with open_writer(str(tmp_path / "slow.mp4"), SIZE, 239.7613, None) as writer:
        writer.write(np.zeros((*SIZE[::-1], 3), np.uint8))
    assert cv2.VideoCapture(str(tmp_path / "slow.mp4")).get(cv2.CAP_PROP_FPS) == pytest.approx(239.76)


def test_a_link_to_a_name_without_a_suffix_is_refused(server, clip, tmp_path, capsys):
    link = tmp_path / "drawn.mp4"
    link.symlink_to(tmp_path / "store")
    assert main(["video", str(clip), "--url", server.url, "--output", str(link)]) == 2
    assert "drawn.mp4: without ffmpeg only" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "is_told"), [(["video"], True), (["video", "--track"], False), (["camera"], False)], ids=str
)
def test_resume_is_offered_only_where_it_works(server, clip, tmp_path, capsys, argv, is_told):
    out = tmp_path / "out.jsonl"
    Part(out).leave()
    assert main([argv[0], str(clip), *argv[1:], "--json", str(out), "--url", server.url]) == 0
    assert ("--resume would continue it" in capsys.readouterr().err) == is_told


@pytest.mark.parametrize("command", ["video", "camera"])
def test_a_source_without_frames_is_a_failure(server, noise, tmp_path, capfd, command):
    """The file announces 75 frames and holds none."""
    whole, head, drawn = tmp_path / "whole.mp4", tmp_path / "head.mp4", tmp_path / "drawn.mp4"
    ffmpeg("-i", noise, "-movflags", "+faststart", whole)
    head.write_bytes(whole.read_bytes()[: whole.read_bytes().index(b"mdat") + 100])
    argv = [command, str(head), "--url", server.url, "--output", str(drawn), "--json", str(tmp_path / "people.jsonl")]
    assert main(argv) == 1
    assert f"cigpose-client: {head} gives no frame" in capfd.readouterr().err
    assert sorted(os.listdir(tmp_path)) == ["head.mp4", "noise.avi", "whole.mp4"]


class _Hanging(http.server.BaseHTTPRequestHandler):
    """Sends the first half of a file, and then keeps the connection open."""

    path_of_file = ""

    def do_GET(self):
        data = Path(self.path_of_file).read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[: len(data) // 2])
        self.wfile.flush()
        self.server.over.wait(20)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def hanging(noise, tmp_path):
    whole = tmp_path / "whole.mp4"
    ffmpeg("-i", noise, "-movflags", "+faststart", whole)
    handler = type("Handler", (_Hanging,), {"path_of_file": str(whole)})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.over = threading.Event()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/whole.mp4"
    server.over.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize(("command", "status"), [("video", 130), ("camera", 0)])
def test_ctrl_c_works_while_an_address_hangs(server, hanging, tmp_path, command, status):
    """In a process of its own, which has to end while OpenCV reads."""
    target = tmp_path / "people.jsonl"
    argv = [command, hanging, "--json", target, "--url", server.url]
    process = started(*argv, stderr=subprocess.PIPE, text=True)
    while len(server.requests) < 2:
        time.sleep(0.01)
    time.sleep(0.5)
    begin = time.monotonic()
    process.send_signal(signal.SIGINT)
    err = process.communicate(timeout=30)[1]
    assert process.returncode == status, err
    assert time.monotonic() - begin < 10
    count = len(target.read_text().splitlines())
    assert count >= 1
    assert f"{count} frames answered, 0 failed" in err


def test_the_old_video_stays_until_the_new_one_is_complete(server, clip, tmp_path, capsys):
    output = tmp_path / "drawn.avi"
    output.write_bytes(b"mine")
    seen = []
    server.delay_s = lambda _: seen.append(output.read_bytes()) or 0.0
    assert main(["video", str(clip), "--url", server.url, "--output", str(output)]) == 0
    assert set(seen) == {b"mine"}
    assert len(brightness(output)[0]) == FRAMES
    assert sorted(os.listdir(tmp_path)) == ["clip.avi", "drawn.avi"]


@pytest.mark.parametrize("ffmpeg", ["", FFMPEG])
def test_a_video_without_room_leaves_the_old_one(server, noise, tmp_path, ffmpeg):
    """OpenCV does not report a full disk."""
    output = tmp_path / "drawn.mp4"
    output.write_bytes(b"mine")
    run = ran_on_a_full_disk(30_000, "video", noise, "--url", server.url, "--output", output, ffmpeg=ffmpeg)
    assert run.returncode == 1
    assert ("ffmpeg could not write the video" if ffmpeg else "75 frames of the video fit") in run.stderr
    assert output.read_bytes() == b"mine"
    assert not list(tmp_path.glob(".drawn*"))
