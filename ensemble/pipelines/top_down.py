"""Top-down: find the persons, or take the caller's boxes, cut each out and look at it."""

from collections.abc import Sequence

from ensemble.keypoints import keypoint_set
from ensemble.networks import MAX_PERSONS, Detector, TopDownNetwork
from ensemble.pipeline import Pipeline
from ensemble.steps.accept_boxes import AcceptBoxes
from ensemble.steps.crop_persons import CropPersons
from ensemble.steps.decode_image import DecodeImage
from ensemble.steps.select_persons import SelectPersons
from ensemble.tensors import BBOX_SCORES, BBOXES, IMAGE, KEYPOINT_SCORES, KEYPOINTS, PERSONS_DETECTED


def pipelines(
    network: TopDownNetwork, alike: Sequence[TopDownNetwork], detector: Detector | None
) -> tuple[Pipeline, Pipeline]:
    """Return `pose_<network>` and `pose_from_boxes_<network>`.

    Raises:
        ValueError: there is no detector.
    """
    if detector is None:
        raise ValueError(f"{network.name} looks at one person at a time, so it needs a detector: give one")
    count = len(keypoint_set(network.keypoint_set))
    keypoints = KEYPOINTS.sized(-1, count, 2), KEYPOINT_SCORES.sized(-1, count)
    outputs = (BBOXES, BBOX_SCORES, *keypoints, PERSONS_DETECTED)
    parameters = {
        "kind": "top_down",
        "keypoint_set": network.keypoint_set,
        "network": network.name,
        "max_persons": str(network.max_batch_size),
    }
    width, height = network.crop.size
    crop_persons = CropPersons(
        _crop_name(network, alike[0]), width, height, network.max_batch_size, network.crop.padding
    )
    decode_image = DecodeImage("decode_image", *detector.input_size)
    select_persons = SelectPersons(
        _select_name(network, alike[0]), *detector.input_size, max_persons=min(MAX_PERSONS, network.max_batch_size)
    )
    estimate = (crop_persons, network.network, network.head.decoder)
    found = (decode_image, detector.network, select_persons, *estimate)
    given = (decode_image, AcceptBoxes(), *estimate)
    return (
        Pipeline(f"pose_{network.name}", (IMAGE,), found, outputs, parameters),
        Pipeline(f"pose_from_boxes_{network.name}", (IMAGE, BBOXES), given, outputs, parameters),
    )


def _select_name(network: TopDownNetwork, first: TopDownNetwork) -> str:
    limit = network.max_batch_size
    return "select_persons" if limit == first.max_batch_size else f"select_persons_max{limit}"


def _crop_name(network: TopDownNetwork, first: TopDownNetwork) -> str:
    """Return `crop_persons` for the first network's crops, otherwise a name that says what differs."""
    crop, limit = network.crop, network.max_batch_size
    if (crop, limit) == (first.crop, first.max_batch_size):
        return "crop_persons"
    size = f"crop_persons_{crop.size[1]}x{crop.size[0]}"
    padding = "" if crop.padding == first.crop.padding else f"_x{crop.padding:g}"
    return size + padding + ("" if limit == MAX_PERSONS else f"_max{limit}")
