"""Training task of Context-Aware PoseFormer: the small network, batches by step, and the paper's loss."""

import itertools
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from torch import Tensor

from ensemble.geometry import PelvisCrop
from ensemble.keypoints import keypoint_set
from ensemble.keypoints.human36m import ROOT, to_human36m
from ensemble.steps.lift_inputs import half_sizes, over_width, pelvis_regions
from export.families.poseformer.network import build
from export.families.poseformer.variants import KEYPOINTS, SMALL, Variant
from synthetic.accuracy import CHECKOUT
from synthetic.crops import Floats, Image, people_without_end, recoloured
from synthetic.dataset import Dataset
from synthetic.pose_task import POSE, normalized
from synthetic.pretrained import load_backbone

LIFTER = SMALL
WITHOUT_CONTEXT = replace(LIFTER, name=f"{LIFTER.name}_no-context", context="zeros")  # the paper's ablation
PLAIN = replace(LIFTER, name=f"{LIFTER.name}_plain", context="none", width=5 * LIFTER.width)  # as wide as five tokens
_FLIP = np.array(keypoint_set(KEYPOINTS).flip_indices)
_SHIFT, _SCALE = 0.04, (0.85, 1.18)  # of the crop: the pelvis and the size are estimated
_MOVE, _ZOOM = 0.3, (0.6, 1.6)  # of the person in the picture: every rendered person has a camera of its own
_NOISE = 0.012  # standard deviation of the 2-D joints, in widths of the crop: a detector's error
Batch = dict[str, Tensor]


@dataclass(frozen=True)
class Sample:
    """What the network takes and has to answer for one person; the crop is (h, w, 3) uint8 BGR."""

    crop: Image
    keypoints_image: Floats
    keypoints_crop: Floats
    joints_3d: Floats


class LifterTask:
    """Rendered people, their noisy 2-D joints, and the mean distance of the joints in space as the loss.

    Attributes:
        network: in training mode.
    """

    def __init__(self, data: Dataset, seed: int, batch_size: int = 32, variant: Variant = LIFTER) -> None:
        torch.manual_seed(seed)
        self.network = build(variant).train().to(memory_format=torch.channels_last)
        if variant.context == "maps":
            load_backbone(self.network.backbone, CHECKOUT / "weights" / f"{POSE.name}.onnx")
        self.data = data
        self.seed = seed
        self.batch_size = batch_size
        self.variant = variant

    def batch(self, step: int) -> Batch:
        """Return the batch of a step, which depends on nothing else."""
        rng = np.random.default_rng((self.seed, step))
        drawn = itertools.islice(people_without_end(self.data, rng), self.batch_size)
        people = [self._sample(rng, image, row) for image, row in drawn]
        return {name: torch.from_numpy(np.stack([getattr(each, name) for each in people])) for name in vars(people[0])}

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the mean distance in metres as `loss`."""
        with torch.autocast(batch["crop"].device.type, torch.bfloat16):
            maps = self.network.maps(normalized(batch["crop"]))
        maps = [features.float() for features in maps]
        found = self.network.volume_net(maps, batch["keypoints_image"], batch["keypoints_crop"])
        return {"loss": (found - batch["joints_3d"]).norm(dim=2).mean()}

    def _sample(self, rng: np.random.Generator, image: Image, row: int) -> Sample:
        joints = to_human36m(self.data.points[row][None], "coco_wholebody")
        centers, widths = pelvis_regions(joints)
        joints = joints + (rng.normal(0, _NOISE, joints.shape) * widths).astype(np.float32)
        centers = centers + (rng.normal(0, _SHIFT, (1, 2)) * widths).astype(np.float32)
        widths = widths * np.float32(np.exp(rng.uniform(*np.log(_SCALE))))
        crop = PelvisCrop(self.variant.input_size)
        pixels = recoloured(rng, crop.apply(image, centers, widths)[0])
        over = _elsewhere(rng, over_width(joints, (image.shape[1], image.shape[0]))[0])
        in_crop = half_sizes(crop.from_picture(joints, centers, widths), crop.size)[0]
        sample = Sample(pixels, over, in_crop, self.data.joints_3d[row])
        return mirrored(sample) if rng.random() < 0.5 else sample


def _elsewhere(rng: np.random.Generator, points: Floats) -> Floats:
    """Return points (17, 2) of a picture as if the person had another place and size in it."""
    zoom, root = np.float32(np.exp(rng.uniform(*np.log(_ZOOM)))), points[ROOT]
    moved = zoom * (points - root) + root + rng.normal(0, _MOVE, 2)
    return np.asarray(moved, np.float32)


def mirrored(sample: Sample) -> Sample:
    """Return the mirror image of a sample. Pixel x of the crop becomes w - 1 - x, for its keypoints as well."""
    shift = np.array([2 / sample.crop.shape[1], 0], np.float32)
    return Sample(
        np.ascontiguousarray(cv2.flip(sample.crop, 1), np.uint8),
        sample.keypoints_image[_FLIP] * np.array([-1, 1], np.float32),
        sample.keypoints_crop[_FLIP] * np.array([-1, 1], np.float32) - shift,
        sample.joints_3d[_FLIP] * np.array([-1, 1, 1], np.float32),
    )
