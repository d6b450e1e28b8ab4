"""Reads a TensorFlow.js graph model: its nodes and its weights, dequantised."""

import base64
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.generic]


@dataclass(frozen=True)
class Node:
    """One node.

    Attributes:
        name: its name; that of its first output, too.
        op: TensorFlow's name of the operator.
        inputs: names of the tensors that it reads. `:0`, and inputs that only state an order, are left out.
        attributes: name -> bool, int, float, text, list of them, or the name of a type.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    attributes: Mapping[str, Any]


@dataclass(frozen=True)
class GraphModel:
    """A graph and its weights.

    Attributes:
        nodes: by name.
        weights: constants by name, as float32 or the integers they are.
    """

    nodes: Mapping[str, Node]
    weights: Mapping[str, Array]


def read(path: Path) -> GraphModel:
    """Read `NAME.json` and the files of weights beside it.

    Raises:
        ValueError: the file is no graph model, or the weights are shorter or longer than it says.
        OSError: a file of weights is missing.
    """
    nodes, groups = _content(path)
    weights: dict[str, Array] = {}
    for files, entries in groups:
        weights |= _weights(path, entries, b"".join(file.read_bytes() for file in files))
    return GraphModel({node.name: node for node in nodes}, weights)


def weight_files(path: Path) -> list[Path]:
    """Return the files of weights beside `NAME.json`. Raises ValueError when the file is no graph model."""
    _, groups = _content(path)
    return [file for files, _ in groups for file in files]


def _content(path: Path) -> tuple[list[Node], list[tuple[list[Path], Any]]]:
    """Return the nodes, and the files and the entries of each group of weights."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        nodes = [_node(entry) for entry in content["modelTopology"]["node"]]
        manifest = content["weightsManifest"]
        return nodes, [([path.parent / name for name in group["paths"]], group["weights"]) for group in manifest]
    except (UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not a TensorFlow.js graph model ({type(error).__name__}: {error})") from error


def _node(entry: Mapping[str, Any]) -> Node:
    inputs = tuple(name.removesuffix(":0") for name in entry.get("input", ()) if not name.startswith("^"))
    attributes = {name: _value(value) for name, value in entry.get("attr", {}).items()}
    return Node(entry["name"], entry["op"], inputs, attributes)


def _value(value: Mapping[str, Any]) -> Any:
    """Return an attribute: protobuf's JSON writes integers as text, and text in base64."""
    if not value:
        return None
    ((kind, content),) = value.items()
    if kind == "list":
        return [_value({inner: item}) for inner, items in content.items() for item in items]
    if kind == "s":
        return base64.b64decode(content).decode("utf-8", "replace")
    return int(content) if kind == "i" else content


def _weights(path: Path, entries: list[Mapping[str, Any]], data: bytes) -> dict[str, Array]:
    found: dict[str, Array] = {}
    offset = 0
    for entry in entries:
        stored = np.dtype(entry.get("quantization", entry)["dtype"]).newbyteorder("<")
        size = math.prod(entry["shape"]) * stored.itemsize
        if offset + size > len(data):
            raise ValueError(f"{path}: the weights end before the end of {entry['name']}")
        values = np.frombuffer(data[offset : offset + size], stored)
        found[entry["name"]] = _dequantised(values, entry).reshape(entry["shape"])
        offset += size
    if offset != len(data):
        raise ValueError(f"{path}: {len(data) - offset} bytes of weights belong to no tensor")
    return found


def _dequantised(values: Array, entry: Mapping[str, Any]) -> Array:
    """Return the values in their original type. Source: TensorFlow.js, io_utils.decodeWeights."""
    original: Array = values.astype(entry["dtype"])
    quantization = entry.get("quantization", {})
    if "scale" in quantization:
        original = (values.astype(np.float64) * quantization["scale"] + quantization["min"]).astype(entry["dtype"])
    return original
