"""`python -m benchmarks COMMAND`: one measurement, or `all` of them; `COMMAND --help` lists the options."""

import importlib
import sys
from collections.abc import Sequence

from server.usage import command, need

COMMANDS = {
    "all": "every measurement, one after the other",
    "compare": "our server, the usual loop, the usual service and the floor, interleaved",
    "stages": "where the time of a picture goes",
    "serving": "the cost of the serving alone, with networks that compute nothing; optionally beside another commit's",
    "memory": "the memory of a loaded server by process; optionally beside another commit's",
    "growth": "the cost of a picture as people, callers, pixels and networks grow",
    "stage2": "the cost of Graph-PCNN's second stage, and its server's share of the network's floor",
    "lifter": "what 3-D adds to the cost of a person, and its server's share of the networks' floor",
    "buckets": "LOGO-CAP: pictures of one size in one execution, compared with one by one",
    "kinds": "top-down or bottom-up: processor time of a picture by the number of people",
    "streams": "rendered films: accuracy, shaking, ids and speed of streams, by way of streaming",
    "gateway": "HTTP through the gateway compared with gRPC, and what one core of the gateway carries",
    "load": "load scenarios with limits and a verdict",
    "capacity": "replicas for a load, from measured stages; --check compares with open-loop runs",
    "threshold": "the autoscaler's queue delay, from a loaded server's counters",
    "goals": "the goals of goals.json, compared with the result files",
    "chart": "the chart in the documentation, from a comparison",
}
_NEEDS = {  # modules that `make install` does not install
    "compare": ("fastapi", "openvino", "uvicorn"),
    "gateway": ("fastapi", "openvino", "scipy", "uvicorn"),
    "load": ("locust",),
    "chart": ("matplotlib",),
}
_NEEDS["all"] = tuple(sorted({"torch", *(module for modules in _NEEDS.values() for module in modules)}))


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; 2, with a list of the commands, for an unknown one."""
    arguments = [*(sys.argv[1:] if argv is None else argv)]
    if not arguments or arguments[0] not in COMMANDS:
        listed = "\n".join(f"  {name:14} {text}" for name, text in COMMANDS.items())
        print(
            f"usage: python -m benchmarks COMMAND\n{listed}",
            file=sys.stdout if arguments[:1] == ["--help"] else sys.stderr,
        )
        return 0 if arguments[:1] == ["--help"] else 2
    if not {"-h", "--help"} & {*arguments}:
        need("install-bench", *_NEEDS.get(arguments[0], ()))
    return run(arguments)


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code. Exceptions of the command are not caught."""
    name = {"all": "everything"}.get(arguments[0], arguments[0]).replace("-", "_")
    module = importlib.import_module(f"benchmarks.{name}")
    code: int = module.main(arguments[1:])
    return code


if __name__ == "__main__":
    sys.exit(main())
