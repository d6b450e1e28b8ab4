"""`python -m synthetic.accuracy`: the accuracy gate through a real server, in every way of computing that ships.

Prints the numbers as a table. Those of the committed weights also go to `weights/accuracy.json`, the record that the
tests compare with.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from cigpose_client import Options, PoseClient
from cigpose_client.outputs import claim_folder, write_file

from export.families import PoseOptions
from export.repository import build_repository
from server.process import ServerOptions, free_port, running_server
from server.usage import CommandLine, command, input_path, need, output_path
from synthetic.gate import BBOX_THRESHOLD, PARTS, measure, save_histogram

CHECKOUT = Path(__file__).parents[1]
RECORD = CHECKOUT / "weights" / "accuracy.json"
Numbers = dict[str, Any]


class Way(NamedTuple):
    """A way of computing.

    Attributes:
        profile: profile of the server.
        flip_test: whether answers are averaged with those for the mirrored crop.
        int8: whether the pose network is the committed eight-bit version.
    """

    profile: str
    flip_test: bool = False
    int8: bool = False


WAYS = {
    "cpu": Way("cpu"),
    "cpu-openvino": Way("cpu-openvino"),
    "cpu-bf16": Way("cpu-bf16"),
    "cpu-int8": Way("cpu-int8", int8=True),
    "cpu, flip test": Way("cpu", flip_test=True),
}


def measure_gate(client: PoseClient, folder: Path) -> Numbers:
    """Send the gate's scenes to a server, write the histogram of errors to `folder`, and return the numbers.

    Returns:
        `average_precision` by part (0 to 1), `people` in the scenes, `found` of them, `mean_error_px`.
    """
    options = Options(bbox_threshold=BBOX_THRESHOLD)
    result = measure(lambda picture: client.estimate(picture, options))
    save_histogram(result.histogram, folder)
    return {
        "average_precision": {part: round(value, 4) for part, value in result.average_precision.items()},
        "people": result.people,
        "found": result.found,
        "mean_error_px": round(result.mean_error, 2),
    }


def default_weights() -> tuple[Path, Path]:
    """Return the committed pose network and detector."""
    (pose,), (detector,) = (
        list((CHECKOUT / "weights").glob(pattern)) for pattern in ("cigpose-*.onnx", "yolox-*.onnx")
    )
    return pose, detector


def eight_bits(path: Path) -> Path:
    """Return the committed eight-bit version of a committed network, which `export quantize` wrote."""
    return path.parent / "int8" / path.name


def as_table(record: dict[str, Numbers]) -> str:
    """Return the numbers as a Markdown table with one row for each way."""
    head = ["profile", *PARTS, "found", "mean error, pixels"]
    rows = []
    for name, row in record.items():
        precision = (f"{row['average_precision'][part]:.4f}" for part in PARTS)
        rows.append([name, *precision, f"{row['found']} of {row['people']}", f"{row['mean_error_px']:.2f}"])
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [head, ["---"] * len(head), *rows])


@contextmanager
def served(poses: Sequence[Path], detector: Path, way: Way, folder: Path) -> Iterator[PoseClient]:
    """Serve weight files, with repository and log in `folder`, and yield a client of the first pose network."""
    if way.int8:
        poses = [*map(eight_bits, poses)]
    build_repository(poses, detector, folder / "model_repository", PoseOptions(flip_test=way.flip_test))
    options = ServerOptions(folder / "model_repository", way.profile, grpc_port=free_port())
    with running_server(options, log=folder / "server.log") as server:
        with PoseClient(server.grpc_url, timeout_s=60) as client:
            yield client


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    weights = default_weights()
    parser = CommandLine(prog="python -m synthetic.accuracy", description=__doc__)
    parser.add_argument("--pose", type=input_path, default=weights[0], help="default: the committed one")
    parser.add_argument("--detector", type=input_path, default=weights[1], help="default: the committed one")
    parser.add_argument(
        "--out", type=output_path, default=Path("out/accuracy"), help="folder for histograms (default: %(default)s)"
    )
    options = parser.parse_args(argv)
    need("install-test", "pycocotools")
    folders = {name: name.replace(", ", "-").replace(" ", "-") for name in WAYS}
    claim_folder(options.out, folders.values())
    record: dict[str, Numbers] = {}
    own = (options.pose, options.detector) != weights
    for name, way in WAYS.items():
        if way.int8 and own:
            continue  # the caller's networks have no committed eight-bit version
        folder = options.out / folders[name]
        with served([options.pose], options.detector, way, folder) as client:
            record[name] = measure_gate(client, folder)
    if not own:
        write_file(RECORD, json.dumps(record, indent=2) + "\n")
    print(as_table(record))
    return 0


if __name__ == "__main__":
    sys.exit(main())
