"""Adapter: image_bgr, person_boxes -> crops, centers, scales. The work is `crop_persons`."""

import cv2
import numpy as np
from ensemble.adapter import PythonStep, input_size
from ensemble.admission import resume
from ensemble.crop import centers_and_scales, check_crop_count, crop_persons

from ensemble.request_parameters import RequestParameters, parse_parameters


class TritonPythonModel(PythonStep):
    counters = {
        "cigpose_crops_total": "Persons cropped for a pose network.",
        "cigpose_dummy_crops_total": "Black crops sent through a pose network for pictures with nobody.",
    }
    refusals = ("bboxes",)

    def configure(self, parameters):
        cv2.setNumThreads(1)  # its idle threads spin, on cores that the networks need
        self.input_size = input_size(parameters)
        self.max_crops = int(parameters["max_crops"])

    def run(self, request):
        resume(request.tensors["ticket"])
        bboxes = request.tensors["person_boxes"]
        options = parse_parameters(request.parameters, RequestParameters(max_persons=self.max_crops))
        check_crop_count(len(bboxes), options.max_persons, self.max_crops)
        centers, scales = centers_and_scales(bboxes, self.input_size)
        crops = crop_persons(request.tensors["image_bgr"], centers, scales, self.input_size)
        if not len(crops):  # a batch of no crops is refused by Triton; `decode_simcc` drops this one's keypoints
            crops = np.zeros((1, *crops.shape[1:]), np.uint8)
            self.count("cigpose_dummy_crops_total")
        self.count("cigpose_crops_total", len(bboxes))
        return {"crops": crops, "centers": centers, "scales": scales}
