"""How many pods, and when to add one: queueing formulas on service times that were measured.

`python -m deploy.capacity --metrics URL --model NETWORK --instances N --machine WORDS` reads a server's counters and
writes the service time of its slowest stage; `gpu-keda` takes its threshold from that file, as the checks verify.

Source of the waiting times: the approximation of Allen and Cunneen for several servers, exact for one server with
Poisson arrivals and constant service (Pollaczek and Khinchine).
"""

import json
import math
import re
import sys
import urllib.request
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

TARGET_LOAD = 0.7  # of a stage's capacity; waiting doubles between 0.7 and 0.82
MEASURED = Path(__file__).parent / "overlays" / "gpu-keda" / "measured.json"


@dataclass(frozen=True)
class Stage:
    """The slowest stage of a server, as measured.

    Attributes:
        model: its Triton model.
        service_ms: mean time of one execution.
        executions: how many were counted.
        instances: how many run at a time.
        machine: where, in words.
    """

    model: str
    service_ms: float
    executions: int
    instances: int
    machine: str


def waiting_ms(service_ms: float, load: float, instances: int = 1) -> float:
    """Return the mean time in queue of a stage with Poisson arrivals and constant service.

    Args:
        service_ms: time of one execution.
        load: fraction of the capacity of all instances, 0 to below 1.
        instances: how many run at a time.

    Raises:
        ValueError: no queue settles at that load.
    """
    if not 0 <= load < 1:
        raise ValueError(f"a load of {load} has no mean waiting time; it must be from 0 to below 1")
    return 0.5 * service_ms * float(load ** (math.sqrt(2 * (instances + 1)) - 1)) / (instances * (1 - load))


def queue_threshold_ms(stage: Stage) -> int:
    """Return the queue delay at which pods are added: what requests wait at the target load, rounded up."""
    return math.ceil(waiting_ms(stage.service_ms, TARGET_LOAD, stage.instances))


def read(path: Path = MEASURED) -> Stage:
    """Return the stage that was measured."""
    return Stage(**json.loads(path.read_text(encoding="utf-8")))


def measure(metrics: str, model: str, instances: int, machine: str) -> Stage:
    """Return a stage from the text of a server's metrics.

    Raises:
        ValueError: the counters show no executions of this model.
    """

    def counter(name: str) -> float:
        found = re.findall(rf'^{name}{{model="{re.escape(model)}".*}} (\S+)$', metrics, re.M)
        return sum(map(float, found))

    executions, requests = counter("nv_inference_exec_count"), counter("nv_inference_request_success")
    if not executions or not requests:
        raise ValueError(f"the counters show no executions of {model!r}")
    compute_us = sum(counter(f"nv_inference_compute_{part}_duration_us") for part in ("input", "infer", "output"))
    # every request of a batch is given the whole batch's time, so the mean over requests is the mean over executions
    return Stage(model, round(compute_us / requests / 1e3, 3), int(executions), instances, machine)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and write."""
    from cigpose_client.outputs import write_file

    from server.usage import CommandLine, output_path  # not above: the checks read the file without the client

    parser = CommandLine(prog="python -m deploy.capacity", description=__doc__)
    parser.add_argument("--metrics", required=True, metavar="URL", help="of a server that was under load")
    parser.add_argument("--model", required=True, help="the slowest stage, usually the pose network")
    parser.add_argument("--instances", type=int, default=1, help="of that model in one pod (default: 1)")
    parser.add_argument("--machine", required=True, help="in words, for the reader of the file")
    parser.add_argument("--output", type=output_path, default=MEASURED, help="default: %(default)s")
    options = parser.parse_args(argv)
    try:
        with urllib.request.urlopen(options.metrics, timeout=10) as answer:
            stage = measure(answer.read().decode(), options.model, options.instances, options.machine)
        write_file(options.output, json.dumps(asdict(stage), indent=2) + "\n")
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{stage.service_ms} ms; add pods from {queue_threshold_ms(stage)} ms in queue")
    return 0


if __name__ == "__main__":
    sys.exit(main())
