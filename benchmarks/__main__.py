"""`python -m benchmarks COMMAND`: one measurement, or `all` of them with the report; `COMMAND --help` says more."""

import importlib
import sys
from collections.abc import Sequence

from server.usage import command, need

COMMANDS = {
    "all": "everything below in one go, then the report",
    "compare": "our server, the usual loop, the usual service and the floor, interleaved",
    "stages": "where each millisecond of a picture goes",
    "sweep": "1 to 32 people in a picture, 1 to 64 callers",
    "buckets": "LOGO-CAP: pictures of one size in one execution, against one by one",
    "load": "scenarios of load, with limits and a verdict",
    "capacity": "replicas for a load, from measured stages; --check compares with open-loop runs",
    "threshold": "the autoscaler's queue delay, from a loaded server's counters",
    "goals": "the goals against the result files",
    "report": "one page from the result files, and the README's chart",
}
_NEEDS = {  # what `make install` does not bring
    "compare": ("fastapi", "openvino", "uvicorn"),
    "load": ("locust",),
    "report": ("matplotlib",),
}
_NEEDS["all"] = tuple(sorted({"torch", *(module for modules in _NEEDS.values() for module in modules)}))


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 2 with a list when there is no such command."""
    arguments = [*(sys.argv[1:] if argv is None else argv)]
    if not arguments or arguments[0] not in COMMANDS:
        told = "\n".join(f"  {name:14} {text}" for name, text in COMMANDS.items())
        print(
            f"usage: python -m benchmarks COMMAND\n{told}",
            file=sys.stdout if arguments[:1] == ["--help"] else sys.stderr,
        )
        return 0 if arguments[:1] == ["--help"] else 2
    if not {"-h", "--help"} & {*arguments}:
        need("install-bench", *_NEEDS.get(arguments[0], ()))
    return run(arguments)


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; what it raises is the caller's."""
    name = {"all": "everything"}.get(arguments[0], arguments[0]).replace("-", "_")
    module = importlib.import_module(f"benchmarks.{name}")
    code: int = module.main(arguments[1:])
    return code


if __name__ == "__main__":
    sys.exit(main())
