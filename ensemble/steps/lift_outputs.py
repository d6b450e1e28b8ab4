"""A lifter's answers -> `keypoints_3d` of the persons."""

from dataclasses import dataclass

from ensemble.steps import Arrays, Request, Step
from ensemble.tensors import KEYPOINTS, KEYPOINTS_3D, LIFTED


@dataclass(frozen=True)
class LiftOutputs(Step):
    """Joints of every crop -> joints of every person."""

    name: str = "lift_outputs"
    inputs = (LIFTED.many(), KEYPOINTS)
    outputs = (KEYPOINTS_3D,)

    def run(self, request: Request) -> Arrays:
        """Drop the joints of the black crop of a picture without people."""
        lifted, keypoints = (request.tensors[tensor.name] for tensor in self.inputs)
        return {KEYPOINTS_3D.name: lifted[: len(keypoints)]}
