"""Renders and checks the overlays in docs/deploy.md like the project's own."""

import os
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import yaml  # type: ignore[import-not-found,import-untyped,unused-ignore]

from tests.deploy.checks.pods import Object
from tests.deploy.checks.render import render_text
from tests.deploy.manifests import DEPLOY

_PAGE = DEPLOY.parent / "docs" / "deploy.md"
_CHECKOUT = "../cigpose/"  # the checkout's path in the page


def problems(check: Callable[[Sequence[Object]], Iterable[str]]) -> Iterator[str]:
    """Yield the problems that `check` finds in each overlay, except images by tag, which kind needs."""
    blocks = re.findall(r"^( *)```yaml\n(.*?)^\1```", _PAGE.read_text(encoding="utf-8"), re.M | re.S)
    overlays = [textwrap.dedent(block) for _, block in blocks if "kind: Kustomization" in block]
    if len(overlays) < 2:
        yield f"{_PAGE.name} shows {len(overlays)} overlays"
    for number, text in enumerate(overlays):
        for found in check(render_text(partial(_moved, text))):
            if "image by registry and digest" not in found:
                yield f"overlay {number + 1} of {_PAGE.name}: {found}"


def _moved(text: str, folder: Path) -> Object:
    overlay: Object = yaml.safe_load(text.replace(_CHECKOUT, f"{os.path.relpath(DEPLOY.parent, folder)}/"))
    return overlay
