"""`python -m benchmarks load SCENARIO...`: load tests in the terminal, with result files and a verdict as exit code.

Without `--url`, it starts a server with the trained demo weights, which find the people in the rendered pictures. For
each scenario, it first measures the sustainable rate of the mix; the scenario's rates are shares of that rate.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks import counters, results, samples, subject
from benchmarks.closed_loop import drive
from benchmarks.scenario import Pictures, Scenario, scenarios
from benchmarks.subject import BUILT, CHECKOUT, pose_calls
from ensemble.triton.profiles import PROFILES
from server.control import Control
from server.usage import CommandLine, output_path
from synthetic.accuracy import default_weights

_PROBES, _PROBE_CALLERS = 160, 16


def main(argv: Sequence[str] | None = None) -> int:
    """Run the scenarios; return 0 when all stayed within their limits."""
    options = _parse(argv)
    exceeded = []
    with _server(options) as (url, control):
        for name in options.scenarios or scenarios():
            result = _run(scenarios()[name], url, control, options.raw)
            results.write(options.output / f"load-{name}.json", result, profile=options.profile)
            verdict = result["verdict"]
            print(f"{name}: {result['requests']} requests, p99 {result['p99_ms']} ms: {'; '.join(verdict) or 'passed'}")
            exceeded += verdict
    return int(bool(exceeded))


def _run(scenario: Scenario, url: str, control: Control | None, raw: Path) -> dict[str, Any]:
    raw.mkdir(parents=True, exist_ok=True)
    rate = 0.0 if scenario.callers else _sustained(scenario, url)
    before = counters.read(control) if control else {}
    _run_locust(scenario, url, rate, raw / scenario.name)
    counted = counters.since(before, counters.read(control)) if control else {}
    summary = samples.summary(samples.read(raw / f"{scenario.name}.samples.json"))
    result = {
        "scenario": scenario.name,
        "about": scenario.about,
        "sustained_per_s": rate,
        **summary,
        "limits": dict(scenario.limits),
        "verdict": scenario.verdict(summary),
        "stages": {
            name: {"queue_ms": each.queue_ms / each.requests, "compute_ms": each.ms_per_execution}
            for name, each in counted.items()
            if each.executions  # not for ensembles
        },
    }
    without_nan: dict[str, Any] = json.loads(json.dumps(result), parse_constant=lambda _: None)  # JSON has no NaN
    return without_nan


def _sustained(scenario: Scenario, url: str) -> float:
    """Return the pictures per second of a closed loop with the scenario's mix."""
    drawn = Pictures(scenario)
    pictures = [picture.encoded for picture in (drawn.draw() for _ in range(2 * _PROBES)) if not picture.corrupt]
    with contextlib.ExitStack() as stack:
        make_call = pose_calls(stack, url)
        drive(make_call, pictures, _PROBE_CALLERS, _PROBE_CALLERS)
        return drive(make_call, pictures, _PROBE_CALLERS, _PROBES).pictures_per_s


def _run_locust(scenario: Scenario, url: str, sustained_per_s: float, prefix: Path) -> None:
    """Run locust in a separate process, because it patches the standard library for gevent."""
    users = scenario.callers or 1
    command = [sys.executable, "-m", "locust", "-f", "benchmarks/locustfile.py", "--headless", "--host", url]
    command += ["--users", str(users), "--spawn-rate", str(users), "--csv", str(prefix), "--csv-full-history"]
    command += ["--html", f"{prefix}.html", "--only-summary", "--loglevel", "WARNING"]
    if scenario.callers:
        command += ["--run-time", f"{scenario.duration_s:.0f}s"]
    settings = {"SCENARIO": scenario.name, "SUSTAINED": str(sustained_per_s), "SAMPLES": f"{prefix}.samples.json"}
    finished = subprocess.run(command, cwd=CHECKOUT, env={**os.environ, **settings}, check=False, capture_output=True)
    if finished.returncode not in (0, 1):  # 1: some request failed, which the verdict judges
        raise RuntimeError(f"locust ended with {finished.returncode}")


@contextlib.contextmanager
def _server(options: argparse.Namespace) -> Iterator[tuple[str, Control | None]]:
    if options.url:
        yield options.url, None
        return
    with subject.prepared(options) as measured, measured.serve(options.profile) as server:
        yield server.grpc_url, server.control


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandLine(prog="python -m benchmarks load", description=__doc__)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"default: all of {', '.join(scenarios())}")
    parser.add_argument(
        "--url", default="", help="address of a running server (default: start one with the committed weights)"
    )
    parser.add_argument("--profile", default="cpu", choices=PROFILES)
    parser.add_argument(
        "--output", type=output_path, default=results.FOLDER, help="folder for JSON (default: %(default)s)"
    )
    parser.add_argument(
        "--raw", type=output_path, default=BUILT / "load", help="folder for locust's CSV and HTML files"
    )
    subject.add_options(parser)
    pose, detector = default_weights()
    parser.set_defaults(pose=pose, detector=detector)
    options = parser.parse_args(argv)
    if unknown := sorted({*options.scenarios} - scenarios().keys()):
        parser.error(f"unknown scenario {', '.join(unknown)}; known: {', '.join(scenarios())}")
    return options
