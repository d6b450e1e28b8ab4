"""`python -m benchmarks capacity --rate 200 --people 3`: how many replicas a load needs, and how long answers take.

From the stage times that `python -m benchmarks stages` measured. `--check` measures them anew and holds the
prediction against open-loop runs on this machine.

The machine is one queue with a server for each core (or GPU): a picture's demand is the processor time of all stages.
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

# Steps of different pictures share the cores, so a wait depends on what the others have left to do, as with service
# times that vary: twice the wait of constant service, which is what `waiting_ms` gives.
_SHARING = 2.0
_LOADS = (0.2, 0.4, 0.6, 0.8)
_MAY_BE_OFF = 0.3
_SPARE = 1  # replica more than the load needs: a rollout or a lost node


@dataclass(frozen=True)
class Server:
    """What one replica can do with pictures of so many people.

    Attributes:
        servers: cores, or GPUs where the networks run on them.
        demand_ms: of those, for one picture.
        alone_ms: latency of a picture that has the machine to itself.
    """

    servers: int
    demand_ms: float
    alone_ms: float

    @property
    def pictures_per_s(self) -> float:
        """Return the most that it sustains."""
        return self.servers * 1000 / self.demand_ms

    def latency_ms(self, rate_per_s: float) -> tuple[float, float]:
        """Return mean and 95th percentile of the latency at a rate below the most."""
        load = rate_per_s / self.pictures_per_s
        waiting = _SHARING * waiting_ms(self.demand_ms, load, self.servers)
        waits = load ** (math.sqrt(2 * (self.servers + 1)) - 1)  # share of the pictures that wait at all
        tail = waiting / waits * max(0.0, math.log(waits / 0.05)) if waits else 0.0
        return self.alone_ms + waiting, self.alone_ms + max(tail, waiting)


def server_of(measured: Mapping[str, Any], people: float, *, with_callers: bool = False) -> Server:
    """Return what one replica can do, from a result of `benchmarks.stages`.

    Args:
        measured: the result.
        people: in a picture.
        with_callers: whether the callers run on the same machine, as they did in the measurement.
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
    """Return what a rate needs."""
    replicas = math.ceil(rate_per_s / (TARGET_LOAD * server.pictures_per_s)) + _SPARE
    mean, p95 = server.latency_ms(rate_per_s / replicas)
    return {
        "replicas": replicas,
        "cores_or_gpus": replicas * server.servers,
        "pictures_per_s_of_a_replica": server.pictures_per_s,
        "load_of_a_replica": rate_per_s / replicas / server.pictures_per_s,
        "mean_ms": mean,
        "p95_ms": p95,
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Answer, or check; 1 when there is no measurement, or the prediction is off."""
    parser = CommandLine(prog="python -m benchmarks capacity", description=__doc__)
    subject.add_options(parser)
    parser.add_argument("--rate", type=float, default=200, help="pictures a second")
    parser.add_argument("--people", type=float, default=3, help="in a picture; plan with the 95th percentile")
    parser.add_argument(
        "--stages", type=input_path, default=results.FOLDER / "stages.json", help="default: %(default)s"
    )
    parser.add_argument("--check", action="store_true", help="measure, and compare with open-loop runs")
    parser.add_argument("--profile", default="cpu", choices=PROFILES, help="of --check")
    parser.add_argument("--seconds", type=float, default=60, help="of --check, for each load")
    results.add_output(parser, "capacity")
    options = parser.parse_args(argv)
    if options.check:
        return _check(options)
    try:
        measured = json.loads(options.stages.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        print(f"error: {error.filename} is missing; run `python -m benchmarks stages`", file=sys.stderr)
        return 1
    told = answer(server_of(measured, options.people), options.rate)
    print(
        json.dumps({**told, "measured_on": measured["machine"]["processor"], "profile": measured["profile"]}, indent=2)
    )
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
    return int(result["largest_error"] > _MAY_BE_OFF)


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
    """Milliseconds of all stages for a picture with so many people."""
    fixed = sum(stage.get(what, 0.0) for stage in load["stages"].values() if not stage["per_person"])
    growing = sum(stage.get(what, 0.0) for stage in load["stages"].values() if stage["per_person"])
    return float(fixed + growing * people / load["people_per_picture"])
