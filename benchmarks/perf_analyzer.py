"""`python -m benchmarks perf-analyzer`: Triton's own load generator on our server, so that others can check us with it.

Takes `perf_analyzer` from PATH (NVIDIA's SDK image), else from the wheel of tritonclient 2.51.0, and writes its input
file and its command beside what it reports. It asks the server for statistics, which ours closes to callers without
the key of the run; so this command starts a server and hands the key over. `--url` aims at a server that leaves them
open.
"""

import argparse
import base64
import contextlib
import csv
import json
import os
import shlex
import shutil
import struct
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cigpose_client.outputs import write_file

from benchmarks import results, subject
from benchmarks.subject import BUILT
from ensemble.triton.profiles import PROFILES
from server.installation import find_installation
from server.usage import CommandLine, output_path

_WHEEL = "tritonclient==2.51.0"  # the last one with the program inside
_LIBRARIES = {"libb64.so.0d": "libb64-*.so*", "libcudart.so.12": "libcudart-*.so*"}  # it wants these; the wheel's names


def main(argv: Sequence[str] | None = None) -> int:
    """Run it, write the result file, print the table."""
    parser = CommandLine(prog="python -m benchmarks perf-analyzer", description=__doc__)
    subject.add_options(parser)
    parser.add_argument("--url", default="", help="of a running server (default: start one)")
    parser.add_argument("--model", default="pose")
    parser.add_argument("--profile", default="cpu", choices=PROFILES)
    parser.add_argument("--callers", type=int, nargs="+", default=(1, 4, 16))
    parser.add_argument("--requests", type=int, default=200, help="for each number of callers")
    parser.add_argument(
        "--folder", type=output_path, default=BUILT / "perf_analyzer", help="for the program and its files"
    )
    results.add_output(parser, "perf_analyzer")
    options = parser.parse_args(argv)
    program, environment = find_program(options.folder)
    rows = []
    with subject.prepared(options) as measured, _server(options, measured) as (url, headers):
        inputs = options.folder / "input.json"
        write_file(inputs, json.dumps(input_data(measured.pictures)))
        for callers in options.callers:
            report = options.folder / f"callers-{callers}.csv"
            arguments = command(options.model, url, inputs, report, callers, options.requests)
            print(shlex.join(["perf_analyzer", *arguments]), flush=True)
            keys = [part for name, value in headers.items() for part in ("-H", f"{name}:{value}")]
            _run([program, *arguments, *keys], environment)
            rows.append({"callers": callers, **read_report(report)})
    shown = shlex.join(
        ["perf_analyzer", *command(options.model, "localhost:8001", Path("input.json"), Path("report.csv"), 16)]
    )
    results.write(options.output, {**measured.about, "command": shown, "rows": rows}, profile=options.profile)
    print(as_table({"rows": rows}))
    return 0


def input_data(pictures: Sequence[bytes]) -> dict[str, Any]:
    """Return perf_analyzer's input file: one entry a picture, sent in turn.

    It sends what `b64` decodes to as it is, so the length that goes before each string on the wire must be in it.
    """
    strings = [struct.pack("<I", len(encoded)) + encoded for encoded in pictures]
    return {"data": [{"image": {"b64": base64.b64encode(string).decode(), "shape": [1]}} for string in strings]}


def command(model: str, url: str, inputs: Path, report: Path, callers: int, requests: int = 200) -> list[str]:
    """Return the arguments of one run of a closed loop."""
    return [
        *("-m", model, "-u", url, "-i", "grpc"),
        *("--input-data", str(inputs), "--concurrency-range", str(callers)),
        *("--request-count", str(requests), "--warmup-request-count", str(2 * callers)),
        *("--percentile", "99", "-f", str(report)),
    ]


def read_report(path: Path) -> dict[str, float]:
    """Return what perf_analyzer's CSV says of the callers."""
    with path.open(encoding="utf-8", newline="") as file:
        row = next(csv.DictReader(file))
    times = {f"p{it}_ms": float(row[f"p{it} latency"]) / 1000 for it in (50, 95, 99)}
    return {"pictures_per_s": float(row["Inferences/Second"]), **times}


def as_table(result: dict[str, Any]) -> str:
    """Return a result as a Markdown table."""
    columns = ("callers", "pictures_per_s", "p50_ms", "p95_ms", "p99_ms")
    head = ["callers", "pictures/s", "p50 ms", "p95 ms", "p99 ms"]
    return results.as_table(head, [[row[column] for column in columns] for row in result["rows"]])


def find_program(folder: Path) -> tuple[str, dict[str, str]]:
    """Return perf_analyzer and its environment; taken out of the wheel when it is not on PATH.

    Raises:
        ValueError: the libraries that it needs are not in the server's wheel.
    """
    if found := shutil.which("perf_analyzer"):
        return found, dict(os.environ)
    program, libraries = folder / "perf_analyzer", folder / "lib"
    if not program.exists():
        _unpack(program)
    wheel = find_installation().wheel
    bundled = wheel.parents[1] / "nvidia_pytriton.libs" if wheel else folder
    libraries.mkdir(parents=True, exist_ok=True)
    for name, pattern in _LIBRARIES.items():
        matches = sorted(bundled.glob(pattern))
        if not matches:
            raise ValueError(f"perf_analyzer needs {name}, and {bundled} has none; run it from NVIDIA's SDK image")
        shutil.copyfile(matches[0], libraries / name)
    paths = [str(libraries), str(bundled), os.environ.get("LD_LIBRARY_PATH", "")]
    return str(program), {**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(filter(None, paths))}


def _run(command: list[str], environment: dict[str, str]) -> None:
    finished = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    if finished.returncode:  # the command is not told: it holds the key
        raise RuntimeError(f"perf_analyzer ended with {finished.returncode}: {finished.stdout}{finished.stderr}")


def _unpack(program: Path) -> None:
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([*pip, "--platform", "manylinux1_x86_64", "--dest", folder, _WHEEL], check=True)
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            (name,) = (it for it in archive.namelist() if it.endswith("/bin/perf_analyzer"))
            write_file(program, archive.read(name))
    program.chmod(0o755)


@contextlib.contextmanager
def _server(options: argparse.Namespace, measured: subject.Subject) -> Iterator[tuple[str, dict[str, str]]]:
    if options.url:
        yield options.url, {}
        return
    with measured.serve(options.profile) as server:
        yield server.grpc_url, server.control.headers


if __name__ == "__main__":
    sys.exit(main())
