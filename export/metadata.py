"""Metadata in ONNX files of this project and of the publicly known CIGPose exports: one JSON object."""

import difflib
import json
import math
from collections.abc import Mapping, Sequence
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
_WHOLE = ("input_w", "input_h", "short_side", "num_keypoints", "heatmap_w", "heatmap_h")
_TEXT = ("family", "keypoint_set")
_NUMBERS = ("mean", "std", "padding", "blur_kernel_size", "offset", "split_ratio")
_CHOICES = ("channel_order", "warp", "decoding", "search")
_KNOWN = (*_WHOLE, *_TEXT, *_NUMBERS, *_CHOICES, *_PROVENANCE)
_NEARLY = 0.9  # similarity of a misspelt key, which ignored would cost accuracy


def write(model: onnx.ModelProto, content: dict[str, Any]) -> None:
    """Replace the model's metadata by `content`."""
    onnx.helper.set_model_props(model, {KEY: json.dumps(content)})


def read(model: onnx.ModelProto) -> dict[str, Any]:
    """Return the model's metadata without nulls; empty when it has none.

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
    return {key: value for key, value in meta.items() if value is not None}


def check(path: Path, model: onnx.ModelProto) -> dict[str, Any]:
    """Return the metadata of the file at `path`, see `read`, after a check of keys and types.

    Raises:
        ValueError: the metadata is no JSON object, a value has another type, or a key is nearly a known one.
    """
    try:
        meta = read(model)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    for key, value in meta.items():
        if expected := _wrong(key, value):
            raise ValueError(f"{path}: the metadata says {key} {value!r}; it must be {expected}")
        near = [] if key in _KNOWN else difflib.get_close_matches(key, _KNOWN, 1, _NEARLY)
        if near:
            raise ValueError(f"{path}: the metadata has the unknown key {key!r}; rename it to {near[0]!r} or remove it")
    return meta


def numbers(
    path: Path, meta: Mapping[str, Any], key: str, usual: Sequence[float], above: float = 0
) -> tuple[float, ...]:
    """Return the metadata's number or numbers of a key, `usual` where there are none.

    Raises:
        ValueError: they are not as many finite numbers as the usual ones, or one is not above `above`.
    """
    stated = meta.get(key, list(usual))
    values = stated if isinstance(stated, list) else [stated]
    if len(values) != len(usual) or not all(_is_number(value) and value > above for value in values):
        expected = "a number" if len(usual) == 1 else f"{len(usual)} numbers"
        bound = f" above {above:g}" if above > -math.inf else ""
        raise ValueError(
            f"{path}: the metadata says {key} {stated!r}; it must be {expected}{bound}, "
            f"such as {', '.join(map(str, usual))}"
        )
    return tuple(values)


def _wrong(key: str, value: Any) -> str:
    """Return what a value has to be; "" when it is."""
    if key in _WHOLE and not (_is_number(value) and value > 0 and value % 1 == 0):
        return "a whole number above 0"
    if key == "split_ratio" and not (_is_number(value) and value > 0):
        return "a number above 0"
    if key in _TEXT and not isinstance(value, str):
        return "text"
    return "true or false" if key == "flip_test" and not isinstance(value, bool) else ""


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def source(path: Path, meta: Mapping[str, Any] | None = None) -> dict[str, str]:
    """Return the provenance of a network, for the served model's config."""
    stated = {key: str(meta[key]) for key in _PROVENANCE if meta and key in meta}
    return {"source_file": path.name, "source_sha256": graph_edit.sha256(path)} | stated
