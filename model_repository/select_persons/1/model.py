"""Adapter: boxes, scores, image_size -> bboxes, bbox_scores, persons_detected. The work is `select_persons`."""

import numpy as np
from ensemble.adapter import PythonStep, input_size
from ensemble.admission import pause
from ensemble.letterbox import letterbox_ratio
from ensemble.persons import select_persons

from ensemble.request_parameters import RequestParameters, parse_parameters


class TritonPythonModel(PythonStep):
    counters = {"cigpose_persons_detected_total": "Persons found, before max_persons cut the list."}
    refusals = ("parameters",)
    then = pause  # no keypoints may be wanted

    def configure(self, parameters):
        self.input_size = input_size(parameters)
        self.defaults = RequestParameters.from_config(parameters)

    def run(self, request):
        options = parse_parameters(request.parameters, self.defaults)
        persons = select_persons(
            request.tensors["boxes"],
            request.tensors["scores"],
            ratio=letterbox_ratio(request.tensors["image_size"], self.input_size),
            bbox_threshold=options.bbox_threshold,
            nms_threshold=options.nms_threshold,
            max_persons=options.max_persons,
        )
        self.count("cigpose_persons_detected_total", persons.detected)
        return {
            "bboxes": persons.bboxes,
            "bbox_scores": persons.scores,
            "persons_detected": np.array([persons.detected], np.int32),
            "person_boxes": persons.bboxes,
        }
