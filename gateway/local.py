"""A pose server on this machine, for the page."""

import contextlib
import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path

from demo.scenes import write_scenes
from export.repository import build_repository
from gateway.settings import Settings
from server.process import ServerOptions, free_port, running_server

_CHECKOUT = Path(__file__).parents[1]
_PHOTOS = _CHECKOUT / "demo" / "photos"
_WEIGHTS = _CHECKOUT / "weights", _CHECKOUT / "out" / "weights"
# detector -> its pose networks; the first of which all files are here
_FOR_PHOTOS = {"yolox_nano": ("cigpose-m_coco-wholebody_256x192",), "nanodet": ("movenet-thunder",)}
# the detector, and the pose networks
_RENDERED = (
    "yolox-t_rendered_416",
    "cigpose-t_rendered_256x192",
    "graphpcnn-t_rendered_128x96",
    "logocap-t_rendered_256",
)
_LIFTER = "capf-t_rendered_256x192"
_NOTE = "These networks were trained on rendered people and are not for photos. make photos fetches some."


@contextlib.contextmanager
def local_server(settings: Settings) -> Iterator[Settings]:
    """Start a server on the best networks that are here. Yield `settings` with its address, and with samples."""
    with tempfile.TemporaryDirectory(prefix="cigpose-page-") as name:
        folder = Path(name)
        detector, networks, note = _files()
        lifters = [_WEIGHTS[0] / f"{_LIFTER}.onnx"] if note else []
        names = ", ".join(path.stem for path in (*networks, *lifters, detector))
        print(f"starting a server with {names}", flush=True)
        build_repository(networks, detector, folder / "repository", lifter_files=lifters)
        samples = _PHOTOS
        if note:
            samples = folder / "samples"
            write_scenes(samples)
        options = ServerOptions(folder / "repository", "cpu", grpc_port=free_port())
        with running_server(options, log=folder / "server.log") as running:
            yield dataclasses.replace(
                settings, url=running.grpc_url, samples=settings.samples or samples, note=note or settings.note
            )


def _files() -> tuple[Path, list[Path], str]:
    """Return the detector, the pose networks, and what is to be said about them."""
    rendered, photos = _WEIGHTS
    for detector, networks in _FOR_PHOTOS.items():
        paths = [photos / f"{name}.onnx" for name in (detector, *networks)]
        if all(path.is_file() for path in paths):
            return paths[0], paths[1:], ""
    paths = [rendered / f"{name}.onnx" for name in _RENDERED]
    return paths[0], paths[1:], _NOTE
