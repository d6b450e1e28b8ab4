"""The server's public contract as pure functions: names of models, tensors and options; requests out, answers in."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from numbers import Real
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from cigpose_client._errors import ServerFailed
from cigpose_client._poses import Detections, FloatArray, Poses

if TYPE_CHECKING:  # gRPC is imported with the first client, see `BaseClient._connect`
    from tritonclient.grpc import InferInput, InferResult

DEFAULT = "pose"
MAX_PICTURE_BYTES = 32_000_000
"""The contract's limit for an encoded picture."""

_FROM_BOXES = "pose_from_boxes"
_TWINS = {
    DEFAULT: _FROM_BOXES,
    "pose_3d": "pose_3d_from_boxes",
}  # of the default ensembles; others have a network's name
_DETECTION_OUTPUTS = ("bboxes", "bbox_scores", "persons_detected")
_ALL_OUTPUTS: tuple[str, ...] = ()  # an ensemble of a lifter answers `keypoints_3d` as well


@dataclass(frozen=True)
class Options:
    """Options of a request; None selects the server's default. The server checks the ranges.

    Attributes:
        bbox_threshold: people with a lower detector score are dropped (server's default 0.5, with NanoDet 0.3).
        nms_threshold: of two boxes with a larger IoU, the one with the better score is kept (0.45).
        max_persons: limit of people; those with the best scores are kept (32).
    """

    bbox_threshold: float | None = None
    nms_threshold: float | None = None
    max_persons: int | None = None

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is not None and (isinstance(value, bool) or not isinstance(value, Real)):
                raise TypeError(f"option {name} must be a number or None, not {value!r}")


AnyOptions: TypeAlias = Options | Mapping[str, float | None]
"""`Options`, or a mapping of its fields such as `{"bbox_threshold": 0.4}`."""


def as_options(options: AnyOptions | None) -> Options:
    """Return `options` as `Options`; for None, the server's defaults.

    Raises:
        TypeError: `options` has another type, or a value is not a number.
        ValueError: a key is not an option.
    """
    known = tuple(Options.__dataclass_fields__)
    if options is None or isinstance(options, Options):
        return options or Options()
    if not isinstance(options, Mapping):
        raise TypeError(f"options must be Options or a mapping of {', '.join(known)}, not {options!r}")
    unknown = [name for name in options if name not in known]
    if unknown:
        raise ValueError(f"unknown option {unknown[0]!r}; known: {', '.join(known)}")
    return Options(**options)  # type: ignore[arg-type]  # the server checks that max_persons is whole


def ensemble_name(model: str) -> str:
    """Return the ensemble that finds people and their keypoints: `pose`, or `pose_<network>`.

    Args:
        model: `pose` (the server's default network), `pose_3d` (its default lifter), a network's name, or an ensemble's
            name.
    """
    return model if model == DEFAULT or model.startswith(f"{DEFAULT}_") else f"{DEFAULT}_{model}"


def boxes_ensemble_name(model: str) -> str:
    """Return the ensemble that takes boxes for the same `model`: `pose_from_boxes`, or `pose_from_boxes_<network>`."""
    name = ensemble_name(model)
    if name in _TWINS or name in _TWINS.values():
        return _TWINS.get(name, name)
    return _FROM_BOXES + name.removeprefix(_FROM_BOXES).removeprefix(DEFAULT)


def pose_ensembles(networks: str) -> tuple[str, ...]:
    """Return the ensembles that find people and their keypoints by themselves, the default one first.

    Args:
        networks: the parameter `networks` of any ensemble: the repository's networks, separated by commas.
    """
    return (DEFAULT, *(f"{DEFAULT}_{network}" for network in networks.split(",")))


def is_pose_ensemble(name: str) -> bool:
    """Return whether a served model of this name finds people and their keypoints by itself."""
    of_boxes = name.startswith(_FROM_BOXES) or name in _TWINS.values()
    return name == DEFAULT or (name.startswith(f"{DEFAULT}_") and not of_boxes)


def pose_request(model: str, picture: bytes, options: Options) -> dict[str, Any]:
    """Return the arguments of `infer` that ask for people and keypoints."""
    return _request(ensemble_name(model), [_picture(picture)], _ALL_OUTPUTS, options)


def detection_request(model: str, picture: bytes, options: Options) -> dict[str, Any]:
    """Return the arguments of `infer` that ask for people only; the pose network does not run."""
    return _request(ensemble_name(model), [_picture(picture)], _DETECTION_OUTPUTS, options)


def boxes_request(model: str, picture: bytes, bboxes_xyxy: FloatArray) -> dict[str, Any]:
    """Return the arguments of `infer` that ask for the keypoints of the people in the (N, 4) boxes."""
    boxes = _input("bboxes", "FP32", bboxes_xyxy)
    return _request(boxes_ensemble_name(model), [_picture(picture), boxes], _ALL_OUTPUTS, Options())


def parse_poses(answer: "InferResult", set_name: str, kind: str) -> Poses:
    """Return the answer to a `pose_request` or `boxes_request` of a network with this keypoint set.

    Raises:
        ServerFailed: the answer violates the contract.
    """
    keypoints, scores = _floats(answer, "keypoints"), _floats(answer, "keypoint_scores")
    if keypoints.shape != (*scores.shape, 2):
        raise ServerFailed(f"keypoints of shape {keypoints.shape} do not fit scores of shape {scores.shape}")
    found, lifted = vars(parse_detections(answer)), None
    if answer.as_numpy("keypoints_3d") is not None:
        lifted = _floats(answer, "keypoints_3d")
        if lifted.ndim != 3 or (len(lifted), lifted.shape[2]) != (len(keypoints), 3):
            raise ServerFailed(f"keypoints_3d of shape {lifted.shape} do not fit keypoints of shape {keypoints.shape}")
    return Poses(
        **found, keypoints=keypoints, keypoint_scores=scores, set_name=set_name, kind=kind, keypoints_3d=lifted
    )


def parse_detections(answer: "InferResult") -> Detections:
    """Return the people in the answer to any request.

    Raises:
        ServerFailed: the answer violates the contract.
    """
    count = int(_tensor(answer, "persons_detected").reshape(-1)[0])
    return Detections(_floats(answer, "bboxes"), _floats(answer, "bbox_scores"), count)


def checked_boxes(boxes: npt.ArrayLike) -> FloatArray:
    """Return `boxes` as (N, 4) float32: left, top, right, bottom in pixels. An empty list is (0, 4).

    Raises:
        ValueError: the boxes have another shape.
    """
    bboxes_xyxy = np.ascontiguousarray(boxes, np.float32)
    if bboxes_xyxy.size == 0:
        return bboxes_xyxy.reshape(0, 4)
    if bboxes_xyxy.ndim != 2 or bboxes_xyxy.shape[1] != 4:
        raise ValueError(f"boxes must have the shape (N, 4), not {bboxes_xyxy.shape}")
    return bboxes_xyxy


def split_boxes(bboxes_xyxy: FloatArray, most: int) -> list[FloatArray]:
    """Return the boxes in order, in runs of at most `most`; one empty run when there are none."""
    starts = range(0, max(len(bboxes_xyxy), 1), most)
    return [bboxes_xyxy[start : start + most] for start in starts]


def stitch(parts: list[Poses]) -> Poses:
    """Return the answers to the runs of `split_boxes` as one."""
    arrays = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name, value in vars(parts[0]).items()
        if isinstance(value, np.ndarray)
    }
    return replace(parts[0], persons_detected=sum(part.persons_detected for part in parts), **arrays)


def _request(model: str, inputs: "list[InferInput]", outputs: tuple[str, ...], options: Options) -> dict[str, Any]:
    from tritonclient.grpc import InferRequestedOutput

    # as strings, because servers before 24.08 do not know floating-point parameters
    parameters = {name: str(value) for name, value in vars(options).items() if value is not None}
    wanted = [InferRequestedOutput(name) for name in outputs] or None
    return {"model_name": model, "inputs": inputs, "outputs": wanted, "parameters": parameters}


def _picture(picture: bytes) -> "InferInput":
    return _input("image", "BYTES", np.array([picture], np.object_))


def _input(name: str, datatype: str, array: npt.NDArray[Any]) -> "InferInput":
    from tritonclient.grpc import InferInput

    return InferInput(name, list(array.shape), datatype).set_data_from_numpy(array)


def _floats(answer: "InferResult", name: str) -> FloatArray:
    # tritonclient before 2.71 returns float64 for an empty FP32 tensor
    return np.asarray(_tensor(answer, name), np.float32)


def _tensor(answer: "InferResult", name: str) -> npt.NDArray[Any]:
    array: npt.NDArray[Any] | None = answer.as_numpy(name)
    if array is None:
        raise ServerFailed(f"the answer lacks the output {name!r}")
    return array
