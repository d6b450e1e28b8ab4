"""Training task of Graph-PCNN: the small network and its ablations, batches by step, and the loss."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ensemble.keypoints import keypoint_set
from export.families.graph_pcnn.network import new
from export.families.graph_pcnn.variants import Variant
from export.families.hrnet import variants as baselines
from synthetic.crops import samples
from synthetic.dataset import Dataset
from synthetic.graph_pcnn_losses import (
    HEAT,
    REGRESSION,
    guided,
    heatmap_loss,
    heatmap_targets,
    random_points,
    stage2_loss,
)
from synthetic.pose_task import normalized

GRAPH_PCNN = Variant(
    name="graphpcnn-t_rendered_128x96",
    baseline=baselines.Variant(
        name="pose_hrnet-t_rendered_128x96",
        architecture=baselines.Hrnet(14, modules=(1, 1, 1), blocks=2, stem=32, bottlenecks=1),
        input_size=(96, 128),
    ),
    width=64,
    hidden=128,
)
WITHOUT_GRAPH = replace(GRAPH_PCNN, name=f"{GRAPH_PCNN.name}_no-graph", graph="none")  # the paper's ablation
EQUAL_NEIGHBOURS = replace(GRAPH_PCNN, name=f"{GRAPH_PCNN.name}_equal-neighbours", graph="ones")
_BODY = slice(*keypoint_set("coco_wholebody").parts["body"])  # COCO's 17 points, first of the 133
_OF_EACH_KIND = 16  # a third of the paper's 48 guided points of a keypoint at 128x96
Batch = dict[str, Tensor]


class GraphPcnnTask:
    """Crops of rendered people and the recipe of Graph-PCNN; both stages are trained together.

    Args:
        data: the rendered scenes.
        seed: seed of the initial weights and of the batches.
        batch_size: number of crops in a batch.
        variant: the network to train.

    Attributes:
        network: in training mode.
    """

    def __init__(self, data: Dataset, seed: int, batch_size: int = 32, variant: Variant = GRAPH_PCNN) -> None:
        torch.manual_seed(seed)
        self.network = new(variant).train().to(memory_format=torch.channels_last)
        torch.nn.init.normal_(self.network.reg.weight, std=0.01)
        self.data = data
        self.seed = seed
        self.batch_size = batch_size
        self.variant = variant

    def batch(self, step: int) -> Batch:
        """Return the batch of a step, which depends on nothing else."""
        rng = np.random.default_rng((self.seed, step))
        baseline = self.variant.baseline
        people = samples(self.data, rng, self.batch_size, baseline.input_size)
        truth = np.stack([sample.points[_BODY] for sample in people]) / np.float32(baselines.STRIDE)
        drawn = [random_points(rng, each, baseline.heatmap_size, baseline.sigma, _OF_EACH_KIND) for each in truth]
        order = rng.random((*truth.shape[:2], 3 * _OF_EACH_KIND), np.float32)
        return {
            "crops": torch.from_numpy(np.stack([sample.crop for sample in people])),
            "truth": torch.from_numpy(truth),
            "weights": torch.from_numpy(np.stack([sample.weights[_BODY] for sample in people])),
            "drawn": torch.from_numpy(np.stack(drawn)),
            "order": torch.from_numpy(order),
        }

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the terms of the loss, and their weighted sum as `loss`."""
        truth, weights, baseline = batch["truth"], batch["weights"], self.variant.baseline
        with torch.autocast(weights.device.type, torch.bfloat16):
            heatmaps, features = self.network.maps(normalized(batch["crops"]))
        targets = heatmap_targets(truth, baseline.heatmap_size, baseline.sigma)
        heat = heatmap_loss(heatmaps.float(), targets, weights, baseline.sigma)
        chosen = guided(heatmaps, batch["drawn"], batch["order"])
        terms = stage2_loss(self.network, features, chosen, truth, weights)
        return {"loss": HEAT * heat + terms["class"] + REGRESSION * terms["offset"], "heat": heat, **terms}
