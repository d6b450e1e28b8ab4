"""Checks the rules, their unit tests and the dashboard with promtool, and the tests with broken rules."""

import json
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-not-found,import-untyped,unused-ignore]

from tests.deploy import tools
from tests.deploy.manifests import rules_text

_CHECKOUT = tools.FOLDER.parents[2]
TESTS = _CHECKOUT / "tests" / "deploy" / "rules"
DASHBOARD = _CHECKOUT / "deploy" / "components" / "monitoring" / "dashboard.json"


def problems() -> list[str]:
    """Return promtool's messages on rules and tests, alerts without a test, and invalid queries of the dashboard."""
    text = rules_text()
    checked = _promtool("check", "rules", text)
    return [*checked, *([] if checked else _test(text)), *_untested(text), *_dashboard()]


def mutant_problems() -> list[str]:
    """Return the alerts and records whose tests still pass when the rule is changed."""
    rules = yaml.safe_load(rules_text())
    return [found for group in rules["groups"] for rule in group["rules"] for found in _survivors(rules, rule)]


def expressions() -> Iterator[tuple[str, str]]:
    """Yield title and expression of every query of the dashboard, with its variables replaced."""
    for panel in json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"].replace("$namespace", "cigpose")


def _survivors(rules: Any, rule: Any) -> Iterator[str]:
    name, original = rule.get("alert") or rule["record"], rule["expr"]
    mutants = ["vector(1) > 2", "vector(1)"] if "alert" in rule else [f"2 * ({original})"]
    for mutant in mutants:
        rule["expr"] = mutant
        if not _test(yaml.safe_dump(rules), only=name):
            yield f"the tests of {name} pass although its expression is {mutant!r}"
    rule["expr"] = original


def _untested(text: str) -> Iterator[str]:
    tests = "\n".join(path.read_text(encoding="utf-8") for path in TESTS.glob("*.yaml"))
    for name in re.findall(r"- alert: (\w+)", text):
        if not re.search(rf"\b{name}\b", tests):
            yield f"{name} has no test"


def _test(text: str, only: str = "") -> list[str]:
    """Run the tests; with `only`, those that mention this rule."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "rules.yaml").write_text(text, encoding="utf-8")
        names = [_write_tests(path, Path(folder), only) for path in sorted(TESTS.glob("*.yaml"))]
        return _run("test", "rules", *filter(None, names), cwd=folder)


def _write_tests(path: Path, folder: Path, only: str) -> str:
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    if only:
        family = re.sub(r"(rate|mean|max)\d+\w$", "", only)  # a record may be tested through the records that use it
        content["tests"] = [test for test in content["tests"] if family in json.dumps(test)]
    if not content["tests"]:
        return ""
    (folder / path.name).write_text(yaml.safe_dump(content), encoding="utf-8")
    return path.name


def _dashboard() -> list[str]:
    rules = [{"record": f"dashboard:{number}", "expr": expr} for number, (_, expr) in enumerate(expressions())]
    return _promtool("check", "rules", yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))


def _promtool(verb: str, what: str, text: str) -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "rules.yaml").write_text(text, encoding="utf-8")
        return _run(verb, what, "rules.yaml", cwd=folder)


def _run(*arguments: str, cwd: str) -> list[str]:
    done = subprocess.run([tools.need("promtool"), *arguments], cwd=cwd, capture_output=True, text=True)
    return [] if done.returncode == 0 else [f"promtool {' '.join(arguments)}: {(done.stdout + done.stderr).strip()}"]
