"""`python -m demo.accuracy`: the accuracy gate through a real server, once for each machine profile.

Writes what it measured to `weights/accuracy.json`, which the tests hold later runs against, and prints it as a table.
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cigpose_client import Options, PoseClient

from demo.evaluation import PARTS
from demo.gate import BBOX_THRESHOLD, measure
from demo.in_process import Estimate
from demo.seeds import GATE
from export.repository import build_repository
from server.process import ServerOptions, free_port, running_server

CHECKOUT = Path(__file__).parents[1]
RECORD = CHECKOUT / "weights" / "accuracy.json"
PROFILES = ("cpu", "cpu-openvino", "cpu-bf16")


def measure_profile(repository: Path, profile: str, scenes: int = len(GATE), out: Path | None = None) -> dict[str, Any]:
    """Serve a repository with a profile and return the gate's numbers.

    Returns:
        `average_precision` by part (0 to 1), `people` in the scenes, `found` of them, `mean_error_px`.
    """
    with _client(repository, profile) as client:

        def estimate(picture: bytes) -> Estimate:
            poses = client.estimate(picture, Options(bbox_threshold=BBOX_THRESHOLD))
            return Estimate(poses.bboxes, poses.bbox_scores, poses.keypoints, poses.keypoint_scores)

        result = measure(estimate, GATE[:scenes], out)
    return {
        "average_precision": {part: round(result.average_precision[part], 4) for part in PARTS},
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


def as_table(record: dict[str, Any]) -> str:
    """Return the numbers as a Markdown table, one profile a row."""
    head = ["profile", *PARTS, "found", "mean error, pixels"]
    rows = []
    for profile, row in record.items():
        precision = (f"{row['average_precision'][part]:.4f}" for part in PARTS)
        rows.append([profile, *precision, f"{row['found']} of {row['people']}", f"{row['mean_error_px']:.2f}"])
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [head, ["---"] * len(head), *rows])


@contextmanager
def _client(repository: Path, profile: str) -> Iterator[PoseClient]:
    with tempfile.TemporaryDirectory() as folder:
        options = ServerOptions(repository, profile, grpc_port=free_port())
        with running_server(options, log=Path(folder) / "server.log") as server:
            with PoseClient(server.grpc_url, timeout_s=60) as client:
                yield client


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m demo.accuracy", description=__doc__)
    parser.add_argument("--profiles", nargs="+", default=PROFILES)
    parser.add_argument("--out", type=Path, default=Path("out/accuracy"), help="histogram and worst cases, by profile")
    options = parser.parse_args(argv)
    pose, detector = default_weights()
    shutil.rmtree(options.out, ignore_errors=True)  # the worst cases of an earlier run would stand among these
    build_repository([pose], detector, options.out / "model_repository")
    record = {
        profile: measure_profile(options.out / "model_repository", profile, out=options.out / profile)
        for profile in options.profiles
    }
    RECORD.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(as_table(record))
    return 0


if __name__ == "__main__":
    sys.exit(main())
