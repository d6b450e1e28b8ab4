import cv2
import numpy as np
import pytest

from ensemble.request_parameters import RequestParameters
from ensemble.steps.select_persons import non_maximum_suppression, select_persons

OPTIONS = RequestParameters()


def arrays(boxes, scores):
    return np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32)


def test_the_best_score_comes_first():
    boxes, scores = arrays([[0, 0, 10, 10], [20, 20, 30, 40], [50, 50, 60, 60]], [0.6, 0.9, 0.4])
    persons = select_persons(boxes, scores, OPTIONS)
    assert persons.bboxes.tolist() == [[20, 20, 30, 40], [0, 0, 10, 10]]
    assert persons.scores.tolist() == [np.float32(0.9), np.float32(0.6)]
    assert persons.detected == 2


def test_the_threshold_itself_is_enough():
    boxes, scores = arrays([[0, 0, 1, 1]], [0.5])
    assert select_persons(boxes, scores, OPTIONS).detected == 1


def test_equal_scores_keep_their_order():
    boxes, scores = arrays([[x, 0, x + 5, 5] for x in range(0, 200, 10)], [0.7] * 20)
    assert select_persons(boxes, scores, OPTIONS).bboxes[:, 0].tolist() == list(range(0, 200, 10))


def test_a_long_list_is_cut_and_counted():
    boxes, scores = arrays([[x, 0, x + 5, 5] for x in range(0, 1000, 10)], np.linspace(0.51, 0.99, 100))
    persons = select_persons(boxes, scores, RequestParameters(max_persons=7))
    assert (len(persons.bboxes), persons.detected) == (7, 100)
    assert persons.bboxes[0, 0] == 990


def test_no_person_gives_empty_arrays():
    persons = select_persons(*arrays([[0, 0, 1, 1]], [0.1]), OPTIONS)
    assert (persons.bboxes.shape, persons.scores.shape, persons.detected) == ((0, 4), (0,), 0)
    assert persons.bboxes.dtype == persons.scores.dtype == np.float32


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.45, 0.7, 1.0])
def test_suppression_equals_opencv(threshold):
    random = np.random.default_rng(0)
    corners = random.integers(0, 200, (300, 2))
    boxes = np.hstack([corners, corners + random.integers(10, 60, (300, 2))]).astype(np.float32)
    scores = random.permutation(np.linspace(0.1, 1, 300)).astype(np.float32)
    order = np.argsort(-scores, kind="stable")
    as_xywh = np.hstack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]])
    expected = cv2.dnn.NMSBoxes(as_xywh.tolist(), scores.tolist(), 0.0, threshold)
    assert order[non_maximum_suppression(boxes[order], threshold)].tolist() == list(expected)
