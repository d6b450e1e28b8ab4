"""`python -m benchmarks threshold`: the queue delay at which the autoscaler adds pods, from a loaded server's counters.

The service time of the slowest stage goes to `deploy/overlays/gpu-keda/measured.json`. `make deploy-check` compares the
threshold in `scaledobject.yaml` with that file.

Source of the waiting times: the approximation of Allen and Cunneen for several servers. It is exact for one server with
Poisson arrivals and constant service (Pollaczek and Khinchine).
"""

import json
import math
import re
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

TARGET_LOAD = 0.7  # of a stage's capacity; waiting doubles between 0.7 and 0.82
MEASURED = Path(__file__).parents[1] / "deploy" / "overlays" / "gpu-keda" / "measured.json"


def waiting_ms(service_ms: float, load: float, instances: int = 1) -> float:
    """Return the mean time in queue with Poisson arrivals and constant service.

    Args:
        service_ms: time of one execution.
        load: fraction of the capacity of all instances, 0 to below 1.
        instances: number of concurrent instances.

    Raises:
        ValueError: the load is outside this range, where the queue has no mean.
    """
    if not 0 <= load < 1:
        raise ValueError(f"a load of {load} has no mean waiting time; it must be from 0 to below 1")
    return 0.5 * service_ms * float(load ** (math.sqrt(2 * (instances + 1)) - 1)) / (instances * (1 - load))


def threshold_ms(measured: Mapping[str, Any]) -> int:
    """Return the mean time in queue at the target load, rounded up; `measured` states `service_ms` and `instances`."""
    return math.ceil(waiting_ms(measured["service_ms"], TARGET_LOAD, measured["instances"]))


def service(metrics: str, model: str) -> tuple[float, int]:
    """Return the mean milliseconds of one execution of `model`, and the number of executions.

    Args:
        metrics: text of a server's metrics.
        model: name of the model.

    Raises:
        ValueError: the counters show no executions of this model.
    """

    def counter(name: str) -> float:
        return sum(map(float, re.findall(rf'^{name}{{model="{re.escape(model)}".*}} (\S+)$', metrics, re.M)))

    executions, requests = counter("nv_inference_exec_count"), counter("nv_inference_request_success")
    if not executions or not requests:
        raise ValueError(f"the counters show no executions of {model!r}")
    compute_us = sum(counter(f"nv_inference_compute_{part}_duration_us") for part in ("input", "infer", "output"))
    # Triton adds the time of a batch to each of its requests, so this is the mean over executions
    return round(compute_us / requests / 1e3, 3), int(executions)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write the file, and print the threshold."""
    from cigpose_client.outputs import write_file

    from server.usage import CommandLine, output_path  # imported here: the checks use this module without the client

    parser = CommandLine(prog="python -m benchmarks threshold", description=__doc__)
    parser.add_argument("--metrics", required=True, metavar="URL", help="address of the metrics of a server under load")
    parser.add_argument("--model", required=True, help="model of the slowest stage, usually the pose network")
    parser.add_argument("--instances", type=int, default=1, help="instances of that model in one pod (default: 1)")
    parser.add_argument("--machine", required=True, help="description of the machine, for the file")
    parser.add_argument("--output", type=output_path, default=MEASURED, help="default: %(default)s")
    options = parser.parse_args(argv)
    with urllib.request.urlopen(options.metrics, timeout=10) as answer:
        service_ms, executions = service(answer.read().decode(), options.model)
    measured = {"model": options.model, "service_ms": service_ms, "executions": executions}
    measured |= {"instances": options.instances, "machine": options.machine}
    write_file(options.output, json.dumps(measured, indent=2) + "\n")
    print(f"{service_ms} ms; add pods from {threshold_ms(measured)} ms in queue")
    return 0
