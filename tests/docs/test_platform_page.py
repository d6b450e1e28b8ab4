"""docs/platform.md names existing files, and every page and image name the same version of the server."""

import re

import pytest

from ensemble.triton import quirks
from tests.deploy.plain_folder import CHECKOUT

PAGE = (CHECKOUT / "docs" / "platform.md").read_text(encoding="utf-8")
IMAGE, SERVER = re.findall(r"\*\*(2\.\d+\.0)\*\* \((\d\d\.\d\d), ", PAGE)[0][::-1]


def faults():
    """Return the cells of the table's rows: fault, source, where it ends, workaround, when that can go."""
    section = PAGE.split("\n## Faults and workarounds\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")][1:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_every_row_is_complete():
    assert len(faults()) > 15
    assert [row for row in faults() if len(row) != 5 or not all(row)] == []


def test_named_files_exist():
    named = re.findall(r"`((?:client|deploy|ensemble|export|requirements|server|tests)/[\w./-]+)`", PAGE)
    assert named
    assert [name for name in named if not (CHECKOUT / name).is_file()] == []


def test_the_page_lists_every_quirk():
    numbers = re.findall(r"^(\d)\. ", quirks.__doc__, re.M)
    assert numbers
    assert re.findall(r"`ensemble/triton/quirks\.py`, (\d)", PAGE) == numbers


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("deploy/docker/Dockerfile", "tritonserver:{image}-py3"),
        ("deploy/docker/Dockerfile", "{image} (tritonserver {server})"),
        ("SECURITY.md", "image {image} ({server}) or newer"),
        ("docs/decisions/0011-images.md", "`tritonserver:{image}-py3` ({server})"),
        ("docs/decisions/0011-images.md", "the GPU one starts from {image}"),
        ("docs/deploy.md", "tritonserver {image};"),
    ],
)
def test_images_and_pages_name_the_same_version(path, text):
    assert text.format(image=IMAGE, server=SERVER) in (CHECKOUT / path).read_text(encoding="utf-8")


def test_no_release_beyond_the_images_ends_a_fault():
    ends = [tuple(map(int, number.split("."))) for row in faults() for number in re.findall(r"2\.\d\d", row[2])]
    assert max(ends) <= tuple(map(int, SERVER.split(".")[:2]))


def test_no_model_sets_the_timeout_that_starves_the_batcher():
    configs = sorted((CHECKOUT / "model_repository").glob("*/config.pbtxt"))
    assert configs
    assert [path for path in configs if "default_timeout_microseconds" in path.read_text(encoding="utf-8")] == []
