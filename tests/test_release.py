from pathlib import Path

import pytest

from tests import release

CHECKOUT = Path(__file__).parents[1]
PINNED = "numpy==1.26.4 ; sys_platform == 'linux' \\\n    --hash=sha256:00\nurllib3==2.8.0 \\\n"


def test_the_changelog_has_the_clients_version():
    assert list(release.changelog_problems(CHECKOUT)) == []


@pytest.mark.parametrize("headings", ["## [Unreleased]\n", "## [9.9.9] - 2026-01-01\n\n## [0.1.0] - 2025-01-01\n"])
def test_another_version_in_the_changelog_is_a_problem(tmp_path, headings):
    (tmp_path / "client").mkdir()
    (tmp_path / "client" / "pyproject.toml").write_text('version = "0.1.0"\n')
    (tmp_path / "CHANGELOG.md").write_text(headings)
    (problem,) = release.changelog_problems(tmp_path)
    assert problem.startswith("the client is 0.1.0, the newest version in CHANGELOG.md ")


def test_an_sbom_must_list_every_pinned_package():
    sbom = {"components": [{"name": "numpy", "version": "1.26.4"}, {"name": "urllib3", "version": "2.0"}]}
    assert list(release.sbom_problems(PINNED, sbom)) == ["the SBOM lacks urllib3 2.8.0"]
    assert list(release.sbom_problems("", sbom)) == ["the requirements pin no package"]


@pytest.mark.parametrize(
    ("licence", "allowed"),
    [
        ("MIT", True),
        ("LGPL-2.1-only", True),
        ("MPL-2.0 AND MIT", True),
        ("GPL-3.0-only", False),
        ("AGPL-3.0", False),
        ("UNKNOWN", False),
        ("GNU General Public License v3 (GPLv3)", False),
    ],
)
def test_licences(licence, allowed):
    package = {"Name": "thing", "Version": "1", "License": licence}
    assert (list(release.licence_problems([package])) == []) is allowed
