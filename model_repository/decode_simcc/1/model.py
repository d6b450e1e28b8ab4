"""Adapter: simcc_x, simcc_y, centers, scales -> keypoints, keypoint_scores. The work is `decode_simcc`."""

from ensemble.adapter import PythonStep
from ensemble.admission import leave
from ensemble.simcc import bins_to_picture, decode_simcc


class TritonPythonModel(PythonStep):
    then = leave

    def run(self, request):
        simcc_x, simcc_y, centers, scales = (
            request.tensors[name] for name in ("simcc_x", "simcc_y", "centers", "scales")
        )
        persons = len(centers)  # 0 for a picture with nobody, though one black crop went through the network
        keypoints, scores = decode_simcc(simcc_x[:persons], simcc_y[:persons])
        bins = simcc_x.shape[2], simcc_y.shape[2]
        return {"keypoints": bins_to_picture(keypoints, bins, centers, scales), "keypoint_scores": scores}
