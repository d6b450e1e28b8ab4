"""`python -m benchmarks capacity --rate 200 --people 3`: the replicas that a load needs, and the expected latency.

It uses the stage times that `python -m benchmarks stages` has measured. `--check` measures them again, and compares the
prediction with open-loop runs on this machine.

The model of a replica is one queue with a server for each core (or GPU). The demand of a picture is the processor time
of all its stages.
"""

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from cigpose_client import PoseClient

from benchmarks import results, stages, subject
from benchmarks.closed_loop import drive
from benchmarks.open_loop import play, poisson
from benchmarks.threshold import TARGET_LOAD, waiting_ms
from ensemble.triton.profiles import PROFILES
from server.usage import CommandLine, input_path

# Steps of different pictures share the cores, so service times vary. The wait is then twice that of constant service,
# which `waiting_ms` computes.
_SHARING = 2.0
_LOADS = (0.2, 0.4, 0.6, 0.8)
_ALLOWED_ERROR = 0.3  # of the predicted p95
_DAY_S = 24 * 60 * 60
_SPARE = 1  # additional replica, for a rollout or a lost node


@dataclass(frozen=True)
class Server:
    """The capacity of one replica, for a number of people per picture.

    Attributes:
        servers: number of cores, or of GPUs if the networks run on them.
        demand_ms: time of one server that a picture takes.
        alone_ms: latency of a picture on an idle machine.
    """

    servers: int
    demand_ms: float
    alone_ms: float

    @property
    def pictures_per_s(self) -> float:
        """The largest rate that the replica sustains."""
        return self.servers * 1000 / self.demand_ms

    def latency_ms(self, rate_per_s: float) -> tuple[float, float]:
        """Return mean and 95th percentile of the latency; the rate must be below `pictures_per_s`."""
        load = rate_per_s / self.pictures_per_s
        waiting = _SHARING * waiting_ms(self.demand_ms, load, self.servers)
        waits = load ** (math.sqrt(2 * (self.servers + 1)) - 1)  # share of the pictures that wait
        tail = waiting / waits * max(0.0, math.log(waits / 0.05)) if waits else 0.0
        return self.alone_ms + waiting, self.alone_ms + max(tail, waiting)


def server_of(measured: Mapping[str, Any], people: float, *, with_callers: bool = False) -> Server:
    """Return the capacity of one replica.

    Args:
        measured: a result of `benchmarks.stages`.
        people: number of people per picture.
        with_callers: whether the callers share the machine, as in the measurement.
    """
    alone, busy = (measured["loads"][name] for name in (stages.ALONE, stages.SATURATED))
    compute = _for_people(alone, people, "compute_ms")
    latency = alone["mean_ms"] - _for_people(alone, alone["people_per_picture"], "compute_ms") + compute
    if gpus := measured["machine"]["gpus"]:
        network = busy["stages"][stages.NETWORK]["ms_by_batch"]
        per_person = min(milliseconds / int(size) for size, milliseconds in network.items())
        return Server(len(gpus), people * per_person, latency)
    demand = _for_people(busy, people, "cpu_ms") + (busy["callers_cpu_ms"] if with_callers else 0.0)
    return Server(measured["machine"]["cores"], demand, latency)


def answer(server: Server, rate_per_s: float) -> dict[str, Any]:
    """Return the replicas for a rate, with their load and the expected latency."""
    replicas = math.ceil(rate_per_s / (TARGET_LOAD * server.pictures_per_s)) + _SPARE
    mean, p95 = server.latency_ms(rate_per_s / replicas)
    return {
        "replicas": replicas,
        "cores_or_gpus": replicas * server.servers,
        "pictures_per_s_of_a_replica": server.pictures_per_s,
        "pictures_per_day_of_a_replica": round(_DAY_S * server.pictures_per_s),  # offline: without a pause
        "load_of_a_replica": rate_per_s / replicas / server.pictures_per_s,
        "mean_ms": mean,
        "p95_ms": p95,
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Predict, or check the prediction; return 1 without a measurement, or when the prediction is wrong."""
    parser = CommandLine(prog="python -m benchmarks capacity", description=__doc__)
    subject.add_options(parser)
    parser.add_argument("--rate", type=float, default=200, help="pictures per second")
    parser.add_argument("--people", type=float, default=3, help="people per picture; plan with the 95th percentile")
    parser.add_argument(
        "--stages", type=input_path, default=results.FOLDER / "stages.json", help="default: %(default)s"
    )
    parser.add_argument("--check", action="store_true", help="measure, and compare the prediction with open-loop runs")
    parser.add_argument("--profile", default="cpu", choices=PROFILES, help="profile of --check")
    parser.add_argument("--seconds", type=float, default=60, help="seconds of --check for each load")
    results.add_output(parser, "capacity")
    options = parser.parse_args(argv)
    if options.check:
        return _check(options)
    try:
        measured = json.loads(options.stages.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        print(f"error: {error.filename} is missing; run `python -m benchmarks stages`", file=sys.stderr)
        return 1
    plan = answer(server_of(measured, options.people), options.rate)
    source = {"measured_on": measured["machine"]["processor"], "profile": measured["profile"]}
    print(json.dumps({**plan, **source}, indent=2))
    return 0


def _check(options: argparse.Namespace) -> int:
    points = []
    with subject.prepared(options) as measured, measured.serve(options.profile) as running:
        with PoseClient(running.grpc_url, timeout_s=120) as client:

            def call(picture: bytes) -> int:
                return len(client.estimate(picture).bboxes)

            observed = stages.measure(running, measured, callers=16, requests=160)
            people = observed["loads"][stages.SATURATED]["people_per_picture"]
            server = server_of({**observed, "machine": results.describe()}, people, with_callers=True)
            for load in _LOADS:
                rate = load * server.pictures_per_s
                drive(lambda: call, measured.pictures, 1, 4)
                latencies = play(call, measured.pictures, poisson(rate, options.seconds))
                points.append(_point(server, load, rate, latencies))
        result = {**measured.about, "people_per_picture": people, "server": asdict(server), "points": points}
    result["largest_error"] = max(point["p95_error"] for point in points)
    results.write(options.output, result, profile=options.profile)
    print(as_table(result))
    return int(result["largest_error"] > _ALLOWED_ERROR)


def as_table(result: dict[str, Any]) -> str:
    """Return a check as a Markdown table."""
    columns = ("load", "rate_per_s", "mean_ms", "predicted_mean_ms", "p95_ms", "predicted_p95_ms", "p95_error")
    head = ["load", "pictures/s", "mean ms", "predicted", "p95 ms", "predicted", "off by"]
    return results.as_table(head, [[row[column] for column in columns] for row in result["points"]])


def _point(server: Server, load: float, rate: float, latencies_s: Sequence[float]) -> dict[str, float]:
    mean, p95 = server.latency_ms(rate)
    measured = float(np.percentile(latencies_s, 95)) * 1000
    return {
        "load": load,
        "rate_per_s": rate,
        "requests": len(latencies_s),
        "mean_ms": float(np.mean(latencies_s)) * 1000,
        "predicted_mean_ms": mean,
        "p95_ms": measured,
        "predicted_p95_ms": p95,
        "p95_error": abs(p95 - measured) / measured,
    }


def _for_people(load: Mapping[str, Any], people: float, what: str) -> float:
    """Return the milliseconds of all stages for a picture with this number of people."""
    fixed = sum(stage.get(what, 0.0) for stage in load["stages"].values() if not stage["per_person"])
    growing = sum(stage.get(what, 0.0) for stage in load["stages"].values() if stage["per_person"])
    return float(fixed + growing * people / load["people_per_picture"])
