import numpy as np
import pytest

from ensemble.steps import Request
from ensemble.steps.accept_boxes import AcceptBoxes, check_boxes


def boxes(*values):
    return np.array(values, np.float32).reshape(-1, 4)


def accept(bbox_xyxy, **parameters):
    return AcceptBoxes().run(Request({"bboxes": bbox_xyxy}, parameters, frozenset()))


@pytest.mark.parametrize("count", [0, 1, 3])
def test_accepted_boxes_have_the_outputs_of_found_persons(count):
    given = boxes(*[[0, 0, 10, 20]] * count)
    outputs = accept(given)
    assert {name: (array.dtype, array.tolist()) for name, array in outputs.items()} == {
        "bbox_scores": (np.float32, [1.0] * count),
        "persons_detected": (np.int32, [count]),
        "person_boxes": (np.float32, given.tolist()),
    }


def test_boxes_and_parameters_are_checked():
    with pytest.raises(ValueError, match="is empty"):
        accept(boxes([5, 5, 5, 5]))
    with pytest.raises(ValueError, match="unknown request parameter typo"):
        accept(boxes(), typo=1)
    with pytest.raises(ValueError, match="bbox_threshold is 2"):
        accept(boxes(), bbox_threshold=2)


@pytest.mark.parametrize("box", [[10, 10, 50, 10], [10, 10, 10, 50], [0, 0, 0.5, 0.5]])
def test_thin_boxes_are_accepted(box):
    check_boxes(boxes(box))


@pytest.mark.parametrize("shape", [(4,), (1, 5), (2, 1, 4)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match=rf"^bboxes must have shape \[N,4\], got \[{str(shape).strip('(,)')}\]$"):
        check_boxes(np.ones(shape, np.float32))


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ([0, 0, np.nan, 5], "is not finite"),
        ([0, 0, np.inf, 5], "is not finite"),
        ([0, np.inf, 5, np.inf], "is not finite"),
        ([-3e38, 0, 3e38, 5], "is not finite"),
        ([5, 0, 4, 5], "is empty"),
        ([0, 5, 5, 4], "is empty"),
        ([5, 5, 5, 5], "is empty"),
    ],
)
def test_bad_boxes_are_refused_by_index(box, reason):
    with pytest.raises(ValueError, match=rf"bboxes\[1\] = .* {reason}"):
        check_boxes(boxes([0, 0, 1, 1], box))
