"""Files, modules and alerts that docs/deploy.md and docs/runbook.md name exist."""

import re

import pytest

from tests.deploy.manifests import rules_text
from tests.deploy.plain_folder import CHECKOUT

_DOCS = CHECKOUT / "docs"
_PAGES = ("deploy.md", "runbook.md")


@pytest.mark.parametrize("page", _PAGES)
def test_linked_and_named_files_exist(page):
    text = (_DOCS / page).read_text(encoding="utf-8")
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    files = re.findall(r"(?<![\w./-])((?:deploy|docs|weights)/[\w./-]+\.\w+)", text)
    assert links
    assert files
    missing = [link for link in links if link and not (_DOCS / link).exists()]
    assert missing + [file for file in files if not (CHECKOUT / file).exists()] == []


@pytest.mark.parametrize("page", _PAGES)
def test_the_modules_of_its_commands_exist(page):
    modules = set(re.findall(r"python -m ([\w.]+)", (_DOCS / page).read_text(encoding="utf-8"))) - {"pytest"}
    places = [CHECKOUT / module.replace(".", "/") for module in modules]
    assert modules
    assert [place for place in places if not place.is_dir() and not place.with_suffix(".py").is_file()] == []


def test_the_runbook_has_one_section_for_each_alert():
    alerts = re.findall(r"- alert: (\w+)", rules_text())
    sections = re.findall(r"^## (Cigpose\w+)$", (_DOCS / "runbook.md").read_text(encoding="utf-8"), re.M)
    assert sections == alerts


def test_the_readme_lists_every_placeholder_and_every_tag():
    deploy = CHECKOUT / "deploy"
    zeros = {path for path in deploy.rglob("*.yaml") if "0" * 64 in path.read_text(encoding="utf-8")}
    dockerfiles = {path for path in (deploy / "docker").glob("Dockerfile*") if not path.name.endswith("ignore")}
    text = (deploy / "README.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\|[^|]+\| `([^`]+)` \|[^|]+\| (.*) \|$", text, re.M))
    assert {deploy / name for name in listed} == zeros | dockerfiles
    for path in dockerfiles:
        arguments = set(re.findall(r"^ARG (\w+)=", path.read_text(encoding="utf-8"), re.M))
        assert set(re.findall(r"--build-arg (\w+)=", listed[f"docker/{path.name}"])) == arguments, path.name
