"""The subject of a measurement: networks, pictures, their repository, and servers of it."""

import argparse
import contextlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cigpose_client import PoseClient

from benchmarks.closed_loop import Call
from benchmarks.constructed import NAME, constructed_network
from ensemble.triton.model import Ensemble, Model
from export.repository import build_repository
from server.process import RunningServer, ServerOptions, free_port, running_server
from server.usage import input_path
from synthetic.accuracy import default_weights
from synthetic.scene import render_scene
from synthetic.seeds import DEMO

CHECKOUT = Path(__file__).parents[1]
BUILT = CHECKOUT / "out" / "bench"
NANO = BUILT / "yolox_nano.onnx"
_TIMEOUT_S = 120


@dataclass(frozen=True)
class Subject:
    """Networks and pictures of one measurement.

    Attributes:
        pose: file of the pose network, as exported.
        detector: file of the detector, as published.
        pictures: the encoded pictures.
        about: description of these for the result file.
        folder: folder of the repository and the servers' logs.
        models: the models of the repository.
    """

    pose: Path
    detector: Path
    pictures: list[bytes]
    about: dict[str, Any]
    folder: Path
    models: tuple[Model | Ensemble, ...]

    @property
    def repository(self) -> Path:
        """Folder of the model repository."""
        return self.folder / "repository"

    @property
    def network(self) -> str:
        """Name of the pose network's model."""
        return self.pose.stem

    @contextlib.contextmanager
    def serve(self, profile: str) -> Iterator[RunningServer]:
        """Run a server with a profile."""
        options = ServerOptions(self.repository, profile, grpc_port=free_port())
        with running_server(options, log=self.folder / f"{profile}.log", timeout_s=_TIMEOUT_S) as server:
            yield server


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for networks and pictures."""
    parser.add_argument(
        "--pose", type=input_path, help="default: CIGPose-m with constructed weights, built on first use"
    )
    parser.add_argument("--detector", type=input_path, help=f"default: {NANO} if it exists, else the demo's")
    parser.add_argument("--pictures", type=input_path, nargs="+", help="default: four rendered scenes")


def as_arguments(options: argparse.Namespace) -> list[str]:
    """Return the given ones of these options as words of a command line."""
    given = {name: getattr(options, name) for name in ("pose", "detector", "pictures")}
    return [
        word
        for name, value in given.items()
        if value
        for word in (f"--{name}", *map(str, value if isinstance(value, list) else [value]))
    ]


@contextlib.contextmanager
def prepared(options: argparse.Namespace) -> Iterator[Subject]:
    """Build the repository for the options of `add_options`, and for `lifter` if there is such an option."""
    lifters = [options.lifter] if hasattr(options, "lifter") else []
    pose = options.pose or constructed_network(BUILT)
    detector = options.detector or (NANO if NANO.exists() else default_weights()[1])
    given = [path.read_bytes() for path in options.pictures or ()]
    pictures = given or [render_scene(seed).jpeg for seed in DEMO[:4]]
    about = {
        "pose": pose.name
        + (" (constructed weights: for speed only)" if options.pose is None and pose.stem == NAME else ""),
        "detector": detector.name,
        "pictures": f"{len(pictures)} {'given pictures' if given else 'rendered scenes'}",
    }
    with tempfile.TemporaryDirectory() as folder:
        models = build_repository([pose], detector, Path(folder) / "repository", lifter_files=lifters)
        yield Subject(pose, detector, pictures, about, Path(folder), models)


def pose_calls(stack: contextlib.ExitStack, url: str) -> Callable[[], Call]:
    """Return a function that makes callers of the pose ensemble, each with its own connection until the stack ends."""

    def make() -> Call:
        client = stack.enter_context(PoseClient(url, timeout_s=_TIMEOUT_S))
        return lambda picture: len(client.estimate(picture).bboxes)

    return make
