"""Every stage of a repository by itself: one instance, one request per execution, and a request that keeps it busy.

The queueing formula is valid for such stages. In service, networks merge queued requests. A merged batch takes less
time than its parts, so there the formula predicts longer waits than the real ones.
"""

import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tritonclient.grpc
from google.protobuf import text_format
from numpy.typing import NDArray
from tritonclient.grpc import model_config_pb2
from tritonclient.utils import np_to_triton_dtype

# "admit_picture" and "await_turn" compute nothing. "accept_boxes" takes a millisecond for any request, so its queue
# would depend on the operating system. "decode_simcc" is as fast as a caller can send its inputs.
LEFT_OUT = ("accept_boxes", "admit_picture", "await_turn", "decode_simcc")
_PROFILE = "cpu"  # networks of one thread

# Each of these sizes takes one core some tens of milliseconds.
_SIZE = (1500, 1000)  # of a picture, (w, h)
_CROPPED_SIZE = (600, 400)
_PERSONS = 32
_CROPS = 2
_UNBOUNDED = 1000  # size assumed for a dynamic axis
_BOXES = 700  # without overlaps, so that each is compared with all later ones


def simplify(repository: Path, folder: Path) -> dict[str, Any]:
    """Copy a repository, with one instance and no batching; return the stages' configs (ModelConfig) by name."""
    shutil.copytree(repository, folder, ignore=shutil.ignore_patterns("__pycache__", "configs", "MANIFEST.sha256"))
    configs = {}
    for path in sorted(folder.glob("*/config.pbtxt")):
        profile = repository / path.parent.name / "configs" / f"{_PROFILE}.pbtxt"
        text = (profile if profile.exists() else path).read_text(encoding="utf-8")
        config = text_format.Parse(text, model_config_pb2.ModelConfig())
        if config.platform == "ensemble":
            continue
        config.ClearField("dynamic_batching")
        for group in config.instance_group:
            group.count = 1
        path.write_text(text_format.MessageToString(config), encoding="utf-8")
        configs[config.name] = config
    return configs


def requests(configs: Mapping[str, Any]) -> dict[str, list["tritonclient.grpc.InferInput"]]:
    """Return the inputs of one request to each stage.

    Raises:
        ValueError: there is more than one pose network, or none.
    """
    networks = [name for name, config in configs.items() if config.backend == "onnxruntime" and name != "detector"]
    if len(networks) != 1:
        raise ValueError(f"the repository must have one pose network; it has {len(networks)}")
    tensors = _tensors(configs["detector"], configs[networks[0]])
    asked = {name: config for name, config in configs.items() if name not in LEFT_OUT}
    return {name: [_input(entry.name, tensors[entry.name]) for entry in asked[name].input] for name in asked}


def smallest_output(config: Any) -> "tritonclient.grpc.InferRequestedOutput":
    """Return the smallest output to request: a stage computes all of them, and the transfer is not measured."""
    sizes = {output.name: math.prod(_UNBOUNDED if dim < 0 else dim for dim in output.dims) for output in config.output}
    return tritonclient.grpc.InferRequestedOutput(min(sizes, key=lambda name: sizes[name]))


def _tensors(detector: Any, network: Any) -> dict[str, NDArray[Any]]:
    random, (width, height) = np.random.default_rng(0), _SIZE
    noise = cv2.resize(random.integers(0, 255, (height // 4, width // 4, 3), np.uint8), _SIZE)
    half = _CROPPED_SIZE[1] / 2
    left_top = random.uniform(0, half, (_PERSONS, 2))
    candidates = detector.output[0].dims[0]
    return {
        "image": np.array([cv2.imencode(".jpg", noise)[1].tobytes()], object),
        "ticket": np.zeros(2, np.int64),  # an invalid ticket, which the gate ignores
        "letterboxed": random.integers(0, 255, (1, *detector.input[0].dims), np.uint8),
        "boxes": _tiles(candidates, detector.input[0].dims[0]),
        "scores": (np.arange(candidates) < _BOXES).astype(np.float32),
        "image_size": np.array([height, width], np.int32),
        "image_bgr": cv2.resize(noise, _CROPPED_SIZE),
        "person_boxes": np.hstack([left_top, left_top + half]).astype(np.float32),
        "crops": random.integers(0, 255, (_CROPS, *network.input[0].dims), np.uint8),
    }


def _tiles(count: int, side: int) -> NDArray[np.float32]:
    """Return `count` boxes, the first _BOXES of them side by side in a square picture."""
    columns = math.isqrt(_BOXES) + 1
    step = side / columns
    left_top = np.stack([np.arange(count) % columns, np.arange(count) // columns], axis=1) * step
    return np.hstack([left_top, left_top + step - 1]).astype(np.float32)


def _input(name: str, array: NDArray[Any]) -> "tritonclient.grpc.InferInput":
    made = tritonclient.grpc.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
    made.set_data_from_numpy(array)
    return made
