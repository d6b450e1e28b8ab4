"""`python -m synthetic.accuracy`: the accuracy gate through a real server, once for each way to compute that ships.

Writes what it measured to `weights/accuracy.json`, which the tests hold later runs against, and prints it as a table.
With `--photos`, also how a network for real photos fares by the same ways.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from cigpose_client import Options, PoseClient
from cigpose_client.outputs import check_outputs, claim_folder, write_file

from export.families import PoseOptions
from export.repository import build_repository
from server.process import ServerOptions, free_port, running_server
from server.usage import CommandLine, command, input_path, need, output_path
from synthetic.gate import BBOX_THRESHOLD, PARTS, measure
from synthetic.photos import measure_photos
from synthetic.seeds import GATE

CHECKOUT = Path(__file__).parents[1]
RECORD = CHECKOUT / "weights" / "accuracy.json"
Numbers = dict[str, Any]


class Way(NamedTuple):
    """A way to compute the answers.

    Attributes:
        profile: of the server.
        flip_test: whether the mirrored crop is asked, too.
    """

    profile: str
    flip_test: bool = False


WAYS = {
    "cpu": Way("cpu"),
    "cpu-openvino": Way("cpu-openvino"),
    "cpu-bf16": Way("cpu-bf16"),
    "cpu, flip test": Way("cpu", flip_test=True),
}


def measure_gate(client: PoseClient, scenes: int = len(GATE), out: Path | None = None) -> Numbers:
    """Send the gate's scenes to a server and return its numbers.

    Returns:
        `average_precision` by part (0 to 1), `people` in the scenes, `found` of them, `mean_error_px`.
    """
    options = Options(bbox_threshold=BBOX_THRESHOLD)
    result = measure(lambda picture: client.estimate(picture, options), GATE[:scenes], out)
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


def as_table(record: dict[str, Numbers]) -> str:
    """Return the numbers as a Markdown table, one way a row."""
    head = ["profile", *PARTS, "found", "mean error, pixels", "mean OKS on photos"]
    rows = []
    for name, row in record.items():
        precision = (f"{row['average_precision'][part]:.4f}" for part in PARTS)
        photos = f"{row['photos']['mean_oks']:.4f}" if "photos" in row else ""
        rows.append([name, *precision, f"{row['found']} of {row['people']}", f"{row['mean_error_px']:.2f}", photos])
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [head, ["---"] * len(head), *rows])


@contextmanager
def served(pose: Path, detector: Path, way: Way, folder: Path) -> Iterator[PoseClient]:
    """Serve two weight files in one way, the repository and the log in `folder`, and yield a client."""
    build_repository([pose], detector, folder / "model_repository", PoseOptions(flip_test=way.flip_test))
    options = ServerOptions(folder / "model_repository", way.profile, grpc_port=free_port())
    with running_server(options, log=folder / "server.log") as server:
        with PoseClient(server.grpc_url, timeout_s=60) as client:
            yield client


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = CommandLine(prog="python -m synthetic.accuracy", description=__doc__)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument(
        "--out", type=output_path, default=Path("out/accuracy"), help="histogram and worst cases, by way"
    )
    photos = parser.add_argument_group("photos (all or none)")
    photos.add_argument("--photos", type=input_path, help="folder of annotated photos")
    photos.add_argument("--annotations", type=input_path, help="their COCO keypoint annotations")
    photos.add_argument("--photo-pose", type=input_path, help="a network for photos, with COCO's 17 points first")
    options = parser.parse_args(argv)
    given = (options.photos, options.annotations, options.photo_pose)
    if any(given) and not all(given):
        parser.error("--photos, --annotations and --photo-pose belong together")
    check_outputs([RECORD], filter(None, given))
    need("install-test", "pycocotools")
    pose, detector = default_weights()
    folders = {name: name.replace(", ", "-").replace(" ", "-") for name in options.ways}
    claim_folder(options.out, folders.values())
    record: dict[str, Numbers] = {}
    for name in options.ways:
        folder = options.out / folders[name]
        with served(pose, detector, WAYS[name], folder) as client:
            record[name] = measure_gate(client, out=folder)
        if all(given):
            with served(options.photo_pose, detector, WAYS[name], folder / "photos") as client:
                record[name]["photos"] = measure_photos(client, options.photos, options.annotations)
    write_file(RECORD, json.dumps(record, indent=2) + "\n")
    print(as_table(record))
    return 0


if __name__ == "__main__":
    sys.exit(main())
