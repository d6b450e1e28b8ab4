"""`python -m demo`: ONNX files -> repository -> tritonserver -> pictures through gRPC -> drawn people and JSON.

Without pictures, it renders three scenes, the last one without people, and compares the answers with the truth.
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

_ENTRIES = ("model_repository", "scenes", "server.log", "pictures", "people.json")  # of --out


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo and report the result."""
    options = _parse(argv)
    for path in (options.pose, options.detector, *options.pictures):
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such file")
    print(f"runs on {options.pose.name} and {options.detector.name}")
    claim_folder(options.out, _ENTRIES)
    build_repository([options.pose], options.detector, options.out / "model_repository")
    scenes = [] if options.pictures else write_scenes(options.out / "scenes")
    pictures = options.pictures or sorted((options.out / "scenes").glob("*.jpg"))
    server = ServerOptions(options.out / "model_repository", options.profile, grpc_port=free_port())
    with running_server(server, log=options.out / "server.log") as running:
        code = _call(running.grpc_url, pictures, options.out)
    if code == 0:
        _report(options.out, pictures, scenes)
    return code


def _call(url: str, pictures: Sequence[Path], out: Path) -> int:
    """Run what a user would type: `cigpose-client image PICTURE... --json FILE --output FOLDER`."""
    (out / "pictures").mkdir()
    arguments = ["image", *map(str, pictures), "--url", url, "--json", str(out / "people.json")]
    target = out / "pictures" if len(pictures) > 1 else out / "pictures" / pictures[0].name
    return cigpose_client([*arguments, "--output", str(target)])


def _report(out: Path, pictures: Sequence[Path], scenes: Sequence[Scene]) -> None:
    answers: list[dict[str, Any]] = json.loads((out / "people.json").read_text(encoding="utf-8"))
    for picture, answer in zip(pictures, answers, strict=True):
        print(f"{picture.name}: {len(answer['people'])} people found")
    if scenes:
        print(compare(answers, scenes))
    print(f"see {out / 'pictures'} and {out / 'people.json'}")


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandLine(prog="python -m demo", description=__doc__)
    parser.add_argument("--pose", type=input_path, required=True, help="pose network (ONNX)")
    parser.add_argument("--detector", type=input_path, required=True, help="person detector (ONNX)")
    parser.add_argument("--profile", choices=PROFILES, default="cpu", help="machine profile (default: cpu)")
    parser.add_argument("--out", type=output_path, default=Path("out/demo"), help="folder (default: out/demo)")
    parser.add_argument("pictures", type=input_path, nargs="*", help="JPEG, PNG, WebP or BMP files")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
