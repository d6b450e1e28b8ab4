"""Adapter: image -> image_bgr, image_size, letterboxed. The work is `decode_picture` and `letterbox`."""

import cv2
import numpy as np
from ensemble.adapter import PythonStep, input_size
from ensemble.letterbox import letterbox
from ensemble.picture import REASONS, PictureLimits, decode_picture


class TritonPythonModel(PythonStep):
    counters = {"cigpose_pictures_total": "Pictures decoded."}
    refusals = REASONS

    def configure(self, parameters):
        cv2.setNumThreads(1)  # its idle threads spin, on cores that the networks need
        self.limits = PictureLimits(int(parameters["max_bytes"]), int(parameters["max_pixels"]))
        self.input_size = input_size(parameters)

    def run(self, request):
        image_bgr = decode_picture(request.tensors["image"][0], self.limits)
        self.count("cigpose_pictures_total")
        height, width = image_bgr.shape[:2]
        outputs = {"image_bgr": image_bgr, "image_size": np.array([width, height], np.int32)}
        if "letterboxed" in request.wanted:  # not when the boxes are given
            outputs["letterboxed"] = letterbox(image_bgr, self.input_size)[None]
        return outputs
