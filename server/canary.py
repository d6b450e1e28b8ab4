"""A canary: the smallest request that a model can answer, made from the model's own configuration."""

import struct
from enum import Enum
from typing import Any

import numpy as np
import tritonclient.grpc
from tritonclient.utils import InferenceServerException, triton_to_np_dtype

_BOX = (0, 0, 1, 1)  # xyxy: four numbers are a box, and one without an area would be refused, or be a person of its own
# One black pixel as a BMP file: file header, BITMAPINFOHEADER, one padded row.
_PICTURE = struct.pack("<2sIHHIIiiHHIIiiII", b"BM", 58, 0, 0, 54, 40, 1, 1, 1, 24, 0, 4, 0, 0, 0, 0) + bytes(4)


class Verdict(Enum):
    """What a canary's answer says of its model."""

    ALIVE = "alive"
    LATE = "late"  # too much to do, or hung: the statistics tell
    BROKEN = "broken"


def canary_inputs(config: Any) -> list["tritonclient.grpc.InferInput"]:
    """Return inputs of the smallest valid shape: boxes and pictures of one pixel, every other number 1.

    Args:
        config: Triton's ModelConfig message.
    """
    batch = [1] if config.max_batch_size else []
    return [_input(entry, batch) for entry in config.input]


def verdict(error: InferenceServerException | None) -> Verdict:
    """Return what the end of a canary means.

    A refusal as INVALID_ARGUMENT comes from living code. A full queue and a late answer come from a server with too
    much to do; treating them as death would take it away from all its callers.
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
    shape = [*batch, *(1 if dim < 0 else dim for dim in entry.dims)]
    array = np.ones(shape, triton_to_np_dtype(datatype))
    if datatype == "BYTES":
        array.fill(_PICTURE)
    if datatype == "FP32" and shape[-1] == len(_BOX):
        array[...] = _BOX
    made = tritonclient.grpc.InferInput(entry.name, shape, datatype)
    made.set_data_from_numpy(array)
    return made
