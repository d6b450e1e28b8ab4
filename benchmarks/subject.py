"""What is measured: networks, pictures, the repository made of them, and servers on it."""

import argparse
import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cigpose_client import PoseClient
from cigpose_client.outputs import write_file

from benchmarks.closed_loop import Call
from benchmarks.constructed import NAME, constructed_network
from ensemble.triton.model import Ensemble, Model
from ensemble.triton.pbtxt import config_text
from ensemble.triton.profiles import Profile
from export.repository import build_repository
from server.process import RunningServer, ServerOptions, free_port, running_server
from server.usage import input_path
from synthetic.accuracy import default_weights
from synthetic.scene import render_scene
from synthetic.seeds import DEMO

CHECKOUT = Path(__file__).parents[1]
BUILT = CHECKOUT / "out" / "bench"
_NANO = BUILT / "yolox_nano.onnx"
_TIMEOUT_S = 120


@dataclass(frozen=True)
class Subject:
    """Networks and pictures of one measurement.

    Attributes:
        pose: pose network as exported.
        detector: detector as published.
        pictures: encoded.
        about: the same in words, for the result file.
        folder: holds the repository and the servers' logs.
        models: of the repository.
    """

    pose: Path
    detector: Path
    pictures: list[bytes]
    about: dict[str, Any]
    folder: Path
    models: tuple[Model | Ensemble, ...]

    @property
    def repository(self) -> Path:
        """Where the model repository is."""
        return self.folder / "repository"

    @property
    def network(self) -> str:
        """Name of the pose network's model."""
        return self.pose.stem

    @contextlib.contextmanager
    def serve(self, profile: str, flags: tuple[str, ...] = ()) -> Iterator[RunningServer]:
        """Run a server with a profile, and with further flags of tritonserver's."""
        options = ServerOptions(self.repository, profile, grpc_port=free_port(), flags=flags)
        with running_server(options, log=self.folder / f"{profile}.log", timeout_s=_TIMEOUT_S) as server:
            yield server

    def add_profile(self, name: str, profile: Profile) -> None:
        """Write a profile that only a measurement needs."""
        for model in self.models:
            if isinstance(model, Model):
                path = self.repository / model.name / "configs" / f"{name}.pbtxt"
                write_file(path, config_text(profile(model)))


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what is measured."""
    parser.add_argument(
        "--pose", type=input_path, help="default: CIGPose-m with constructed weights, built on first use"
    )
    parser.add_argument("--detector", type=input_path, help=f"default: {_NANO} if it exists, else the demo's")
    parser.add_argument("--pictures", type=input_path, nargs="+", help="default: four rendered scenes")


def as_arguments(options: argparse.Namespace) -> list[str]:
    """Return those of `add_options` that were given, as words of a command line."""
    given = {name: getattr(options, name) for name in ("pose", "detector", "pictures")}
    return [
        word
        for name, value in given.items()
        if value
        for word in (f"--{name}", *map(str, value if isinstance(value, list) else [value]))
    ]


@contextlib.contextmanager
def prepared(options: argparse.Namespace, profiles: Mapping[str, Profile] | None = None) -> Iterator[Subject]:
    """Build the repository of what the options say.

    Args:
        options: of `add_options`.
        profiles: further profiles by name, for this measurement alone.
    """
    pose = options.pose or constructed_network(BUILT)
    detector = options.detector or (_NANO if _NANO.exists() else default_weights()[1])
    given = [path.read_bytes() for path in options.pictures or ()]
    pictures = given or [render_scene(seed).jpeg for seed in DEMO[:4]]
    about = {
        "pose": pose.name
        + (" (constructed weights: for speed only)" if options.pose is None and pose.stem == NAME else ""),
        "detector": detector.name,
        "pictures": f"{len(pictures)} {'given pictures' if given else 'rendered scenes'}",
    }
    with tempfile.TemporaryDirectory() as folder:
        models = build_repository([pose], detector, Path(folder) / "repository")
        subject = Subject(pose, detector, pictures, about, Path(folder), models)
        for name, profile in (profiles or {}).items():
            subject.add_profile(name, profile)
        yield subject


def pose_calls(stack: contextlib.ExitStack, url: str) -> Callable[[], Call]:
    """Return a maker of callers of the pose ensemble; each has a connection of its own until the stack ends."""

    def make() -> Call:
        client = stack.enter_context(PoseClient(url, timeout_s=_TIMEOUT_S))
        return lambda picture: len(client.estimate(picture).bboxes)

    return make
