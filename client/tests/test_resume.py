"""`--resume`: the result equals one uninterrupted run, and no answered picture is sent again."""

import json
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import cv2
import grpc
import numpy as np
import pytest
from cigpose_client.__main__ import main
from cigpose_client.outputs import Part, leftovers

from client.tests.processes import ran_on_a_full_disk, started

PICTURES = 60
REFUSAL = (grpc.StatusCode.INVALID_ARGUMENT, "no picture that I know")


@pytest.fixture
def folder(tmp_path):
    """Pictures with different bytes; one of them is in a subfolder."""
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    for number in range(PICTURES):
        name = "sub/07.png" if number == 7 else f"{number:02}.png"
        cv2.imwrite(str(folder / name), np.full((60, 80, 3), 4 * number, np.uint8))
    return folder


def arguments(server, folder, out, form, *more):
    argv = ["folder", folder, "--recursive", "--json", out / "people.json", "--output", out / "drawn"]
    return [str(word) for word in (*argv, "--format", form, "--concurrency", "4", "--url", server.url, *more)]


def files_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def answered(out):
    """Return the names in people.json and in the files that killed runs left."""
    names = set()
    for path in [out / "people.json", *leftovers([out / "people.json"])]:
        for line in path.read_bytes().splitlines() if path.exists() else ():
            try:
                names.add(json.loads(line.rstrip(b","))["picture"])
            except (ValueError, TypeError):  # an end of the array, or a cut line
                pass
    return names


@pytest.mark.parametrize(("form", "kills"), [("json", 20), ("jsonl", 5)])
def test_killed_and_resumed_runs_equal_one_run(server, folder, tmp_path, capsys, form, kills):
    chance = random.Random(form)
    assert main(arguments(server, folder, tmp_path / "one", form)) == 0
    by_content = {path.read_bytes(): path.relative_to(folder).as_posix() for path in folder.rglob("*.png")}
    out = tmp_path / "killed"
    for _ in range(kills):
        before = answered(out)
        if len(before) > PICTURES - 10:  # near the end: start again with an empty folder
            shutil.rmtree(out)
            before = set()
        server.requests.clear()
        start_and_kill(server, arguments(server, folder, out, form, "--resume"), chance)
        asked = [by_content[request.picture] for request in server.requests]
        assert len(asked) == len(set(asked))
        assert not {name for name in asked if name in before and (out / "drawn" / name).exists()}
        assert answered(out) >= before
    server.delay_s = 0.0
    assert main(arguments(server, folder, out, form, "--resume")) == 0
    assert files_of(out) == files_of(tmp_path / "one")


def start_and_kill(server, argv, chance):
    """Run the command and kill it some time after one of its first requests."""
    count, delay_s = chance.randint(1, 6), chance.uniform(0.0, 0.02)
    server.delay_s = lambda _: 0.005 if len(server.requests) < count else 0.02
    process = started(*argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and len(server.requests) < count:
        time.sleep(0.002)
    time.sleep(delay_s)
    process.kill()
    assert process.wait() == -signal.SIGKILL


@pytest.fixture
def run(server, tmp_path, capsys):
    """Run `image` on pictures a to e; the answer holds the status, stderr, the records and the number of requests."""
    for name in "abcde":
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((60, 80, 3), 10 * ord(name) % 256, np.uint8))
    target = tmp_path / "people.json"

    def run(*more, names="abcde", resume=True):
        argv = ["image", *(tmp_path / f"{name}.png" for name in names), "--json", target, "--format", "jsonl"]
        server.requests.clear()
        status = main([str(word) for word in (*argv, *["--resume"] * resume, "--url", server.url, *more)])
        lines = target.read_text().splitlines() if target.exists() else []
        return SimpleNamespace(status=status, err=capsys.readouterr().err, lines=lines, asked=len(server.requests))

    return run


def letters(lines):
    return "".join(Path(json.loads(line)["picture"]).stem for line in lines)


def test_a_complete_run_sends_nothing(run, tmp_path):
    once = run()
    again = run()
    assert (once.asked, again.asked, again.status) == (5, 0, 0)
    assert again.lines == once.lines
    assert "5 of 5 pictures are answered already" in again.err


def test_a_run_without_resume_starts_over_and_says_so(run, tmp_path):
    once = run()
    os.rename(tmp_path / "people.json", tmp_path / ".people.0123abcd.part.json")
    again = run(resume=False)
    assert (again.asked, again.lines) == (5, once.lines)
    assert f"A killed run left records for {tmp_path}/people.json; --resume would continue it." in again.err
    assert not list(tmp_path.glob(".people*"))
    assert "killed" not in run(resume=False).err


def test_gaps_are_filled_and_records_kept_verbatim(run, tmp_path):
    once = run().lines
    marked = once[3].replace('"persons_detected":2', '"persons_detected":  77')
    (tmp_path / "people.json").write_text(f"{once[1]}\n{marked}\n")
    again = run()
    assert again.asked == 3
    assert again.lines == [*once[:3], marked, once[4]]


def test_failures_are_sent_again(run, server):
    server.failures = [REFUSAL]
    first = run("--continue-on-error", "--concurrency", "1")
    assert (first.status, "error" in first.lines[0]) == (1, True)
    again = run("--continue-on-error")
    assert (again.status, again.asked, letters(again.lines)) == (0, 1, "abcde")
    assert "error" not in again.lines[0]


def test_missing_drawings_are_drawn(run, tmp_path):
    drawn = tmp_path / "drawn"
    run("--output", drawn)
    (drawn / "c.png").unlink()
    again = run("--output", drawn)
    assert (again.asked, len(again.lines), len(os.listdir(drawn))) == (1, 5, 5)


def test_a_resumed_run_that_ends_early_keeps_what_was_there(run, server, tmp_path):
    """a, c and e are answered, and b is rejected: the records behind b are kept."""
    once = run().lines
    (tmp_path / "people.json").write_text("".join(f"{once[place]}\n" for place in (0, 2, 4)))
    server.failures = [REFUSAL]
    again = run("--concurrency", "1")
    assert (again.status, again.lines) == (1, [once[0], once[2], once[4]])
    server.failures = [REFUSAL]
    assert run("--continue-on-error", "--concurrency", "1").status == 1
    assert letters(run().lines) == "abcde"


def test_an_early_end_keeps_answers_without_drawings(run, server, tmp_path):
    run()
    server.failures = [REFUSAL]
    again = run("--output", tmp_path / "drawn", "--concurrency", "1")
    assert (again.status, letters(again.lines)) == (1, "abcde")


def test_a_picture_that_is_named_twice_is_two_records(run, tmp_path):
    once = run(names="aab").lines
    (tmp_path / "people.json").write_text(f"{once[0]}\n")
    again = run(names="aab")
    assert (again.asked, again.lines) == (2, once)


def test_a_cut_last_line_is_sent_again(run, tmp_path):
    once = run().lines
    (tmp_path / "people.json").write_text("\n".join(once)[:-20])
    again = run()
    assert (again.asked, again.lines) == (1, once)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--format", "coco"], "--format json or jsonl"),
        (["--json", "-"], "give --json FILE"),
        (["--json", os.devnull], "give --json FILE"),
    ],
)
def test_impossible_resumes_are_refused(run, more, words):
    answer = run(*more)
    assert (answer.status, answer.asked) == (2, 0)
    assert words in answer.err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("my notes\n", "was not written by this command"),
        ("my notes\nof today\n", "was not written by this command"),
        ('{"image_id": 1}\n', "was not written by this command"),
        ('[{"picture": "a.png"}]\n', "was not written by this command"),
        ('{"frame": 1}\n', "was not written by this command"),
        (
            '{"picture": "other.png", "people": []}\n',
            "holds an answer for other.png, which is not an input of this run",
        ),
    ],
)
def test_other_files_are_refused_and_kept(run, tmp_path, text, words):
    (tmp_path / "people.json").write_text(text)
    answer = run()
    assert (answer.status, answer.asked) == (2, 0)
    assert words in answer.err
    assert (tmp_path / "people.json").read_text() == text


def test_failures_of_missing_pictures_are_ignored(run, tmp_path):
    (tmp_path / "people.json").write_text('{"picture": "gone.png", "error": "no picture"}\n')
    assert letters(run().lines) == "abcde"


def test_a_running_process_keeps_its_file(run, tmp_path):
    """Its temporary file is neither read nor removed."""
    part = Part(tmp_path / "people.json")
    part.path.write_text("my notes\n")
    assert run().status == 0
    assert part.path.exists()
    part.leave()
    assert run().status == 2  # its process has ended


def test_resuming_on_a_full_disk_loses_nothing(server, run, tmp_path):
    """With a limit on the size of files, a resumed run can take over only some of the records."""
    whole = run().lines
    (tmp_path / "people.json").write_text("\n".join(whole[1:]) + "\n")
    argv = ["image", *(tmp_path / f"{name}.png" for name in "abcde"), "--format", "jsonl", "--resume"]
    argv += ["--json", tmp_path / "people.json", "--url", server.url]
    process = ran_on_a_full_disk(3 * len(whole[0]), *argv)
    assert process.returncode == 1
    assert (tmp_path / "people.json").read_text().splitlines() == whole[1:]
    again = run()
    assert (again.asked, again.lines) == (0, whole)


def test_frames_of_a_video(server, tmp_path, capsys):
    clip, target = tmp_path / "clip.avi", tmp_path / "people.jsonl"
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    for index in range(12):
        writer.write(np.full((48, 64, 3), 20 * index, np.uint8))
    writer.release()
    argv = ["video", str(clip), "--json", str(target), "--url", server.url]
    assert main(argv) == 0
    whole = target.read_text().splitlines()
    target.write_text("\n".join([*whole[:4], *whole[6:9]]) + "\n")
    server.requests.clear()
    assert main([*argv, "--resume"]) == 0
    assert target.read_text().splitlines() == whole
    assert len(server.requests) == 5
