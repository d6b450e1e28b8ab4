"""Canaries: the smallest request that a model can answer, built from the model's configuration."""

import struct
from enum import Enum
from typing import Any

import numpy as np
import tritonclient.grpc
from tritonclient.utils import InferenceServerException, triton_to_np_dtype

_BOX = (0, 0, 1, 1)  # xyxy; an empty box would be rejected
_SIDE = 64  # of pixels; bottom-up networks take multiples of it
_ROWS = 17  # of one person: steps take keypoints by their row in COCO's order, and maxima of maps by their neighbours
# One black pixel as a BMP file: file header, BITMAPINFOHEADER, one padded row.
_PICTURE = struct.pack("<2sIHHIIiiHHIIiiII", b"BM", 58, 0, 0, 54, 40, 1, 1, 1, 24, 0, 4, 0, 0, 0, 0) + bytes(4)


class Verdict(Enum):
    """What the result of a canary means for its model."""

    ALIVE = "alive"
    LATE = "late"  # busy or hung; the statistics decide
    BROKEN = "broken"


def canary_inputs(config: Any) -> list["tritonclient.grpc.InferInput"]:
    """Return inputs of the smallest valid shape: boxes and encoded pictures of one pixel, pixels of 64 x 64, else ones.

    Of people, it is one, with 17 keypoints or maps of 17 x 17 cells.

    Args:
        config: Triton's ModelConfig message.
    """
    batch = [1] if config.max_batch_size else []
    return [_input(entry, batch) for entry in config.input]


def verdict(error: InferenceServerException | None) -> Verdict:
    """Return the meaning of a canary's result.

    INVALID_ARGUMENT comes from working code. A full queue and a late answer come from a busy server. To restart that
    would take it away from all callers.
    """
    status = "" if error is None else (error.status() or "").removeprefix("StatusCode.")
    if status in ("", "INVALID_ARGUMENT"):
        return Verdict.ALIVE
    if status in ("DEADLINE_EXCEEDED", "CANCELLED", "UNAVAILABLE"):
        return Verdict.LATE
    return Verdict.BROKEN


def _input(entry: Any, batch: list[int]) -> "tritonclient.grpc.InferInput":
    name = type(entry).DESCRIPTOR.fields_by_name["data_type"].enum_type.values_by_number[entry.data_type].name
    datatype = {"TYPE_STRING": "BYTES"}.get(name, name.removeprefix("TYPE_"))
    first, others = (_SIDE, _SIDE) if datatype == "UINT8" else (1, _ROWS)
    dims = [dim if dim > 0 else others if axis else first for axis, dim in enumerate(entry.dims)]
    shape = [*batch, *dims]
    array = np.ones(shape, triton_to_np_dtype(datatype))
    if datatype == "BYTES":
        array.fill(_PICTURE)
    if datatype == "FP32" and shape[-1] == len(_BOX):
        array[...] = _BOX
    tensor = tritonclient.grpc.InferInput(entry.name, shape, datatype)
    tensor.set_data_from_numpy(array)
    return tensor
