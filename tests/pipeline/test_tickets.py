"""However a request ends, the gate frees its place."""

import shutil
import time

import numpy as np
import pytest
from tritonclient.utils import InferenceServerException

from tests.pictures import encode, picture_with_persons
from tests.triton import call

pytestmark = pytest.mark.server

PERSONS = encode(picture_with_persons([(10, 10), (20, 20)]))
NOBODY = encode(picture_with_persons([]))
BOXES = np.array([[0, 0, 9, 9], [5, 5, 20, 30]], np.float32)
BELIEVED_LOST_S = 1.0  # the gate writes off tickets that stay out for longer


@pytest.fixture(scope="module")
def narrow(serve, repository, tmp_path_factory):
    """A server with one place and no queue."""
    copy = shutil.copytree(repository, tmp_path_factory.mktemp("narrow") / "repository")
    config = copy / "admit_picture" / "config.pbtxt"
    text = config.read_text()
    narrowed = text.replace('string_value: "16"', 'string_value: "1"').replace(
        'string_value: "64"', 'string_value: "0"'
    )
    assert narrowed.count('string_value: "1"') == narrowed.count('string_value: "0"') == 1
    config.write_text(narrowed)
    with serve(copy) as running:
        yield running


@pytest.mark.parametrize(
    ("request_", "refusal"),
    [
        (("pose", PERSONS), None),
        (("pose", NOBODY), None),
        (("pose", PERSONS, None, ["bboxes"]), None),
        (("pose_from_boxes", PERSONS, BOXES), None),
        (("pose_from_boxes", PERSONS, BOXES, ["persons_detected"]), None),
        (("pose_from_boxes", PERSONS, BOXES, ["bboxes"]), None),
        (("pose", b"no picture"), "INVALID_ARGUMENT"),
        (("pose", PERSONS, None, None, {"max_persons": 0}), "INVALID_ARGUMENT"),
        (("pose", PERSONS, None, None, {"max_persons": 33}), "INVALID_ARGUMENT"),
        (("pose_from_boxes", PERSONS, -BOXES), "INVALID_ARGUMENT"),
        (("pose_from_boxes", PERSONS, np.tile(BOXES, (20, 1))), "INVALID_ARGUMENT"),
    ],
    ids=[
        "keypoints",
        "nobody",
        "boxes only",
        "given boxes",
        "given boxes, count only",
        "given boxes, boxes only",
        "rejected by decode_image",
        "rejected by select_persons",
        "rejected by crop_persons",
        "rejected by accept_boxes",
        "rejected by crop_persons, given boxes",
    ],
)
def test_a_request_frees_its_place(narrow, request_, refusal):
    """A place that is not freed stays taken for a second. A machine that stands still may take as long, not always."""
    for _ in range(3):
        statuses = _status(narrow, *request_), _status(narrow, "pose_from_boxes", NOBODY, BOXES)
        if statuses == (refusal, None):
            break
    assert statuses == (refusal, None)


def _status(server, model, encoded, bboxes=None, outputs=None, parameters=None):
    """Return the gRPC status of a failure, None for an answer. Retry while the gate has not yet freed the place."""
    give_up = time.monotonic() + 0.8 * BELIEVED_LOST_S
    while True:
        try:
            call(server, model, encoded, bboxes, outputs, **(parameters or {}))
            return None
        except InferenceServerException as error:
            status = error.status().removeprefix("StatusCode.")
        if status != "UNAVAILABLE" or time.monotonic() > give_up:
            return status
        time.sleep(0.02)
