"""Adapter: bboxes -> bbox_scores, persons_detected, person_boxes, as `select_persons` answers for found boxes."""

import numpy as np
from ensemble.adapter import PythonStep
from ensemble.admission import pause
from ensemble.crop import check_boxes

from ensemble.request_parameters import RequestParameters, parse_parameters


class TritonPythonModel(PythonStep):
    refusals = ("bboxes", "parameters")
    then = pause  # no keypoints may be wanted

    def run(self, request):
        parse_parameters(request.parameters, RequestParameters())  # nothing to set here, but a typo is told
        bboxes = request.tensors["bboxes"]
        check_boxes(bboxes)
        return {
            "bbox_scores": np.ones(len(bboxes), np.float32),
            "persons_detected": np.array([len(bboxes)], np.int32),
            "person_boxes": bboxes,
        }
