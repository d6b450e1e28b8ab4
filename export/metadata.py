"""What an ONNX file of this project, or of the publicly known CIGPose exports, says about itself: one JSON object."""

import json
from typing import Any

import onnx

KEY = "cigpose_meta"
PROVENANCE = (
    "variant",
    "precision",
    "flip_test",
    "checkpoint_sha256",
    "exporter",
)  # shown in the served model's config


def write(model: onnx.ModelProto, content: dict[str, Any]) -> None:
    """Make `content` the model's metadata."""
    onnx.helper.set_model_props(model, {KEY: json.dumps(content)})


def read(model: onnx.ModelProto) -> dict[str, Any]:
    """Return the model's metadata, empty where it has none.

    Raises:
        ValueError: it is no JSON object.
    """
    texts = [entry.value for entry in model.metadata_props if entry.key == KEY]
    try:
        meta = json.loads(texts[0]) if texts else {}
    except json.JSONDecodeError:
        meta = None
    if not isinstance(meta, dict):
        raise ValueError(f"metadata key {KEY} is no JSON object but {texts[0][:80]!r}")
    return meta
