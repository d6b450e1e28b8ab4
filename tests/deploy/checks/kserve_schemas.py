"""Checks KServe's custom resources with the schemas of KServe's newest release, from the files of its Python package.

Its models state each kind's fields and their types. They are read without importing the package, which would need its
many dependencies. Kubernetes' own types, such as containers, are left to `schemas.py`.
"""

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from tests.deploy import tools
from tests.deploy.checks.pods import Object

_KINDS = {"ServingRuntime": "V1alpha1ServingRuntime", "InferenceService": "V1beta1InferenceService"}
_PLAIN = {"str": str, "int": int, "bool": bool, "float": (int, float)}


def problems(objects: Sequence[Object]) -> list[str]:
    """Return unknown fields and values of a wrong type."""
    return [found for item in objects for found in _check(item, _KINDS[item["kind"]], item["kind"])]


def _check(value: Any, kind: str, where: str) -> Iterator[str]:
    """Yield the problems of a value of the type `kind`, in the notation of the models."""
    listed = re.fullmatch(r"list\[(.+)\]", kind)
    mapped = re.fullmatch(r"dict\(str, (.+)\)", kind)
    if listed or mapped:
        if not isinstance(value, list if listed else dict):
            yield f"{where}: {value!r} is not a {'list' if listed else 'mapping'}"
            return
        entries = enumerate(value) if listed else value.items()
        for key, entry in entries:
            yield from _check(entry, (listed or mapped)[1], f"{where}.{key}")  # type: ignore[index]
    elif kind in _PLAIN:
        if not isinstance(value, _PLAIN[kind]) or (kind == "int" and isinstance(value, bool)):
            yield f"{where}: {value!r} is not of the type {kind}"
    elif fields := _fields(kind):
        if not isinstance(value, dict):
            yield f"{where}: {value!r} is not a mapping"
            return
        for name, entry in value.items():
            if name not in fields:
                yield f"{where}.{name} is unknown to KServe"
            else:
                yield from _check(entry, fields[name], f"{where}.{name}")


@cache
def _fields(kind: str) -> Mapping[str, str]:
    """Return the fields of a kind, name -> type; empty for a kind that is not KServe's."""
    (models,) = tools.STORAGE.parent.glob("lib/python3*/site-packages/kserve/models")
    path = models / f"{re.sub(r'(?<=[a-z0-9])(?=[A-Z])', '_', kind).lower()}.py"
    return _parse(path) if path.is_file() else {}


def _parse(path: Path) -> Mapping[str, str]:
    wanted = ("openapi_types", "attribute_map")
    tables = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id in wanted
    }
    types, names = (tables[name] for name in wanted)
    return {names[field]: kind for field, kind in types.items()}
