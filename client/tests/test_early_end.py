"""Runs that end early: answers that arrived are written as whole records, and the summary is true."""

import errno
import json
import os
import re
import signal
import subprocess
import threading
import time
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from cigpose_client.__main__ import main

from client.tests.fake_server import start
from client.tests.processes import ran_on_a_full_disk, started


@pytest.fixture
def folder(tmp_path):
    """Twenty pictures that can be drawn."""
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(20):
        cv2.imwrite(str(folder / f"{number:02}.png"), np.full((60, 80, 3), 10 * number, np.uint8))
    return folder


@pytest.fixture
def run(server, tmp_path, capsys):
    """Run the command with people.json as --json; the answer holds its records and the names of the drawings."""

    def run(*argv, form="jsonl"):
        argv = [*argv, "--json", tmp_path / "people.json", "--format", form, "--url", server.url]
        begin = time.monotonic()
        status = main([str(word) for word in argv])
        took_s = time.monotonic() - begin
        return SimpleNamespace(status=status, err=capsys.readouterr().err, took_s=took_s, **there(tmp_path, form))

    return run


def there(folder, form):
    path, drawn = folder / "people.json", folder / "drawn"
    text = path.read_text() if path.exists() else ""
    entries = [json.loads(line) for line in text.splitlines()] if form == "jsonl" else json.loads(text or "[]")
    parts = [str(part) for part in folder.rglob(".*.part*")]
    return {
        "names": [entry["picture"] for entry in entries if "picture" in entry],
        "drawn": sorted(os.listdir(drawn)) if drawn.exists() else [],
        "parts": parts,
    }


def summary(text):
    """Return the numbers of answered, failed and left out."""
    return tuple(map(int, re.search(r"(\d+) \w+ answered, (\d+) failed, (\d+) left out", text).groups()))


def press_at(server, count, number=signal.SIGINT, delay_s=0.02):
    """Send the signal to this process at the server's request number `count`."""
    server.delay_s = lambda _: (len(server.requests) == count and os.kill(os.getpid(), number)) or delay_s


@pytest.fixture
def patient(monkeypatch):
    """Wait for the answers under way however long the machine takes."""
    monkeypatch.setattr("cigpose_client._cli.run._GRACE_S", 20)


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("form", ["json", "jsonl"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_answers_before_ctrl_c_are_written(run, server, folder, tmp_path, form, number):
    press_at(server, 9, number)
    answer = run("folder", folder, "--output", tmp_path / "drawn", "--concurrency", "4", form=form)
    assert answer.status == 130
    assert 9 <= len(server.requests) < 20
    assert answer.names == answer.drawn == [f"{index:02}.png" for index in range(len(server.requests))]
    assert answer.parts == []
    assert summary(answer.err) == (len(answer.names), 0, 20 - len(answer.names))


def test_answers_behind_a_hanging_one_are_written_soon(run, server, folder, tmp_path):
    """The answers to the first and the fourth picture take 15 s; all others have arrived."""
    hanging = [(folder / f"{index:02}.png").read_bytes() for index in (0, 3)]
    server.delay_s = lambda picture: 15.0 if picture in hanging else 0.02
    pressed = []

    def press():
        while len(server.requests) < 8:  # twice the concurrency: no ninth is sent
            time.sleep(0.01)
        time.sleep(1)  # so the other six are answered and drawn
        pressed.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press).start()
    answer = run("folder", folder, "--output", tmp_path / "drawn", "--concurrency", "4")
    assert time.monotonic() - pressed[0] < 8
    assert answer.status == 130
    assert answer.names == answer.drawn == [f"{index:02}.png" for index in (1, 2, 4, 5, 6, 7)]
    assert summary(answer.err) == (6, 0, 14)


def test_nothing_answered_leaves_the_old_file(run, server, folder, tmp_path):
    (tmp_path / "people.json").write_text('{"picture":"mine"}\n')
    press_at(server, 1, delay_s=15.0)
    answer = run("folder", folder, "--concurrency", "1")
    assert (answer.status, answer.names, answer.parts) == (130, ["mine"], [])
    assert summary(answer.err) == (0, 0, 20)


def test_the_second_ctrl_c_ends_immediately(server, folder, tmp_path):
    server.delay_s = 15.0
    process = started("folder", folder, "--url", server.url, stderr=subprocess.PIPE, text=True)
    while not server.requests:
        time.sleep(0.01)
    begin = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert "Press Ctrl-C again" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    err = process.communicate(timeout=30)[1]
    assert process.returncode == 130
    assert time.monotonic() - begin < 10, "an answer takes 15 s"
    assert summary(err) == (0, 0, 20)


def test_a_process_ends_soon_after_ctrl_c(server, folder):
    server.delay_s = 15.0
    process = started("folder", folder, "--url", server.url, stderr=subprocess.PIPE, text=True)
    while not server.requests:
        time.sleep(0.01)
    begin = time.monotonic()
    process.send_signal(signal.SIGINT)
    err = process.communicate(timeout=30)[1]
    assert process.returncode == 130
    assert time.monotonic() - begin < 10, "an answer takes 15 s"
    assert summary(err) == (0, 0, 20)


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_a_bad_file_ends_the_run_with_its_name(run, server, folder, tmp_path, form):
    """Its error arrives while pictures before and behind it are being processed."""
    (folder / "05.png").write_bytes(b"no picture")
    server.delay_s = lambda picture: 0.0 if picture == b"no picture" else 0.1
    answer = run("folder", folder, "--output", tmp_path / "drawn", "--concurrency", "4", form=form)
    assert answer.status == 1
    assert "05.png" not in answer.names
    assert answer.names[:5] == [f"{index:02}.png" for index in range(5)]
    assert answer.names == answer.drawn
    assert len(answer.names) == len(server.requests) - 1
    assert answer.err.splitlines()[-1].startswith("cigpose-client: 05.png: the image is neither JPEG")
    assert summary(answer.err) == (len(answer.names), 1, 19 - len(answer.names))


def test_an_unreadable_file_is_named_once(run, folder):
    answer = run("image", folder / "02.png", folder / "gone.png", folder / "03.png")
    assert answer.status == 1
    assert f"cigpose-client: {folder}/gone.png: No such file or directory\n" in answer.err
    assert answer.names in ([f"{folder}/02.png", f"{folder}/03.png"], [f"{folder}/02.png"]), "03 may not have arrived"


def test_a_lost_server_ends_the_run(run, server, folder, tmp_path):
    handle = start(server)

    def answer_or_die(_):
        if len(server.requests) == 8:
            threading.Thread(target=handle.stop, args=(None,)).start()
            time.sleep(0.3)
        return 0.02

    server.delay_s = answer_or_die
    argv = ["--output", tmp_path / "drawn", "--concurrency", "2", "--timeout", "1"]
    answer = run("folder", folder, *argv)
    assert answer.status == 1
    assert answer.names == answer.drawn
    assert 4 <= len(answer.names) <= 8
    answered, failed, left_out = summary(answer.err)
    assert (answered, failed + left_out) == (len(answer.names), 20 - len(answer.names))
    assert re.search(r"cigpose-client: \d\d.png: no answer from", answer.err)


@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_a_full_disk_leaves_whole_records(server, folder, tmp_path, form):
    """No file may exceed 50 kB, as on a full disk; this is room for the records of some pictures."""
    argv = ["folder", folder, "--url", server.url, "--format", form, "--concurrency", "3"]
    argv += ["--json", tmp_path / "people.json", "--output", tmp_path / "drawn"]
    run = ran_on_a_full_disk(50_000, *argv)
    seen = there(tmp_path, form)
    assert run.returncode == 1
    assert 2 < len(seen["names"]) < 20
    assert seen["names"] == seen["drawn"] == [f"{index:02}.png" for index in range(len(seen["names"]))]
    assert seen["parts"] == []
    assert summary(run.stderr) == (len(seen["names"]), 0, 20 - len(seen["names"]))
    assert run.stderr.splitlines()[-1] == f"cigpose-client: {tmp_path}/people.json: {os.strerror(errno.EFBIG)}"


def test_a_full_disk_behind_stdout_leaves_whole_records(server, folder, tmp_path):
    with open(tmp_path / "people.json", "wb") as stdout:
        run = ran_on_a_full_disk(50_000, "folder", folder, "--url", server.url, stdout=stdout)
    assert run.returncode == 1
    assert run.stderr.splitlines()[-1] == f"cigpose-client: stdout: {os.strerror(errno.EFBIG)}"
    assert summary(run.stderr)[0] == len(there(tmp_path, "jsonl")["names"]) > 2


def test_a_drawing_without_room_ends_the_run(run, server, folder, tmp_path, monkeypatch):
    """The drawing of the third picture does not fit: both the drawing and the record are missing."""
    from cigpose_client._cli import files

    def write_file(path, content):
        if str(path).endswith("02.png"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        original(path, content)

    original = files.write_file
    monkeypatch.setattr(files, "write_file", write_file)
    answer = run("folder", folder, "--output", tmp_path / "drawn")
    assert (answer.status, answer.names, answer.drawn) == (1, ["00.png", "01.png"], ["00.png", "01.png"])
    assert f"{tmp_path}/drawn/02.png: No space left on device" in answer.err


def test_missing_folders_of_json_files_are_created(server, folder, tmp_path):
    target = tmp_path / "new" / "folder" / "people.json"
    assert main(["image", str(folder / "00.png"), "--json", str(target), "--url", server.url]) == 0
    assert len(json.loads(target.read_text())) == 1


def test_a_folder_as_target_is_refused(run, server, folder, tmp_path):
    (tmp_path / "people.json").mkdir()
    assert main(["folder", str(folder), "--json", str(tmp_path / "people.json"), "--url", server.url]) == 2
    assert not server.requests


def test_hidden_pictures_are_left_out(run, server, folder):
    for name in (".00.ab12cd34.part.png", ".thumbnails/00.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"1")
    answer = run("folder", folder, "--recursive")
    assert (answer.status, len(answer.names)) == (0, 20)


def test_a_failure_of_evaluate_keeps_the_results(server, folder, tmp_path, capsys):
    images = [{"id": index, "file_name": f"{index:02}.png", "width": 80, "height": 60} for index in range(20)]
    (tmp_path / "truth.json").write_text(json.dumps({"images": images, "annotations": []}))
    (folder / "05.png").write_bytes(b"no picture")
    argv = ["evaluate", "--annotations", tmp_path / "truth.json", "--images", folder, "--boxes", "detector"]
    argv += ["--save-results", tmp_path / "new" / "results.json", "--json", tmp_path / "report.json"]
    assert main([str(word) for word in (*argv, "--concurrency", "1", "--url", server.url)]) == 1
    results = json.loads((tmp_path / "new" / "results.json").read_text())
    assert {entry["image_id"] for entry in results} == set(range(5))
    assert not (tmp_path / "report.json").exists()
    err = capsys.readouterr().err
    assert summary(err) == (5, 1, 14)
    assert "cigpose-client: 05.png: the image is neither" in err


def test_ctrl_c_in_evaluate_keeps_the_results(server, folder, tmp_path, capsys):
    images = [{"id": index, "file_name": f"{index:02}.png", "width": 80, "height": 60} for index in range(20)]
    (tmp_path / "truth.json").write_text(json.dumps({"images": images, "annotations": []}))
    argv = ["evaluate", "--annotations", tmp_path / "truth.json", "--images", folder, "--boxes", "detector"]
    press_at(server, 5)
    argv += ["--save-results", tmp_path / "results.json", "--concurrency", "1", "--url", server.url]
    assert main([str(word) for word in argv]) == 130
    assert {entry["image_id"] for entry in json.loads((tmp_path / "results.json").read_text())} == set(range(5))
    assert capsys.readouterr().out == ""
