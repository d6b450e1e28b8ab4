"""Training of the bottom-up network: which network, whole pictures as a function of the step, and the loss."""

from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ensemble.geometry import PaddedFit
from ensemble.keypoints import keypoint_set
from export.families.hrnet.variants import Hrnet
from export.families.logocap.network import Maps, build
from export.families.logocap.variants import Variant
from synthetic.dataset import Dataset
from synthetic.effects import decode
from synthetic.logocap_losses import Truth, total
from synthetic.pose_task import normalized

LOGOCAP = Variant(
    name="logocap-t_rendered_256",
    architecture=Hrnet(16, modules=(1, 1, 1), blocks=2, stem=32, bottlenecks=1),
    short_side=256,
    offsets=64,
    embedding=16,
    filter_layers=(64, 48, 32),
    reach=24,
    spread=8.0,
)
_SIZE = 320, 256  # (w, h) of a training picture
_BODY = slice(*keypoint_set("coco_wholebody").parts["body"])  # COCO's 17 points, first of the 133
_FLIP = np.array(keypoint_set(LOGOCAP.keypoint_set).flip_indices)
_ZOOM = 0.75, 1.5
_PEOPLE = 12  # most people of a scene
_FEWEST = 3  # annotated points of a person that counts
_NOISE = 0.03  # of a first pose, in shares of a person's diagonal
Batch = dict[str, Tensor]


class LogoCapTask:
    """Rendered scenes, moved and scaled at random, and LOGO-CAP's losses.

    Attributes:
        network: in training mode.
    """

    def __init__(self, data: Dataset, seed: int, batch_size: int = 8, variant: Variant = LOGOCAP) -> None:
        torch.manual_seed(seed)
        self.network = build(variant).train().to(memory_format=torch.channels_last)
        for head in (self.network.final_layer_cls, self.network.final_layer_reg):
            torch.nn.init.normal_(head.weight, std=0.01)
            torch.nn.init.zeros_(head.bias)
        torch.nn.init.constant_(self.network.joints_mlp[-1].bias, 0.5)  # clamped values learn nothing
        self.data = data
        self.seed = seed
        self.batch_size = batch_size

    def batch(self, step: int) -> Batch:
        """Return the batch of a step; the same step gives the same batch."""
        rng = np.random.default_rng((self.seed, step))
        scenes = rng.integers(0, len(self.data), self.batch_size)
        pictures, points, weights = zip(*(self._sample(rng, int(scene)) for scene in scenes), strict=True)
        noise = rng.normal(0, _NOISE, (self.batch_size, _PEOPLE, len(_FLIP), 2)).astype(np.float32)
        arrays = {"pictures": np.stack(pictures), "points": np.stack(points), "weights": np.stack(weights)}
        return {name: torch.from_numpy(array) for name, array in (arrays | {"noise": noise}).items()}

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the terms of the loss, their sum under `loss`."""
        with torch.autocast(batch["weights"].device.type, torch.bfloat16):
            maps = self.network(normalized(batch["pictures"]))
        maps = Maps(*(each.float() for each in maps))
        return total(self.network, maps, Truth(batch["points"], batch["weights"]), batch["noise"])

    def start(self, path: Path) -> None:
        """Refuse: a LOGO-CAP is trained on from its checkpoint alone.

        Raises:
            ValueError: always.
        """
        raise ValueError(f"{path}: LOGO-CAP does not start from an ONNX file; go on from a checkpoint with --resume")

    def _sample(
        self, rng: np.random.Generator, scene: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]:
        """Return a picture (h, w, 3) and its people's points (P, 17, 2) and weights (P, 17), P fixed."""
        image, rows = decode(self.data.jpeg(scene)), self.data.people_of(scene)
        matrix, mirrored = _placement(rng, (image.shape[1], image.shape[0]))
        picture = cv2.warpAffine(image, matrix, _SIZE, flags=cv2.INTER_LINEAR)
        moved = self.data.points[rows, _BODY] @ matrix[:, :2].T + matrix[:, 2]
        seen = self.data.visible[rows, _BODY] > 0
        if mirrored:
            moved, seen = moved[:, _FLIP], seen[:, _FLIP]
        seen &= ((moved >= 0) & (moved < _SIZE)).all(axis=2)
        kept = np.flatnonzero(seen.sum(axis=1) >= _FEWEST)[:_PEOPLE]
        points = np.zeros((_PEOPLE, len(_FLIP), 2), np.float32)
        weights = np.zeros(points.shape[:2], np.float32)
        points[: len(kept)], weights[: len(kept)] = moved[kept], seen[kept]
        return np.asarray(picture, np.uint8), points, weights


def _placement(rng: np.random.Generator, size: tuple[int, int]) -> tuple[NDArray[np.float64], bool]:
    """Return the (2, 3) matrix from pixels of a picture of (w, h) to those of the input, and whether it mirrors."""
    zoom = PaddedFit(LOGOCAP.short_side).ratio(size) * np.exp(rng.uniform(*np.log(_ZOOM)))
    room = np.array(_SIZE) - zoom * np.array(size)
    offset = rng.uniform(np.minimum(0, room), np.maximum(0, room))
    mirrored = bool(rng.random() < 0.5)
    row = (-zoom, 0, _SIZE[0] - 1 - offset[0]) if mirrored else (zoom, 0, offset[0])
    return np.array((row, (0, zoom, offset[1]))), mirrored
