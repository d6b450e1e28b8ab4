"""Every subcommand refuses every output that is an input under another name, and changes no file."""

import argparse
import json
import os

import cv2
import numpy as np
import pytest
from cigpose_client.__main__ import _parser, main

from client.tests.fake_server import FakeServer
from client.tests.processes import ran

# A free string may name a file. Enter each new option with a free string into one of these sets.
OUTPUTS = {"--json", "--output", "--plot-3d", "--save-results"}
INPUTS = {"--boxes", "--annotations", "--images", "--results", "--tls-ca", "--tls-key", "--tls-cert"}
INPUTS |= {"pictures", "folder", "source", "sources", "picture", "records"}
NO_FILES = {"--url", "--model"}
PLACES = {"FILE", "PATH", "DIR", "FOLDER", "VIDEO", "PICTURE", "PEM"}
SPELLINGS = ["same", "dotted", "link", "hard"]


def subcommands():
    (action,) = [action for action in _parser()._actions if isinstance(action, argparse._SubParsersAction)]
    return action.choices


def names_of(parser):
    """Return the options and arguments that accept any text, or whose metavar names a file."""
    valued = [action for action in parser._actions if action.nargs != 0]
    free = [action for action in valued if action.metavar in PLACES or not (action.type or action.choices)]
    return {action.option_strings[-1] if action.option_strings else action.dest for action in free}


@pytest.fixture
def files(tmp_path, monkeypatch):
    """One file of each kind of input, in the current folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("photo.jpg", "photos/photo.jpg", "photos/sub/other.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(cv2.imencode(".jpg", np.zeros((48, 64, 3), np.uint8))[1].tobytes())
    writer = cv2.VideoWriter("clip.avi", cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.release()
    (tmp_path / "other.avi").write_bytes((tmp_path / "clip.avi").read_bytes())
    image = {"id": 1, "file_name": "photo.jpg", "width": 64, "height": 48}
    (tmp_path / "truth.json").write_text(json.dumps({"images": [image], "annotations": []}))
    (tmp_path / "results.json").write_text("[]")
    (tmp_path / "boxes.jsonl").write_text('{"picture":"photo.jpg","people":[]}\n')
    (tmp_path / "ca.pem").write_text("roots")
    return tmp_path


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def spelled(path, spelling):
    """Return another name of the file."""
    folder, _, name = path.rpartition("/")
    if spelling == "dotted":
        return f"./{folder or '.'}/../{os.path.basename(os.path.abspath(folder or '.'))}/{name}"
    if spelling == "same":
        return path
    other = f"{spelling}{os.path.splitext(name)[1]}"
    os.symlink(os.path.abspath(path), other) if spelling == "link" else os.link(path, other)
    return other


COMMANDS = {
    "image": "photo.jpg --boxes boxes.jsonl --tls-ca ca.pem",
    "folder": "photos --boxes boxes.jsonl --tls-ca ca.pem",
    "video": "clip.avi --boxes boxes.jsonl --tls-ca ca.pem",
    "camera": "clip.avi --tls-ca ca.pem",
    "cameras": "clip.avi other.avi --tls-ca ca.pem",
    "parquet": "boxes.jsonl",
    "evaluate": "--annotations truth.json --images photos --boxes boxes.jsonl --tls-ca ca.pem",
    "evaluate results": "--annotations truth.json --results results.json",
}
COMMANDS = {name: [name.split()[0], *rest.split()] for name, rest in COMMANDS.items()}
FILES = {
    "image": ["photo.jpg", "boxes.jsonl", "ca.pem"],
    "folder": ["photos/photo.jpg", "boxes.jsonl", "ca.pem"],
    "video": ["clip.avi", "boxes.jsonl", "ca.pem"],
    "camera": ["clip.avi", "ca.pem"],
    "cameras": ["clip.avi", "other.avi", "ca.pem"],
    "parquet": ["boxes.jsonl"],
    "evaluate": ["truth.json", "photos/photo.jpg", "photos/sub/other.jpg", "boxes.jsonl", "ca.pem"],
    "evaluate results": ["truth.json", "results.json"],
}
CASES = [
    (command, option, path, spelling)
    for command in COMMANDS
    for option in sorted(OUTPUTS & names_of(subcommands()[command.split()[0]]))
    for path in FILES[command]
    for spelling in SPELLINGS
    if not (command in ("folder", "cameras") and option in ("--output", "--plot-3d"))  # a folder: see below
]


def refused(argv, capsys):
    server = [] if argv[0] == "parquet" else ["--url", "127.0.0.1:1"]
    assert main([*argv, *server]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("cigpose-client: ") and captured.err.count("\n") == 1
    return captured.err


def test_every_option_that_may_name_a_file_is_known():
    for name, parser in subcommands().items():
        assert names_of(parser) <= OUTPUTS | INPUTS | NO_FILES, name
        if names_of(parser) & OUTPUTS:
            assert any(command.split()[0] == name for command in COMMANDS), f"{name} is not swept"


@pytest.mark.parametrize(("command", "option", "path", "spelling"), CASES)
def test_an_output_that_is_an_input_is_refused(files, capsys, command, option, path, spelling):
    output = spelled(path, spelling)
    before = contents(files)
    assert "would overwrite the input" in refused([*COMMANDS[command], option, output], capsys)
    assert contents(files) == before


@pytest.mark.parametrize("command", [name for name in COMMANDS if name.split()[0] not in ("evaluate", "parquet")])
def test_two_outputs_in_one_file_are_refused(files, capsys, command):
    if command in ("folder", "cameras"):
        argv = ["--output", "new", "--json", "new/photo.jpg" if command == "folder" else "new/1.mp4"]
    else:
        argv = ["--output", "new.avi", "--json", "./new.avi"]
    assert "would overwrite the output" in refused([*COMMANDS[command], *argv], capsys)
    assert not (files / "new").exists() and not (files / "new.avi").exists()


@pytest.mark.parametrize(
    ("flags", "output"),
    [
        ([], "photos"),
        ([], "./photos/"),
        ([], "link"),
        (["--recursive"], "photos"),
        (["--recursive"], "photos/sub/../drawn"),
        (["--recursive"], "link/drawn"),
        (["--recursive"], "."),
    ],
)
@pytest.mark.parametrize("option", ["--output", "--plot-3d"])
def test_output_folders_that_overlap_the_input_are_refused(files, capsys, flags, output, option):
    (files / "link").symlink_to(files / "photos")
    before = contents(files)
    refused(["folder", "photos", *flags, option, output], capsys)
    assert contents(files) == before


def test_drawn_videos_that_are_inputs_are_refused(files, capsys):
    (files / "drawn").mkdir()
    os.link("other.avi", "drawn/2.mp4")
    assert "drawn/2.mp4 would overwrite the input other.avi" in refused(
        ["cameras", "clip.avi", "other.avi", "--output", "drawn"], capsys
    )
    assert "clip.avi is a file; --output is a folder here" in refused(
        ["cameras", "other.avi", "--output", "clip.avi"], capsys
    )


def test_drawings_that_are_linked_inputs_are_refused(files, capsys):
    (files / "drawn").mkdir()
    os.link("photos/photo.jpg", "drawn/photo.jpg")
    assert "drawn/photo.jpg would overwrite the input photos/photo.jpg" in refused(
        ["folder", "photos", "--output", "drawn"], capsys
    )
    assert "would overwrite the input" in refused(["image", "photo.jpg", "--output", "."], capsys)


def test_redirected_stdin_and_stdout_are_compared(files):
    before = contents(files)
    with open("photo.jpg", "rb") as photo:
        run = ran("image", "-", "--json", "photo.jpg", "--url", "127.0.0.1:1", stdin=photo)
    assert (run.returncode, "would overwrite the input /dev/stdin" in run.stderr) == (2, True)
    with open("photo.jpg", "ab") as photo:
        run = ran("image", "photo.jpg", "--url", "127.0.0.1:1", stdout=photo)
    assert (run.returncode, "/dev/stdout would overwrite the input photo.jpg" in run.stderr) == (2, True)
    assert contents(files) == before


def test_output_below_a_folder_is_allowed_without_recursive(server: FakeServer, files, capsys):
    for _ in range(2):
        assert main(["folder", "photos", "--output", "photos/drawn", "--url", server.url]) == 0
    assert os.listdir("photos/drawn") == ["photo.jpg"]
    assert len(server.requests) == 2
