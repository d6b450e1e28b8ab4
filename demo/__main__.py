"""`python -m demo`: ONNX files -> repository -> tritonserver -> pictures through gRPC -> drawn people and JSON.

Without pictures, it renders three scenes, the last one without people, and compares the answers with the truth. With a
lifter, it also draws the people in 3-D.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cigpose_client.__main__ import main as cigpose_client
from cigpose_client.outputs import claim_folder

from demo.scenes import compare, write_scenes
from ensemble.triton.profiles import PROFILES
from export.repository import build_repository
from server.process import ServerOptions, free_port, running_server
from server.usage import CommandLine, command, input_path, output_path
from synthetic.scene import Scene

_ENTRIES = ("model_repository", "scenes", "server.log", "pictures", "pictures_3d", "people.json")  # of --out


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo and report the result."""
    options = _parse(argv)
    lifters = [options.lifter] if options.lifter else []
    networks = [options.pose, options.detector, *lifters]
    for path in (*networks, *options.pictures):
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such file")
    print(f"runs on {', '.join(path.name for path in networks)}")
    claim_folder(options.out, _ENTRIES)
    build_repository([options.pose], options.detector, options.out / "model_repository", lifter_files=lifters)
    scenes = [] if options.pictures else write_scenes(options.out / "scenes")
    pictures = options.pictures or sorted((options.out / "scenes").glob("*.jpg"))
    server = ServerOptions(options.out / "model_repository", options.profile, grpc_port=free_port())
    with running_server(server, log=options.out / "server.log") as running:
        code = _call(running.grpc_url, pictures, options.out, bool(lifters))
    if code == 0:
        _report(options.out, pictures, scenes)
    return code


def _call(url: str, pictures: Sequence[Path], out: Path, lifted: bool) -> int:
    """Run what a user would type: `cigpose-client image PICTURE... --json FILE --output FOLDER/`."""
    arguments = ["image", *map(str, pictures), "--url", url, "--json", str(out / "people.json")]
    arguments += ["--output", f"{out / 'pictures'}/"]
    if lifted:
        arguments += ["--model", "pose_3d", "--plot-3d", f"{out / 'pictures_3d'}/"]
    return cigpose_client(arguments)


def _report(out: Path, pictures: Sequence[Path], scenes: Sequence[Scene]) -> None:
    answers: list[dict[str, Any]] = json.loads((out / "people.json").read_text(encoding="utf-8"))
    for picture, answer in zip(pictures, answers, strict=True):
        print(f"{picture.name}: {len(answer['people'])} people found")
    if scenes:
        print(compare(answers, scenes))
    drawings = [str(path) for path in (out / "pictures", out / "pictures_3d") if path.is_dir()]
    print(f"see {', '.join(drawings)} and {out / 'people.json'}")


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandLine(prog="python -m demo", description=__doc__)
    parser.add_argument("--pose", type=input_path, required=True, help="pose network (ONNX)")
    parser.add_argument("--detector", type=input_path, required=True, help="person detector (ONNX)")
    parser.add_argument("--lifter", type=input_path, help="lifter (ONNX) of the pose network's keypoints to 3-D")
    parser.add_argument("--profile", choices=PROFILES, default="cpu", help="machine profile (default: cpu)")
    parser.add_argument("--out", type=output_path, default=Path("out/demo"), help="folder (default: out/demo)")
    parser.add_argument("pictures", type=input_path, nargs="*", help="JPEG, PNG, WebP or BMP files")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
