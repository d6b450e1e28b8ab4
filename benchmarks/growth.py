"""`python -m benchmarks growth`: the cost of a picture as the work grows: people, callers, pixels, networks.

Each axis is measured alone, the rest as in `--profile`. People are given boxes, so that their number is exact.
`--null` replaces the networks by ones that compute nothing: then the curves are those of the serving alone.
"""

import argparse
import contextlib
import io
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from cigpose_client import PoseClient
from cigpose_client.outputs import write_file
from numpy.typing import NDArray

from benchmarks import memory, results, subject
from benchmarks.closed_loop import Call, Load, drive
from benchmarks.null_networks import replace_networks
from benchmarks.revisions import Launched
from benchmarks.subject import Subject
from ensemble.steps.decode_image import PictureLimits, decode_picture
from ensemble.triton.profiles import PROFILES
from export.repository import build_repository
from server.process import ServerOptions, free_port, running_server
from server.usage import CommandLine, output_path

PEOPLE = (0, 1, 2, 4, 8, 16, 32)
CALLERS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
MEGAPIXELS = (0.3, 1, 3, 6, 12)
NETWORKS = (1, 2, 3, 4)
AXES = {
    "people": "people in a picture",
    "callers": "concurrent callers",
    "megapixels": "megapixels of a picture",
    "networks": "networks in the repository",
}
_CROWD = 4  # callers where another axis grows
_NULL_PEOPLE = 3
_TIMEOUT_S = 120
_SETTINGS = {"svg.hashsalt": "cigpose", "svg.fonttype": "none", "font.size": 8, "axes.grid": True, "grid.alpha": 0.3}
Row = dict[str, float]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure every axis, write the result file and the chart, print the tables."""
    options = _parse(argv)
    with subject.prepared(options) as measured:
        if options.null:
            replace_networks(measured.repository, _NULL_PEOPLE)
        with _served(measured.repository, options.profile, measured.folder) as server:
            axes = {
                "people": [_people(server, measured, count, options.requests) for count in PEOPLE],
                "callers": [_callers(server, measured, count, options.requests) for count in CALLERS],
                "megapixels": [_megapixels(server, measured, size, options.requests) for size in MEGAPIXELS],
            }
        axes["networks"] = [_networks(measured, count, options) for count in NETWORKS]
    networks = "null networks" if options.null else "the networks below"
    result = {**measured.about, "networks": networks, "axes": axes}
    results.write(options.output, result, profile=options.profile)
    print(as_tables(result))
    if options.chart:
        write_file(options.chart, as_chart(result))
    return 0


def as_tables(result: Mapping[str, Any]) -> str:
    """Return a result as one Markdown table for each axis."""
    tables = [results.as_table([*rows[0]], [[*row.values()] for row in rows]) for rows in result["axes"].values()]
    return "\n\n".join(tables)


def as_chart(result: Mapping[str, Any]) -> str:
    """Return a result as SVG: one panel for each axis; the memory in place of the time for the networks."""
    import matplotlib  # imported here: the command line does not need it
    from matplotlib.figure import Figure

    shown = {"people": "cpu_ms", "callers": "pictures_per_s", "megapixels": "cpu_ms", "networks": "pss_mb"}
    words = {"cpu_ms": "CPU ms a picture", "pictures_per_s": "pictures a second", "pss_mb": "MB of the whole server"}
    file = io.StringIO()
    with matplotlib.rc_context(_SETTINGS):
        figure = Figure(figsize=(7.2, 4.4), layout="constrained")  # inches
        panels: Any = figure.subplots(2, 2)
        for axes, (name, column) in zip(panels.ravel(), shown.items(), strict=True):
            rows = result["axes"][name]
            axes.plot([row[name] for row in rows], [row[column] for row in rows], "o-", markersize=3)
            axes.set(xlabel=AXES[name], ylabel=words[column], ylim=(0, None))
            if name == "callers":
                axes.set_xscale("log", base=2)
        figure.savefig(file, format="svg", metadata={"Date": None})
    text = file.getvalue()
    return text[text.index("<svg") :] + "\n"


def _people(server: Launched, measured: Subject, count: int, requests: int) -> Row:
    boxes = _boxes(count, measured.pictures[0])
    return {"people": count} | _load(
        server,
        measured.pictures[:1],
        _CROWD,
        requests,
        lambda client: lambda picture: len(client.estimate_boxes(picture, boxes)),
    )


def _callers(server: Launched, measured: Subject, count: int, requests: int) -> Row:
    return {"callers": count} | _load(server, measured.pictures, count, max(requests, 2 * count), _estimate)


def _megapixels(server: Launched, measured: Subject, size: float, requests: int) -> Row:
    picture, boxes = _scaled(measured.pictures[0], size), _boxes(_NULL_PEOPLE, _scaled(measured.pictures[0], size))
    return {"megapixels": size} | _load(
        server, [picture], _CROWD, requests, lambda client: lambda encoded: len(client.estimate_boxes(encoded, boxes))
    )


def _networks(measured: Subject, count: int, options: argparse.Namespace) -> Row:
    """Serve copies of the pose network under as many names, asked in turn."""
    folder = measured.folder / f"{count}-networks"
    folder.mkdir()
    poses = [
        Path(shutil.copy(measured.pose, folder / f"{measured.pose.stem}_{number}.onnx")) for number in range(count)
    ]
    build_repository(poses, measured.detector, folder / "repository")
    if options.null:
        replace_networks(folder / "repository", _NULL_PEOPLE)
    with _served(folder / "repository", options.profile, folder) as server, contextlib.ExitStack() as stack:
        names = [f"pose_{path.stem}" for path in poses]
        clients = [stack.enter_context(PoseClient(server.url, model=name, timeout_s=_TIMEOUT_S)) for name in names]
        turns = {picture: index for index, picture in enumerate(measured.pictures)}

        def make() -> Call:
            return lambda picture: len(clients[turns[picture] % count].estimate(picture))

        row = _measured(server, make, measured.pictures, _CROWD, options.requests)
        used = memory.pss_mb(server)
    return {"networks": count} | row | {"pss_mb": round(sum(sum(kinds.values()) for kinds in used.values()))}


def _load(
    server: Launched,
    pictures: Sequence[bytes],
    callers: int,
    requests: int,
    call: Callable[[PoseClient], Call],
) -> Row:
    with contextlib.ExitStack() as stack:

        def make() -> Call:
            return call(stack.enter_context(PoseClient(server.url, timeout_s=_TIMEOUT_S)))

        return _measured(server, make, pictures, callers, requests)


def _measured(
    server: Launched, make: Callable[[], Call], pictures: Sequence[bytes], callers: int, requests: int
) -> Row:
    before = sum(server.cpu_s().values())
    load: Load = drive(make, pictures, callers, requests, callers)
    used_s = sum(server.cpu_s().values()) - before
    return {
        "pictures_per_s": load.pictures_per_s,
        "p50_ms": load.percentile_ms(50),
        "p99_ms": load.percentile_ms(99),
        "cpu_ms": 1000 * used_s / (requests + 2 * callers),
    }


def _estimate(client: PoseClient) -> Call:
    return lambda picture: len(client.estimate(picture))


@contextlib.contextmanager
def _served(repository: Path, profile: str, folder: Path) -> Any:
    options = ServerOptions(repository, profile, grpc_port=free_port())
    with running_server(options, log=folder / "server.log", timeout_s=_TIMEOUT_S) as server:
        yield Launched(server.grpc_url, server.process.pid)


def _boxes(count: int, picture: bytes) -> NDArray[np.float32]:
    """Return boxes of a quarter of the picture's width and half of its height, at random places."""
    height, width = decode_picture(picture, PictureLimits()).shape[:2]
    corners = np.random.default_rng(0).uniform((0, 0), (width * 3 / 4, height / 2), (count, 2))
    return np.hstack([corners, corners + np.array((width / 4, height / 2))]).astype(np.float32)


def _scaled(picture: bytes, megapixels: float) -> bytes:
    pixels = decode_picture(picture, PictureLimits())
    factor = (megapixels * 1e6 / (pixels.shape[0] * pixels.shape[1])) ** 0.5
    encoded = cv2.imencode(".jpg", cv2.resize(pixels, None, fx=factor, fy=factor), [cv2.IMWRITE_JPEG_QUALITY, 90])[1]
    return bytes(encoded)


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandLine(prog="python -m benchmarks growth", description=__doc__)
    subject.add_options(parser)
    parser.add_argument("--profile", default="cpu", choices=PROFILES)
    parser.add_argument("--null", action="store_true", help="networks that compute nothing")
    parser.add_argument("--requests", type=int, default=48, help="requests per point (default: %(default)s)")
    parser.add_argument("--chart", type=output_path, help="SVG file for a chart of the result")
    results.add_output(parser, "growth")
    return parser.parse_args(argv)
