"""Coordinates as a network answers them, in cells of its grid -> coordinates in the picture."""

from dataclasses import dataclass

from ensemble.geometry import TopDownCrop
from ensemble.steps import Arrays, Request, Step
from ensemble.tensors import CENTERS, GRID_KEYPOINTS, GRID_SCORES, KEYPOINT_SCORES, KEYPOINTS, SCALES


@dataclass(frozen=True)
class DecodeCoordinates(Step):
    """Keypoints in cells of a grid that spans the crop -> keypoints in picture pixels.

    Attributes:
        grid_width: cells along the crop's width; Graph-PCNN's are those of its heat maps.
        grid_height: likewise.
    """

    grid_width: int
    grid_height: int

    inputs = (GRID_KEYPOINTS.many(), GRID_SCORES.many(), CENTERS, SCALES)
    outputs = (KEYPOINTS, KEYPOINT_SCORES)

    def run(self, request: Request) -> Arrays:
        """Place the points of the people; a picture with nobody brings those of one black crop, which are dropped."""
        keypoints, scores, centers, scales = (request.tensors[tensor.name] for tensor in self.inputs)
        persons, grid = len(centers), (self.grid_width, self.grid_height)
        placed = TopDownCrop.to_picture(keypoints[:persons], grid, centers, scales)
        return {"keypoints": placed, "keypoint_scores": scores[:persons]}
