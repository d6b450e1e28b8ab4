"""`python -m benchmarks gateway`: HTTP through the gateway compared with gRPC, and the gateway alone.

Each round measures both ways on the same server, in changing order, and takes the ratio of their throughputs. The
gateway alone stands in front of a server that computes nothing: its processor time per picture is what one core can
carry.
"""

import contextlib
import http.client
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import IO, Any, cast

from benchmarks import results, subject
from benchmarks.closed_loop import Call, Load, drive
from benchmarks.subject import pose_calls
from ensemble.triton.profiles import PROFILES
from server.process import free_port
from server.usage import CommandLine

_TIMEOUT_S = 120


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write the result file, print the table."""
    parser = CommandLine(prog="python -m benchmarks gateway", description=__doc__)
    subject.add_options(parser)
    parser.add_argument("--profile", choices=PROFILES, default="cpu-bf16", help="default: %(default)s")
    parser.add_argument("--callers", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--requests", type=int, default=64, help="requests per way and round")
    parser.add_argument("--null-requests", type=int, default=2000, help="requests to the server that computes nothing")
    results.add_output(parser, "gateway")
    options = parser.parse_args(argv)
    with subject.prepared(options) as measured, measured.serve(options.profile) as server:
        pairs = _pairs(server.grpc_url, measured.pictures, options.callers, options.rounds, options.requests)
    result = {**_summary(pairs), **_alone(measured.pictures, options.callers, options.null_requests)}
    result = {"callers": options.callers, "requests": options.requests, **result}
    results.write(options.output, {**measured.about, **result}, profile=options.profile)
    print(as_table(result))
    return 0


def as_table(result: dict[str, Any]) -> str:
    """Return a result as a Markdown table."""
    columns = [name for name, value in result.items() if not isinstance(value, list)]
    return results.as_table(columns, [[result[name] for name in columns]])


def _pairs(url: str, pictures: list[bytes], callers: int, rounds: int, requests: int) -> list[tuple[Load, Load]]:
    """Return gRPC's and the gateway's load of each round, after a round of warm-up."""
    pairs = []
    with contextlib.ExitStack() as stack:
        _, port = stack.enter_context(_gateway(url))
        ways = pose_calls(stack, url), http_calls(stack, port)
        for number in range(rounds + 1):
            order = (0, 1) if number % 2 else (1, 0)
            loads = {way: drive(ways[way], pictures, callers, requests, callers) for way in order}
            pairs.append((loads[0], loads[1]))
    return pairs[1:]


def _summary(pairs: Sequence[tuple[Load, Load]]) -> dict[str, Any]:
    ratios = [http.pictures_per_s / grpc.pictures_per_s for grpc, http in pairs]
    ways = {"grpc": [grpc for grpc, _ in pairs], "gateway": [http for _, http in pairs]}
    return {
        **{f"{name}_pictures_per_s": median(load.pictures_per_s for load in loads) for name, loads in ways.items()},
        **{f"{name}_p50_ms": median(load.percentile_ms(50) for load in loads) for name, loads in ways.items()},
        "ratio": median(ratios),
        "ratios": [round(ratio, 3) for ratio in ratios],
        "people": pairs[0][1].people_per_picture,
    }


def _alone(pictures: list[bytes], callers: int, requests: int) -> dict[str, Any]:
    """Measure the gateway in front of a server that computes nothing."""
    with contextlib.ExitStack() as stack:
        null = stack.enter_context(_process("benchmarks.null_server"))
        process, port = stack.enter_context(_gateway(_line(null)))
        make_call = http_calls(stack, port)
        drive(make_call, pictures, callers, callers)
        before_s = _processor_s(process.pid)
        load = drive(make_call, pictures, callers, requests)
        spent_s = (_processor_s(process.pid) - before_s) / requests
    return {
        "alone_ms_of_processor_per_picture": 1000 * spent_s,
        "alone_pictures_per_s_and_core": 1 / spent_s,
        "alone_pictures_per_s": load.pictures_per_s,
        "alone_kilobytes_per_picture": sum(map(len, pictures)) / len(pictures) / 1000,
    }


def http_calls(stack: contextlib.ExitStack, port: int) -> Callable[[], Call]:
    """Return a function that makes callers of the gateway, each with its own connection until the stack ends."""

    def make() -> Call:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
        stack.callback(connection.close)

        def call(picture: bytes) -> int:
            connection.request("POST", f"/v1/poses?timeout_s={_TIMEOUT_S}", picture, {"Content-Type": "image/jpeg"})
            answer = connection.getresponse()
            content = answer.read()
            if answer.status != 200:
                raise RuntimeError(f"the gateway answered {answer.status}: {content.decode()[:300]}")
            return len(json.loads(content)["people"])

        return call

    return make


@contextlib.contextmanager
def _gateway(url: str) -> Iterator[tuple["subprocess.Popen[str]", int]]:
    port = free_port()
    arguments = ["--url", url, "--port", str(port), "--rate", "0", "--timeout", str(_TIMEOUT_S)]
    with _process("gateway", *arguments) as process:
        if "the page is on" not in _line(process):
            raise RuntimeError("the gateway does not start")
        yield process, port


@contextlib.contextmanager
def _process(module: str, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-m", module, *arguments]
    process = subprocess.Popen(command, cwd=subject.CHECKOUT, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()
        cast("IO[str]", process.stdout).close()


def _line(process: "subprocess.Popen[str]") -> str:
    return cast("IO[str]", process.stdout).readline().strip()


def _processor_s(pid: int) -> float:
    """Return the processor seconds of a process, user and system. Source: proc(5), /proc/pid/stat, fields 14 and 15."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
