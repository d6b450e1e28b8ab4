import numpy as np
import pytest

from ensemble.steps.accept_boxes import check_boxes


def boxes(*values):
    return np.array(values, np.float32).reshape(-1, 4)


def test_a_box_without_height_is_accepted():
    check_boxes(boxes([10, 10, 50, 10]))


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ([0, 0, np.nan, 5], "is not finite"),
        ([0, 0, np.inf, 5], "is not finite"),
        ([-3e38, 0, 3e38, 5], "is not finite"),
        ([5, 0, 4, 5], "is empty"),
        ([5, 5, 5, 5], "is empty"),
    ],
)
def test_bad_boxes_are_refused_by_index(box, reason):
    with pytest.raises(ValueError, match=rf"bboxes\[1\] = .* {reason}"):
        check_boxes(boxes([0, 0, 1, 1], box))
