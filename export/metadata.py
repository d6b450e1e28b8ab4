"""Metadata in ONNX files of this project and of the publicly known CIGPose exports: one JSON object."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx

from export import graph_edit

KEY = "cigpose_meta"
_PROVENANCE = (
    "family",
    "variant",
    "stage2",
    "precision",
    "flip_test",
    "checkpoint_sha256",
    "quantised_from",
    "exporter",
)  # shown in the served model's config


def write(model: onnx.ModelProto, content: dict[str, Any]) -> None:
    """Replace the model's metadata by `content`."""
    onnx.helper.set_model_props(model, {KEY: json.dumps(content)})


def read(model: onnx.ModelProto) -> dict[str, Any]:
    """Return the model's metadata; empty when it has none.

    Raises:
        ValueError: the metadata is no JSON object.
    """
    texts = [entry.value for entry in model.metadata_props if entry.key == KEY]
    try:
        meta = json.loads(texts[0]) if texts else {}
    except json.JSONDecodeError:
        meta = None
    if not isinstance(meta, dict):
        raise ValueError(f"metadata key {KEY} is no JSON object but {texts[0][:80]!r}")
    return meta


def source(path: Path, meta: Mapping[str, Any] | None = None) -> dict[str, str]:
    """Return the provenance of a network, for the served model's config."""
    stated = {key: str(meta[key]) for key in _PROVENANCE if meta and key in meta}
    return {"source_file": path.name, "source_sha256": graph_edit.sha256(path)} | stated
