"""No command of the checkout overwrites what it reads, or removes what it did not write."""

import os
from pathlib import Path

import pytest

import benchmarks.__main__ as benchmarks
from server.usage import CommandLine, input_path, output_path
from tests.commands import commands
from tests.networks import save_detector, save_pose_network

COMMANDS = {command.name: command for command in commands()}
# options that name a file; every other output is a folder and has a test below
FILES = {
    ("benchmarks chart", "output"),
    ("export onnx", "output"),
    *(("export quantize", name) for name in ("output", "report")),
    ("benchmarks growth", "chart"),
    *((f"benchmarks {name}", "output") for name in ("growth", "memory", "serving")),
    ("server", "health_file"),
    ("tests.client.video_rate", "output"),
    ("tests.deploy.queueing", "output"),
    ("tests.deploy.rollout", "output"),
    ("benchmarks kinds", "chart"),
    ("synthetic.adaptation", "output"),
    ("synthetic.film_accuracy", "output"),
    *(
        (f"benchmarks {name}", "output")
        for name in ("buckets", "capacity", "compare", "gateway", "kinds", "lifter", "stage2", "stages", "streams")
    ),
    ("benchmarks threshold", "output"),
}
OUTPUTS = {(name, option.dest) for name, command in COMMANDS.items() for option in command.options(output_path)}
PAIRS = [
    (name, output.dest, read.dest)
    for name, command in COMMANDS.items()
    for output in command.options(output_path)
    for read in command.options(input_path)
]
SAYS_OUTPUT = ("--out", "--output", "--json", "--results", "--save-results", "--raw", "--cache", "--log")


@pytest.fixture(autouse=True)
def nothing_else_is_needed(monkeypatch):
    monkeypatch.setattr(benchmarks, "_NEEDS", {})


@pytest.mark.parametrize("name", COMMANDS)
def test_every_path_option_is_an_input_or_an_output(name):
    command = COMMANDS[name]
    assert not command.options(Path) or name in ("server.health", "server.manifest")  # these write nothing by option
    undecided = {text for option in command.options(None, str) for text in option.option_strings}
    assert not undecided & {*SAYS_OUTPUT}
    assert isinstance(command.parser, CommandLine) or not command.options(output_path)


def test_every_command_with_a_parser_was_found():
    assert {
        "demo",
        "synthetic.accuracy",
        "export onnx",
        "export repository",
        "benchmarks all",
        "server",
    } <= COMMANDS.keys()
    assert len(PAIRS) > 30


def same(path: Path) -> Path:
    return path


def symbolic_link(path: Path) -> Path:
    link = path.with_name("link")
    link.symlink_to(path)
    return link


def hard_link(path: Path) -> Path:
    link = path.with_name("link")
    os.link(path, link)
    return link


def folder_of(path: Path) -> Path:
    return path.parent


def inside(path: Path) -> Path:
    path.unlink()
    path.mkdir()
    (path / "inner").write_bytes(b"mine")
    return path / "inner"


@pytest.mark.parametrize("way", [same, symbolic_link, hard_link, folder_of, inside])
@pytest.mark.parametrize(("name", "output", "read"), PAIRS)
def test_no_output_is_an_input(tmp_path, capsys, name, output, read, way):
    path = tmp_path / "folder" / "input"
    path.parent.mkdir()
    path.write_bytes(b"mine")
    written = way(path)
    before = snapshot(tmp_path)
    arguments = COMMANDS[name].arguments(**{output: written, read: path})
    assert COMMANDS[name].status(arguments) == 2
    (message,) = capsys.readouterr().err.splitlines()
    assert message.startswith("error: ") and str(written) in message
    assert snapshot(tmp_path) == before


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def run(name: str, **chosen: Path) -> int:
    return COMMANDS[name].status(COMMANDS[name].arguments(**chosen))


def fail(*_, **__):
    raise ValueError("stopped before the heavy work")


# Each function runs a command on a folder, and stops before heavy work.


def demo(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("demo.__main__.build_repository", fail)
    (tmp_path / "network.onnx").touch()
    return run("demo", out=folder, pose=tmp_path / "network.onnx", detector=tmp_path / "network.onnx")


def accuracy(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("synthetic.accuracy.served", fail)
    monkeypatch.setattr("synthetic.accuracy.need", lambda *_: None)
    return run("synthetic.accuracy", out=folder)


def rendered(folder, tmp_path, monkeypatch):
    return COMMANDS["synthetic.annotations"].status(["--output", str(folder), "--scenes", "1"])


def train(folder, tmp_path, monkeypatch):
    pytest.importorskip("torch", reason="training needs PyTorch")
    arguments = ["detector", "--out", str(folder / "out"), "--cache", str(folder), "--scenes", "2", "--steps", "0"]
    monkeypatch.setattr("synthetic.dataset._WORKERS", 1)
    return COMMANDS["synthetic.train"].status(arguments)


def repository(folder, tmp_path, monkeypatch):
    pose, detector = save_pose_network(tmp_path / "spots.onnx"), save_detector(tmp_path / "red_cells.onnx")
    return run("export repository", output=folder, pose=pose, detector=detector)


def download(folder, tmp_path, monkeypatch):
    module = pytest.importorskip("export.download", reason="downloads need requirements/download.txt")
    monkeypatch.setattr(module, "_fetch_file", lambda entry, path: path.write_bytes(b"damaged"))
    return COMMANDS["export download"].status(["yolox_nano.onnx", "--output", str(folder)])


def everything(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.everything.run", fail)
    return run("benchmarks all", output=folder)


def load(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.load._run_locust", fail)
    monkeypatch.setattr("benchmarks.load._sustained", lambda *_: 1.0)
    return COMMANDS["benchmarks load"].status(["steady", "--url", "x", "--output", str(folder), "--raw", str(folder)])


def backends(folder, tmp_path, monkeypatch):
    return run("deploy.backends", folder=folder)


def ray_job(folder, tmp_path, monkeypatch):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").touch()
    monkeypatch.setattr("deploy.offline.ray_job.need", fail)
    return run("deploy.offline.ray_job", output=folder, pictures=tmp_path / "pictures")


FOLDERS = {  # option -> function above, and its exit status
    ("benchmarks all", "output"): (everything, 1),
    ("benchmarks load", "output"): (load, 1),
    ("benchmarks load", "raw"): (load, 1),
    ("demo", "out"): (demo, 1),
    ("synthetic.accuracy", "out"): (accuracy, 1),
    ("synthetic.annotations", "output"): (rendered, 0),
    ("synthetic.train", "cache"): (train, 0),
    ("synthetic.train", "out"): (train, 0),
    ("deploy.backends", "folder"): (backends, 2),
    ("deploy.offline.ray_job", "output"): (ray_job, 1),
    ("export download", "output"): (download, 1),
    ("export repository", "output"): (repository, 0),
}


def test_every_output_option_is_covered():
    assert OUTPUTS == FILES | FOLDERS.keys()


@pytest.mark.parametrize(("start", "code"), dict.fromkeys(FOLDERS.values()))
def test_foreign_files_in_a_folder_are_kept(tmp_path, monkeypatch, start, code):
    folder = tmp_path / "folder"
    (folder / "theirs").mkdir(parents=True)
    (folder / "keep.txt").write_bytes(b"mine")
    (folder / "theirs" / "deep.txt").write_bytes(b"mine")
    before = snapshot(folder)
    assert start(folder, tmp_path, monkeypatch) == code
    assert before.items() <= snapshot(folder).items()


CLAIMED = {  # function above -> an entry that its command replaces
    demo: "people.json",
    accuracy: "cpu",
    repository: "detector",
}


@pytest.mark.parametrize(("start", "entry"), CLAIMED.items())
def test_a_foreign_entry_is_not_replaced(tmp_path, monkeypatch, capsys, start, entry):
    theirs = tmp_path / "folder" / entry / "theirs" if "." not in entry else tmp_path / "folder" / entry
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(b"mine")
    assert start(tmp_path / "folder", tmp_path, monkeypatch) == 2
    (message,) = capsys.readouterr().err.splitlines()[-1:]
    assert message.startswith("error: ") and entry in message
    assert snapshot(tmp_path / "folder") == {str(theirs.relative_to(tmp_path / "folder")): b"mine"}
