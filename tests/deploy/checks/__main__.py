"""`python -m tests.deploy.checks`: renders and checks all manifests; exit code 0 only without problems.

It runs with the Python of `python -m tests.deploy.tools`: out/deploy/tools/venv/bin/python -m tests.deploy.checks
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from tests.deploy.checks import autoscaling, docs, kserve, lint, offline, policies, prometheus, schemas
from tests.deploy.checks.flags import flags, known_to_the_wheel
from tests.deploy.checks.mutants import MUTANTS, mutant
from tests.deploy.checks.pods import Object
from tests.deploy.checks.render import VARIANTS, render, render_folder

_CHECKOV = (
    "cpu+object-storage",
    "gpu",
    "gpu-keda",
    "gpu+tls+tracing",
    "gpu+tensorrt",
    "gpu-keda+tls",
    "cpu+gateway+tls",
)  # few runs that cover all files


def main(argv: Sequence[str] | None = None) -> int:
    """Run every check, even after a failure."""
    options = _parse(argv)
    rendered = {variant: render(variant) for variant in VARIANTS}
    yours = {str(folder): render_folder(folder) for folder in options.overlays}
    known = known_to_the_wheel(options.server_python)
    checks: dict[str, Callable[[], Iterable[str]]] = {
        **{f"render {name}": partial(_all, objects, known) for name, objects in rendered.items()},
        **{f"mutants of {name}": partial(_mutants, name, rendered[name], known) for name in MUTANTS},
        **{f"render {name}": partial(_all, objects, known) for name, objects in yours.items()},
        "overlays of the docs": lambda: docs.problems(lambda objects: _all(objects, known)),
        "KServe": partial(kserve.problems, known),
        "mutants of KServe": partial(kserve.mutant_problems, known),
        "offline Job": offline.problems,
        "lint": lint.problems,
        **{f"checkov {name}": partial(lint.checkov, rendered[name]) for name in _CHECKOV},
        **{f"checkov {name}": partial(lint.checkov, objects) for name, objects in yours.items()},
        "rules": prometheus.problems,
        "mutants of the rules": prometheus.mutant_problems,
    }
    if options.release:
        for name, objects in (yours or {"gpu-keda": rendered["gpu-keda"]}).items():
            checks[f"images of {name}"] = partial(policies.images_are_set, objects)
    return 1 if sum([_report(name, check) for name, check in checks.items()]) else 0


def _all(objects: Sequence[Object], known: frozenset[str], releases: Sequence[str] = schemas.RELEASES) -> list[str]:
    rules = (*policies.RULES, autoscaling.autoscaling, autoscaling.alerts, lambda o: flags(o, known))
    return [*schemas.problems(objects, releases), *policies.problems(objects, rules)]


def _mutants(variant: str, objects: Sequence[Object], known: frozenset[str]) -> Iterator[str]:
    for name, mutation in MUTANTS[variant].items():
        if not _rejected(mutant(objects, mutation), known):
            yield f"{name}: not rejected"


def _rejected(objects: Sequence[Object], known: frozenset[str]) -> bool:
    """Return whether a check rejects the objects. Schemas run first, because policies may raise on invalid objects."""
    if schemas.problems(objects, ("1.32",)):
        return True
    return bool(_all(objects, known, ()))


def _report(name: str, check: Callable[[], Iterable[str]]) -> int:
    started = time.perf_counter()
    found = list(check())
    print(f"{'FAILED' if found else 'ok':7}{name} ({time.perf_counter() - started:.1f} s)", flush=True)
    for problem in found:
        print(f"       {problem}")
    return len(found)


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.deploy.checks", description=__doc__)
    parser.add_argument(
        "--server-python", default=".venv/bin/python", help="Python with tritonserver (default: %(default)s)"
    )
    parser.add_argument("--release", action="store_true", help="treat placeholders for images as errors")
    parser.add_argument(
        "overlays", nargs="*", type=Path, metavar="OVERLAY", help="your own overlays, which are checked, too"
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
