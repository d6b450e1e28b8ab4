"""Training task of the pose network: the small network, batches by step, and the loss."""
# mypy: disallow-subclassing-any=False

import numpy as np
import torch
from torch import Tensor, nn

from ensemble.keypoints import keypoint_set
from export.families.cigpose.head import HeadStages
from export.families.cigpose.network import CigPose, build
from export.families.cigpose.variants import STRIDE, Variant
from export.families.top_down import MEAN, STD
from synthetic.crops import samples
from synthetic.dataset import Dataset
from synthetic.pose_losses import Rows, as_distribution, cell_labels, coarse_loss, simcc_labels, total_loss

POSE = Variant(
    name="cigpose-t_rendered_256x192",
    keypoint_set="coco_wholebody",
    input_size=(192, 256),
    widen=0.25,
    deepen=0.33,
    hidden_dims=128,
    gau_s=64,
    gcn_layers=1,
    cim_k_train=13,
    sigma=(4.9, 5.66),
    training_data="rendered scenes",
)
_MEAN, _STD = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
# Without these weights, the 68 keypoints of the face would dominate the few keypoints of the limbs.
_IMPORTANCE = {"body": 4.0, "foot": 3.0, "face": 0.5, "left_hand": 1.5, "right_hand": 1.5}
Batch = dict[str, Tensor]


class GuidedPose(nn.Module):
    """The pose network, with a layer for training only, which predicts keypoints from the backbone's third stage.

    Without this layer, a network with random weights spends most of a short training on the average pose.

    Attributes:
        pose: the pose network.
    """

    STRIDE = 16  # crop pixels per cell of the third stage

    def __init__(self, variant: Variant) -> None:
        super().__init__()
        self.pose: CigPose = build(variant)
        self.guide = nn.Conv2d(variant.stage_channels[2], variant.num_keypoints, 1)

    def forward(self, crops: Tensor) -> tuple[HeadStages, Tensor]:
        """Return the stages of the head, and the guide's logits (B, K, cells), row-major."""
        seen: list[Tensor] = []
        hook = self.pose.backbone.stage3.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
        stages = self.pose.stages(crops)
        hook.remove()
        return stages, self.guide(seen[0]).flatten(2)


class PoseTask:
    """Crops of rendered people and the recipe of CIGPose.

    Attributes:
        network: in training mode.
    """

    def __init__(self, data: Dataset, seed: int, batch_size: int = 16, variant: Variant = POSE) -> None:
        torch.manual_seed(seed)
        self.network = GuidedPose(variant).train().to(memory_format=torch.channels_last)
        _depthwise_in_float32(self.network)
        self.data = data
        self.seed = seed
        self.batch_size = batch_size
        self.variant = variant
        self.importance = torch.ones(variant.num_keypoints)
        for part, (first, end) in keypoint_set(variant.keypoint_set).parts.items():
            self.importance[first:end] = _IMPORTANCE[part]

    def batch(self, step: int) -> Batch:
        """Return the batch of a step, which depends on nothing else."""
        rng = np.random.default_rng((self.seed, step))
        drawn = samples(self.data, rng, self.batch_size, self.variant.input_size)
        return {
            "crops": torch.from_numpy(np.stack([sample.crop for sample in drawn])),
            "points": torch.from_numpy(np.stack([sample.points for sample in drawn])),
            "weights": torch.from_numpy(np.stack([sample.weights for sample in drawn])),
        }

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the terms of the loss, and their sum as `loss`."""
        head, weights = self.network.pose.head, batch["weights"] * self.importance.to(batch["weights"].device)
        annotated = weights > 0
        points, kept = batch["points"][annotated], weights[annotated]
        with torch.autocast(weights.device.type, torch.bfloat16):
            stages, guide = self.network(normalized(batch["crops"]))
            preliminary = Rows(head.initial_pred_x(stages.attended), head.initial_pred_y(stages.attended))
            with torch.no_grad():
                part = head.gcn(stages.attended[: max(2, len(weights) // 4)])
                plain = Rows(head.cls_gx(part), head.cls_gy(part))
        final = Rows(stages.simcc_x, stages.simcc_y)
        terms = total_loss(final, preliminary, plain, self._targets(points), weights, stages.intervened)
        width, height = self.variant.feature_size
        coarse = coarse_loss(stages.heatmaps[annotated], cell_labels(points / STRIDE, (width, height)), kept)
        finer = cell_labels(points / GuidedPose.STRIDE, (2 * width, 2 * height))
        terms |= {"coarse": coarse, "guide": coarse_loss(guide[annotated], finer, kept)}
        return terms | {"loss": terms["loss"] + terms["coarse"] + terms["guide"]}

    def _targets(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Return label distributions (M, x bins) and (M, y bins) for keypoints (M, 2)."""
        bins, sigma, positions = self.variant.bins, self.variant.sigma, points * self.variant.split_ratio
        x, y = (as_distribution(simcc_labels(positions[:, axis], bins[axis], sigma[axis])) for axis in range(2))
        return x, y


def normalized(crops: Tensor) -> Tensor:
    """Return the network's input (B, 3, H, W) float32 RGB for crops (B, H, W, 3) uint8 BGR."""
    pixels = crops.flip(-1).permute(0, 3, 1, 2).float()
    scaled = (pixels - _MEAN.to(pixels.device)) / _STD.to(pixels.device)
    return scaled.contiguous(memory_format=torch.channels_last)


class _Float32Conv(nn.Conv2d):
    """A convolution that autocast does not change."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolve in float32."""
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float())


def _depthwise_in_float32(network: nn.Module) -> None:
    """Exclude depthwise convolutions from autocast: on CPUs, their bfloat16 gradient is three times slower."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.groups > 1:
            module.__class__ = _Float32Conv
