"""`python -m benchmarks compare`: our server, the usual loop, the usual service and the floor, in one interleaved run.

Every round measures each contender and the floor once, so that other load on the machine affects all alike. Ratios are
those of medians over the rounds.
"""

import argparse
import contextlib
import json
import math
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks import floor, results, subject
from benchmarks.closed_loop import Call, Load, drive
from benchmarks.subject import Subject, pose_calls
from benchmarks.usual import UsualPipeline
from ensemble.tensors import CROPS, LETTERBOXED
from ensemble.triton.model import Model
from ensemble.triton.profiles import PROFILES
from export.__main__ import main as export
from export.repository import build_repository
from server.process import free_port
from server.usage import CommandLine, input_path

LOOP, SERVICE = "usual loop", "usual service"
_FLOAT = "ONNX Runtime"
_THROUGHPUT = ("cpu", "cpu-openvino", "cpu-bf16", "cpu-int8")
_LATENCY = ("cpu-latency", "cpu-bf16-latency", "cpu-int8-latency")
_CONTENDERS = (
    *(f"{profile}:16" for profile in _THROUGHPUT),
    "cpu-bf16:1",
    *(f"{profile}:1" for profile in _LATENCY),
)


@dataclass
class Contender:
    """One system in the comparison, and its results.

    Attributes:
        name: name in the result file.
        make_call: makes one caller.
        callers: number of callers.
        floor: name of its floor, the same as that of other contenders with the same networks and runtime.
        loads: results, one for each round.
    """

    name: str
    make_call: Callable[[], Call]
    callers: int
    floor: str = _FLOAT
    loads: list[Load] = field(default_factory=list)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write the result file, print the table."""
    options = _parse(argv)
    with subject.prepared(options) as measured, contextlib.ExitStack() as stack:
        is_asked = any("int8" in contender for contender in options.contenders)
        eight_bits = _in_eight_bits(measured, options.int8) if is_asked else measured
        usual = UsualPipeline(measured.pose, measured.detector, os.cpu_count() or 1)
        contenders = [Contender(LOOP, lambda: lambda picture: len(usual(picture)[0]), 1)]
        contenders += [stack.enter_context(_usual_service(measured, options.service_callers))]
        floors = {_FLOAT: _floor(measured, usual)}
        for profile, callers in (contender.split(":") for contender in options.contenders):
            served = eight_bits if "int8" in profile else measured
            contenders += [stack.enter_context(_our_server(served, profile, int(callers)))]
            if contenders[-1].floor not in floors:
                floors[contenders[-1].floor] = _floor(served, usual, profile)
        floor_rounds = _rounds(contenders, floors, measured.pictures, options)
    result = {**measured.about, "rounds": options.rounds, "requests": options.requests}
    result |= {"floors": {name: _floor_summary(floors[name], each) for name, each in floor_rounds.items()}}
    rates = {name: each["pictures_per_s"] for name, each in result["floors"].items()}
    result |= {"contenders": {each.name: _summary(each, rates[each.floor]) for each in contenders}}
    results.write(options.output, result, profile=", ".join(options.contenders))
    print(as_table(result))
    return 0


def as_table(result: dict[str, Any]) -> str:
    """Return a result as a Markdown table."""
    head = ["contender", "callers", "pictures/s", "people", "p50 ms", "p99 ms", "share of the floor", "times the loop"]
    loop = result["contenders"][LOOP]["pictures_per_s"]
    columns = ("callers", "pictures_per_s", "people", "p50_ms", "p99_ms", "share_of_floor")
    rows = [
        [name, *(row[column] for column in columns), row["pictures_per_s"] / loop]
        for name, row in result["contenders"].items()
    ]
    return results.as_table(head, rows)


def _rounds(
    contenders: Sequence[Contender],
    floors: Mapping[str, floor.Floor],
    pictures: list[bytes],
    options: argparse.Namespace,
) -> dict[str, list[dict[str, float]]]:
    """Measure everything once a round, in a changing order, after a round of warm-up. Return the floors' rounds."""
    floor_rounds: dict[str, list[dict[str, float]]] = {runtime: [] for runtime in floors}
    for number in range(options.rounds + 1):
        first = number % len(contenders)
        for contender in (*contenders[first:], *contenders[:first]):
            requests = max(options.requests, 2 * contender.callers)
            ramp = len(pictures) * math.ceil(contender.callers / len(pictures))  # every picture equally often
            load = drive(contender.make_call, pictures, contender.callers, requests, ramp)
            contender.loads += [load] if number else []
        for runtime, least in floors.items() if number else ():
            floor_rounds[runtime].append(least.measure())
    return floor_rounds


def _summary(contender: Contender, floor_rate: float) -> dict[str, Any]:
    rate = median(load.pictures_per_s for load in contender.loads)
    everything = [seconds for load in contender.loads for seconds in load.latencies_s]
    return {
        "callers": contender.callers,
        "pictures_per_s": rate,
        "people": contender.loads[0].people_per_picture,
        "p50_ms": median(load.percentile_ms(50) for load in contender.loads),
        "p99_ms": float(np.percentile(everything, 99) * 1000),
        "share_of_floor": rate / floor_rate,
        "rounds": [round(load.pictures_per_s, 2) for load in contender.loads],
    }


def _floor(measured: Subject, usual: UsualPipeline, profile: str = "cpu") -> floor.Floor:
    """Return the floor of a profile: its files, with its runtimes."""
    crops = floor.crops_of(measured.pictures, [usual(encoded)[0] for encoded in measured.pictures], usual.crop_size)
    rows = {
        measured.network: {CROPS.name: crops},
        "detector": {LETTERBOXED.name: floor.letterboxed(measured.pictures, usual.size)},
    }
    pose, detector = (
        floor.NetworkFloor(measured.repository / name / "1" / "model.onnx", each, _runtime(measured, profile, name))
        for name, each in rows.items()
    )
    return floor.Floor(pose, detector, measured.pictures, len(crops))


def _floor_summary(least: floor.Floor, rounds: list[dict[str, float]]) -> dict[str, Any]:
    medians: dict[str, Any] = {name: median(each[name] for each in rounds) for name in rounds[0]}
    return medians | {"pose_layout": str(least.pose.layout), "detector_layout": str(least.detector.layout)}


def _runtime(measured: Subject, profile: str, name: str) -> str:
    """Return a network's runtime in a profile; see `floor.NetworkFloor`."""
    network = next(each for each in measured.models if isinstance(each, Model) and each.name == name)
    changed = PROFILES[profile](network)
    if changed.instances.kind == "KIND_GPU":
        return floor.CUDA
    return changed.cpu_accelerator.parameters["precision"] if changed.cpu_accelerator else ""


def _floor_name(measured: Subject, profile: str) -> str:
    return "INT8" if "int8" in profile else _runtime(measured, profile, measured.network) or _FLOAT


def _in_eight_bits(measured: Subject, files: Sequence[Path]) -> Subject:
    """Return the subject with these eight-bit networks, or with its own ones, quantised with its pictures.

    The latter are for speed only: what the pose network loses is not asked.
    """
    folder = measured.folder / "int8"
    pose, detector = files or _quantised(measured, folder)
    models = build_repository([pose], detector, folder / "repository")
    return replace(measured, pose=pose, detector=detector, folder=folder, models=models)


def _quantised(measured: Subject, folder: Path) -> Sequence[Path]:
    pictures, outputs = folder / "pictures", [folder / path.name for path in (measured.pose, measured.detector)]
    pictures.mkdir(parents=True)
    for number, picture in enumerate(measured.pictures):
        (pictures / f"{number}.jpg").write_bytes(picture)
    detector = ["--detector", str(measured.detector)]
    pose = ["--pose", str(measured.pose), *detector, "--may-lose", "1"]  # the weights may be constructed ones
    for output, networks in zip(outputs, (pose, detector), strict=True):
        if export(["quantize", *networks, "--pictures", str(pictures), "--output", str(output)]):
            raise RuntimeError(f"{networks[1]} cannot be quantised with these pictures; name files with --int8")
    return outputs


@contextlib.contextmanager
def _usual_service(measured: Subject, callers: int) -> Iterator[Contender]:
    port, threads = free_port(), os.cpu_count() or 1
    command = [sys.executable, "-m", "benchmarks.usual_service", str(measured.pose), str(measured.detector)]
    process = subprocess.Popen([*command, str(threads), str(port)], cwd=subject.CHECKOUT)
    url = f"http://127.0.0.1:{port}"

    def call(picture: bytes) -> int:
        request = urllib.request.Request(f"{url}/pose", picture, {"Content-Type": "application/octet-stream"})
        with urllib.request.urlopen(request, timeout=120) as answer:
            return len(json.load(answer)["bboxes"])

    try:
        _wait_for(f"{url}/openapi.json", process)
        yield Contender(SERVICE, lambda: call, callers)
    finally:
        process.kill()  # SIGTERM would make it wait for its connections
        process.wait()


@contextlib.contextmanager
def _our_server(measured: Subject, profile: str, callers: int) -> Iterator[Contender]:
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(measured.serve(profile))
        make_call = pose_calls(stack, server.grpc_url)
        yield Contender(f"{profile}, {callers} callers", make_call, callers, _floor_name(measured, profile))


def _wait_for(url: str, process: "subprocess.Popen[bytes]", timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5):
            return
        time.sleep(0.1)
    raise RuntimeError(f"the usual service does not answer at {url}")


def _contender(text: str) -> str:
    profile, _, callers = text.partition(":")
    if profile not in PROFILES or not callers.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not PROFILE:CALLERS with a profile of {', '.join(PROFILES)}")
    return text


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandLine(prog="python -m benchmarks compare", description=__doc__)
    subject.add_options(parser)
    parser.add_argument("--contenders", type=_contender, nargs="+", default=_CONTENDERS, metavar="PROFILE:CALLERS")
    parser.add_argument(
        "--int8",
        type=input_path,
        nargs=2,
        default=(),
        metavar=("POSE", "DETECTOR"),
        help="files of `export quantize` for the profiles of eight bits (default: made here, for speed only)",
    )
    parser.add_argument("--service-callers", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=64, help="requests per contender and round")
    results.add_output(parser, "compare")
    return parser.parse_args(argv)
