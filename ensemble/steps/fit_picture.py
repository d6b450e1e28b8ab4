"""Picture -> the input of a bottom-up network, which sees the whole picture."""

from dataclasses import dataclass
from typing import ClassVar

from ensemble.geometry import PaddedFit
from ensemble.steps import Arrays, Request, Step, Weight
from ensemble.tensors import FITTED, IMAGE_BGR


@dataclass(frozen=True)
class FitPicture(Step):
    """Picture -> scaled and padded picture.

    Attributes:
        short_side: see `PaddedFit`.
    """

    short_side: int

    weight: ClassVar[Weight] = "pixels"
    inputs = (IMAGE_BGR,)
    outputs = (FITTED,)

    def run(self, request: Request) -> Arrays:
        """Scale and pad the picture."""
        return {"fitted": PaddedFit(self.short_side).apply(request.tensors["image_bgr"])}
