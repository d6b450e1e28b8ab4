"""Commands in the documentation run after the documented installation, or name the missing step."""

import json
import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from export.zoo import zoo

CHECKOUT = Path(__file__).parents[2]
PAGES = ["README.md", "benchmarks/README.md", "client/README.md", "weights/MODEL_CARD.md", "SECURITY.md"]
PAGES += [f"docs/{path.name}" for path in (CHECKOUT / "docs").glob("*.md")]
_COMMAND = re.compile(r"(?<!tools/venv/bin/)python -m ([a-z_.]+)((?: [a-z-]+)?)")
_WORDS = {"benchmarks", "export"}  # modules whose first argument is a command
_OTHERS = {"pytest", "deploy.start", "tests.deploy.tools"}  # the last two have no options of their own
STEPS = re.compile(r"run `make install-\w+`|pip install -r requirements/\w+\.txt")


def documented() -> list[str]:
    text = "\n".join((CHECKOUT / page).read_text(encoding="utf-8") for page in PAGES)
    found = {f"{name}{word if name in _WORDS else ''}" for name, word in _COMMAND.findall(text)}
    return sorted(name for name in found - _OTHERS - _WORDS if not name.startswith("tests."))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return a function that runs a module with only the packages of `make install`."""
    locked = (CHECKOUT / "requirements" / "base.txt").read_text(encoding="utf-8")
    base = {_normal(name) for name in re.findall(r"^([\w.-]+)==", locked, re.M)}
    owners = metadata.packages_distributions()
    others = [name for name, packages in owners.items() if not base & {_normal(package) for package in packages}]
    blocked = sorted({*others, "pycocotools", "torch", "matplotlib", "locust", "fastapi", "gdown"} - {"cigpose_client"})
    start = tmp_path_factory.mktemp("run") / "run.py"
    start.write_text(
        f"import runpy, sys\nsys.modules.update(dict.fromkeys({blocked}))\n"
        "sys.argv[:2] = sys.argv[1:2]\nrunpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)\n"
    )
    path = os.pathsep.join([str(CHECKOUT), str(CHECKOUT / "client")])

    def started(*arguments):
        command = [sys.executable, str(start), *arguments]
        environment = {**os.environ, "PYTHONPATH": path}
        return subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, timeout=120)

    return started


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_pages_were_read():
    assert {"server", "export onnx", "benchmarks capacity", "synthetic.train", "benchmarks threshold"} <= {
        *documented()
    }


@pytest.mark.parametrize("command", documented())
def test_a_documented_command_has_a_help(run, command):
    done = run(*command.split(), "--help")
    assert (done.returncode, done.stderr) == (0, "")


def test_capacity_is_planned_after_make_install(run):
    (arguments,) = re.findall(
        r"`python -m (benchmarks capacity [^`]*)`", (CHECKOUT / "docs" / "performance.md").read_text()
    )
    done = run(*arguments.split())
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["replicas"] > 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["benchmarks", "compare"],
        ["benchmarks", "load"],
        ["benchmarks", "chart"],
        ["benchmarks", "all"],
        ["synthetic.accuracy"],
        ["synthetic.train", "pose", "--out", "out"],
        ["export", "onnx", "--checkpoint", "a", "--output", "b"],
        ["export", "download", "yolox_nano.onnx"],
    ],
    ids=" ".join,
)
def test_a_command_names_the_missing_installation_step(run, arguments):
    done = run(*arguments)
    assert done.returncode == 1
    (message,) = done.stderr.splitlines()
    assert message.startswith("error: ") and STEPS.search(message)


def test_make_targets_named_in_errors_exist():
    makefile = (CHECKOUT / "Makefile").read_text(encoding="utf-8")
    sources = [path for folder in ("server", "benchmarks", "synthetic") for path in (CHECKOUT / folder).glob("*.py")]
    targets = {name for path in sources for name in re.findall(r'need\("([\w-]+)"', path.read_text(encoding="utf-8"))}
    assert targets == {"install-test", "install-bench"}
    assert all(re.search(rf"^{target}: .*## ", makefile, re.M) for target in targets)


def _dry_run(*arguments):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    make = ["make", "--dry-run", "--no-print-directory", *arguments]
    done = subprocess.run(make, cwd=CHECKOUT, env=environment, check=True, capture_output=True, text=True)
    return done.stdout.replace("\\\n", "").splitlines()


@pytest.mark.parametrize(
    ("options", "folder"),
    [([], "model_repository"), (["POSE=elsewhere/a.onnx", "DETECTOR=b.onnx"], "out/repositories/a")],
)
def test_serve_writes_other_networks_outside_the_tracked_folder(options, folder):
    lines = _dry_run("serve", *options)
    assert f"--output {folder}" in lines[-2] and "export repository" in lines[-2]
    assert f"--repository {folder} " in lines[-1] and "python -m server" in lines[-1]


@pytest.mark.parametrize(
    ("options", "files", "networks"),
    [
        ([], ("movenet-thunder.json", "nanodet.json"), ("movenet-thunder", "nanodet")),
        (
            ["WEIGHTS=published"],
            ("cigpose-m_coco-wholebody_256x192.onnx", "yolox_nano.onnx"),
            ("cigpose-m_coco-wholebody_256x192", "yolox_nano"),
        ),
    ],
)
def test_photos_are_answered_by_the_networks_that_are_downloaded(options, files, networks):
    *before, demo = _dry_run("photos", "PICTURES=a.jpg b.jpg", *options)
    (download,) = (line for line in before if "export download" in line)
    assert set(files) <= set(download.split()) and set(files) <= zoo().keys()
    pose, detector = (f"out/weights/{name}.onnx" for name in networks)
    assert f"--pose {pose} " in demo and f"--detector {detector} " in demo and demo.endswith(" a.jpg b.jpg")


def test_other_weights_are_refused():
    assert "error: WEIGHTS is mine; it must be npm or published" in _dry_run("photos", "WEIGHTS=mine")[0]


def test_the_photo_of_make_photos_is_there():
    demo = _dry_run("photos")[-1]
    assert (CHECKOUT / demo.split()[-1]).is_file()
