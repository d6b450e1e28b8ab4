"""`python -m benchmarks.load SCENARIO`: a load test without a page; result files and a verdict as exit code.

Starts a server on the committed weights unless `--url` says where one is.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.machine import describe
from benchmarks.scenario import Scenario, scenarios
from demo.accuracy import default_weights
from export.repository import build_repository
from server.process import ServerOptions, free_port, running_server

_CHECKOUT = Path(__file__).parents[1]
_RESULTS = Path(__file__).parent / "results"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one scenario; 0 when it stayed within its limits."""
    options = _parse(argv)
    scenario = scenarios()[options.scenario]
    options.output.mkdir(parents=True, exist_ok=True)
    prefix = options.output / f"load-{scenario.name}"
    with _server(options.url, options.profile) as url:
        _run_locust(scenario, url, prefix)
    result = {"machine": describe(), "scenario": scenario.name, "profile": options.profile, **_read(prefix)}
    exceeded = scenario.verdict(result["p99_ms"], result["failed_share"])
    result["verdict"] = exceeded or "within its limits"
    prefix.with_suffix(".json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(
        json.dumps({key: result[key] for key in ("requests", "p50_ms", "p95_ms", "p99_ms", "failed_share", "verdict")})
    )
    return 1 if exceeded else 0


def _run_locust(scenario: Scenario, url: str, prefix: Path) -> None:
    """Locust patches the standard library for gevent, so it gets a process of its own."""
    users = scenario.callers or 1
    command = [sys.executable, "-m", "locust", "-f", "benchmarks/locustfile.py", "--headless", "--host", url]
    command += ["--users", str(users), "--spawn-rate", str(users), "--csv", str(prefix), "--html", f"{prefix}.html"]
    command += ["--json-file", str(prefix.with_suffix(".locust"))]
    if scenario.callers:
        command += ["--run-time", f"{scenario.duration_s:.0f}s"]
    environment = {**os.environ, "SCENARIO": scenario.name}
    subprocess.run(command, cwd=_CHECKOUT, env=environment, check=False)  # it exits with 1 when any request failed


def _read(prefix: Path) -> dict[str, Any]:
    rows = json.loads(Path(f"{prefix}.locust.json").read_text(encoding="utf-8"))
    times: dict[int, int] = {}
    for row in rows:
        for milliseconds, count in row["response_times"].items():
            times[round(float(milliseconds))] = times.get(round(float(milliseconds)), 0) + count
    requests = sum(row["num_requests"] for row in rows)
    failed = sum(row["num_failures"] for row in rows)
    percentiles = {f"p{percent}_ms": _percentile(times, percent) for percent in (50, 95, 99)}
    return {"requests": requests, "failed_share": failed / max(requests, 1), **percentiles}


def _percentile(times: dict[int, int], percent: float) -> int:
    remaining = sum(times.values()) * percent / 100
    for milliseconds in sorted(times):
        remaining -= times[milliseconds]
        if remaining <= 0:
            return milliseconds
    return 0


@contextlib.contextmanager
def _server(url: str, profile: str) -> Iterator[str]:
    if url:
        yield url
        return
    pose, detector = default_weights()
    with tempfile.TemporaryDirectory() as folder:
        build_repository([pose], detector, Path(folder) / "repository")
        options = ServerOptions(Path(folder) / "repository", profile, grpc_port=free_port())
        with running_server(options, log=Path(folder) / "server.log") as server:
            yield server.grpc_url


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__)
    parser.add_argument("scenario", choices=sorted(scenarios()))
    parser.add_argument("--url", default="", help="of a running server (default: start one on the committed weights)")
    parser.add_argument("--profile", default="cpu")
    parser.add_argument("--output", type=Path, default=_RESULTS, help="folder for CSV, JSON and HTML")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
