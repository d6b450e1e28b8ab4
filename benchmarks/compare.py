"""`python -m benchmarks.compare`: our server, the usual loop, the usual service and the floor, in one interleaved run.

Every round measures each contender once, so that a busy neighbour slows all of them; ratios are of medians over rounds.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from cigpose_client import PoseClient

from benchmarks import floor
from benchmarks.closed_loop import Call, Load, drive
from benchmarks.machine import describe
from benchmarks.usual import UsualPipeline
from demo.accuracy import default_weights
from demo.scene import render_scene
from demo.seeds import DEMO
from export.repository import build_repository
from server.process import ServerOptions, free_port, running_server

RESULTS = Path(__file__).parent / "results"
Contender = tuple[str, Callable[[], Call], int]  # name, maker of callers, how many of them


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write the result file, print the table."""
    options = _parse(argv)
    pictures = [path.read_bytes() for path in options.pictures] or [render_scene(DEMO[seed]).jpeg for seed in range(4)]
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        repository = Path(folder) / "repository"
        models = build_repository([options.pose], options.detector, repository)
        contenders: list[Contender] = [_usual_loop(options.pose, options.detector)]
        contenders += [stack.enter_context(_usual_service(options.pose, options.detector, options.callers))]
        for profile in options.profiles:
            contenders += stack.enter_context(_our_server(repository, profile, options.callers))
        rounds = _rounds(contenders, pictures, options.rounds, options.requests)
        network = next(model.name for model in models if model.name == options.pose.stem)
        least = _floor(repository, network, pictures, UsualPipeline(options.pose, options.detector, 2))
    result = {"machine": describe(), "pose": options.pose.name, "detector": options.detector.name}
    result |= {"pictures": len(pictures), "rounds": options.rounds, "requests": options.requests}
    result |= {"floor": least, "contenders": _summary(rounds, least["pictures_per_s"])}
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(as_table(result))
    return 0


def as_table(result: dict[str, Any]) -> str:
    """Return a result as a Markdown table."""
    head = ["contender", "callers", "pictures/s", "p50 ms", "p99 ms", "share of the floor", "times the usual loop"]
    loop = result["contenders"]["usual loop"]["pictures_per_s"]
    rows = []
    for name, row in result["contenders"].items():
        numbers = (row["pictures_per_s"], row["p50_ms"], row["p99_ms"])
        ratios = (row["share_of_floor"], row["pictures_per_s"] / loop)
        rows.append([name, row["callers"], *(f"{n:.1f}" for n in numbers), *(f"{ratio:.2f}" for ratio in ratios)])
    return "\n".join("| " + " | ".join(map(str, cells)) + " |" for cells in [head, ["---"] * len(head), *rows])


def _rounds(
    contenders: Sequence[Contender], pictures: Sequence[bytes], rounds: int, requests: int
) -> dict[str, tuple[int, list[Load]]]:
    """Measure every contender once a round, in an order that changes from round to round; a first round warms up."""
    loads: dict[str, tuple[int, list[Load]]] = {name: (callers, []) for name, _, callers in contenders}
    for number in range(rounds + 1):
        for name, make_call, callers in (
            *contenders[number % len(contenders) :],
            *contenders[: number % len(contenders)],
        ):
            load = drive(make_call, pictures, callers, max(requests, 2 * callers))
            if number:
                loads[name][1].append(load)
    return loads


def _summary(rounds: dict[str, tuple[int, list[Load]]], floor_rate: float) -> dict[str, Any]:
    summary = {}
    for name, (callers, loads) in rounds.items():
        rate = median(load.pictures_per_s for load in loads)
        summary[name] = {
            "callers": callers,
            "pictures_per_s": rate,
            "people": loads[0].people,
            "p50_ms": median(load.percentile_ms(50) for load in loads),
            "p99_ms": median(load.percentile_ms(99) for load in loads),
            "share_of_floor": rate / floor_rate,
        }
    return summary


def _floor(repository: Path, network: str, pictures: list[bytes], usual: UsualPipeline) -> dict[str, Any]:
    pose, detector = (repository / name / "1" / "model.onnx" for name in (network, "detector"))
    crops = floor.crops_of(pictures, [usual(encoded)[0] for encoded in pictures], usual.crop_size)
    per_picture, detector_layout = floor.seconds_per_row(detector, floor.letterboxed(pictures, usual.size))
    per_person, pose_layout = floor.seconds_per_row(pose, crops)
    decode = floor.decode_seconds(pictures)
    people = len(crops) / len(pictures)
    seconds = per_picture + per_person * people + decode / (os.cpu_count() or 1)
    return {
        "pictures_per_s": 1 / seconds,
        "people_per_picture": people,
        "detector_ms": per_picture * 1000,
        "detector_layout": detector_layout,
        "pose_ms_per_person": per_person * 1000,
        "pose_layout": pose_layout,
        "decode_ms": decode * 1000,
    }


def _usual_loop(pose: Path, detector: Path) -> Contender:
    pipeline = UsualPipeline(pose, detector, os.cpu_count() or 1)
    return "usual loop", lambda: lambda picture: len(pipeline(picture)[0]), 1


@contextlib.contextmanager
def _usual_service(pose: Path, detector: Path, callers: int) -> Iterator[Contender]:
    port, threads = free_port(), os.cpu_count() or 1
    command = [sys.executable, "-m", "benchmarks.usual_service", str(pose), str(detector), str(threads), str(port)]
    process = subprocess.Popen(command)
    url = f"http://127.0.0.1:{port}"

    def call(picture: bytes) -> int:
        request = urllib.request.Request(f"{url}/pose", picture, {"Content-Type": "application/octet-stream"})
        with urllib.request.urlopen(request, timeout=120) as answer:
            return len(json.load(answer)["bboxes"])

    try:
        _wait_for(f"{url}/openapi.json", process)
        yield "usual service", lambda: call, callers
    finally:
        process.kill()  # it holds nothing, and asked politely it waits for its connections
        process.wait()


@contextlib.contextmanager
def _our_server(repository: Path, profile: str, callers: int) -> Iterator[list[Contender]]:
    options = ServerOptions(repository, profile, grpc_port=free_port())
    with contextlib.ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
        server = stack.enter_context(running_server(options, log=Path(folder) / "server.log"))

        def make_call() -> Call:
            client = stack.enter_context(PoseClient(server.grpc_url, timeout_s=120))
            return lambda picture: len(client.estimate(picture).bboxes)

        yield [(f"{profile}, {count} callers", make_call, count) for count in sorted({1, callers})]


def _wait_for(url: str, process: "subprocess.Popen[bytes]", timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5):
            return
        time.sleep(0.1)
    raise RuntimeError(f"the usual service does not answer at {url}")


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    pose, detector = default_weights()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__)
    parser.add_argument("--pose", type=Path, default=pose, help="default: the committed weights")
    parser.add_argument("--detector", type=Path, default=detector)
    parser.add_argument("--profiles", nargs="+", default=["cpu", "cpu-bf16"])
    parser.add_argument("--callers", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=64, help="a contender and round")
    parser.add_argument("--output", type=Path, default=RESULTS / "compare.json")
    parser.add_argument("pictures", type=Path, nargs="*", help="default: four rendered scenes")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
