"""Training task of the detector: batches of whole scenes by step, and the loss."""

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ensemble.geometry import Letterbox
from synthetic.dataset import Dataset
from synthetic.effects import decode
from synthetic.yolox import SmallYolox, cells
from synthetic.yolox_losses import detector_loss

SIZE = 416
DETECTOR_NAME = f"yolox-t_rendered_{SIZE}"
_ZOOM, _PLAIN_ODDS = (0.75, 1.6), 0.4
_GREY = (114, 114, 114)
_MIN_SHARE, _MIN_SIDE = 0.35, 6.0  # share of a box inside the picture, and its shorter side in pixels
Image = NDArray[np.uint8]
Floats = NDArray[np.float32]
Batch = dict[str, Tensor]


class DetectorTask:
    """Letterboxed scenes and YOLOX's loss.

    Attributes:
        network: in training mode.
    """

    def __init__(self, data: Dataset, seed: int, batch_size: int = 16, size: int = SIZE) -> None:
        torch.manual_seed(seed)
        self.network = SmallYolox().train().to(memory_format=torch.channels_last)
        self.data = data
        self.seed = seed
        self.batch_size = batch_size
        self.size = size
        self.corners, self.strides = cells(size)

    def batch(self, step: int) -> Batch:
        """Return the batch of a step, which depends on nothing else."""
        rng = np.random.default_rng((self.seed, step))
        images, boxes = [], []
        for scene in rng.integers(0, len(self.data), self.batch_size):
            image, box = self._sample(rng, int(scene))
            images.append(image)
            boxes.append(box)
        return {
            "images": torch.from_numpy(np.stack(images)),
            "boxes": torch.from_numpy(np.concatenate(boxes)),
            "counts": torch.tensor([len(box) for box in boxes]),
        }

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the terms of the loss, and their sum as `loss`."""
        images = _network_input(batch["images"])
        with torch.autocast(images.device.type, torch.bfloat16):
            logits = self.network.logits(images)
        boxes = list(batch["boxes"].split(batch["counts"].tolist()))
        corners, strides = self.corners.to(images.device), self.strides.to(images.device)
        return detector_loss(logits.float(), boxes, corners, strides)

    def _sample(self, rng: np.random.Generator, scene: int) -> tuple[Image, Floats]:
        image, boxes = decode(self.data.jpeg(scene)), self.data.bbox_xyxy[self.data.people_of(scene)]
        letterbox = Letterbox((self.size, self.size))
        ratio = letterbox.ratio((image.shape[1], image.shape[0]))
        if rng.random() < _PLAIN_ODDS:
            return letterbox.apply(image), boxes * np.float32(ratio)
        return _moved(rng, image, boxes, ratio, self.size)


def _network_input(images: Tensor) -> Tensor:
    """Return (B, 3, S, S) float32 for pictures (B, S, S, 3) uint8."""
    return images.permute(0, 3, 1, 2).float().contiguous(memory_format=torch.channels_last)


def _moved(rng: np.random.Generator, image: Image, boxes: Floats, ratio: float, size: int) -> tuple[Image, Floats]:
    """Return the picture, scaled, moved and sometimes mirrored on a grey square, and the remaining boxes."""
    zoom = ratio * np.exp(rng.uniform(*np.log(_ZOOM)))
    extent = zoom * np.array(image.shape[1::-1])
    offset = rng.uniform(np.minimum(0, size - extent), np.maximum(0, size - extent))
    matrix = np.array(((zoom, 0, offset[0]), (0, zoom, offset[1])))
    if rng.random() < 0.5:
        matrix[0] = (-zoom, 0, size - offset[0])
    canvas = cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderValue=_GREY)
    corners = boxes.reshape(-1, 2, 2) * matrix[[0, 1], [0, 1]] + matrix[:, 2]
    low, high = corners.min(axis=1), corners.max(axis=1)
    clipped = np.clip(np.concatenate((low, high), axis=1), 0, size)
    sides = clipped[:, 2:] - clipped[:, :2]
    kept = (sides.prod(axis=1) >= _MIN_SHARE * (high - low).prod(axis=1)) & (sides.min(axis=1) >= _MIN_SIDE)
    return np.asarray(canvas, np.uint8), clipped[kept].astype(np.float32)
