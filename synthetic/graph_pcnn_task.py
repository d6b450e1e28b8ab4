"""Training of the two-stage network: which network, batches as a function of the step, and the loss."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ensemble.keypoints import keypoint_set
from export.families.graph_pcnn.network import new
from export.families.graph_pcnn.variants import Variant
from export.families.hrnet import variants as baselines
from synthetic.crops import Sample, training_crop
from synthetic.dataset import Dataset
from synthetic.effects import decode
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
_FROM_ONE_SCENE = 4  # people, so that batches stay mixed
_LEARNED = ("gpr.", "fc.", "cls.", "reg.")  # the graph and the heads
Batch = dict[str, Tensor]


class GraphPcnnTask:
    """Crops of rendered people and the recipe of Graph-PCNN, both stages at once.

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
        """Return the batch of a step; the same step gives the same batch."""
        rng = np.random.default_rng((self.seed, step))
        baseline = self.variant.baseline
        samples = [sample for sample, _ in zip(self._samples(rng), range(self.batch_size), strict=False)]
        truth = np.stack([sample.points[_BODY] for sample in samples]) / np.float32(baselines.STRIDE)
        drawn = [random_points(rng, each, baseline.heatmap_size, baseline.sigma, _OF_EACH_KIND) for each in truth]
        order = rng.random((*truth.shape[:2], 3 * _OF_EACH_KIND), np.float32)
        return {
            "crops": torch.from_numpy(np.stack([sample.crop for sample in samples])),
            "truth": torch.from_numpy(truth),
            "weights": torch.from_numpy(np.stack([sample.weights[_BODY] for sample in samples])),
            "drawn": torch.from_numpy(np.stack(drawn)),
            "order": torch.from_numpy(order),
        }

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the terms of the loss, their sum under `loss`."""
        truth, weights, baseline = batch["truth"], batch["weights"], self.variant.baseline
        with torch.autocast(weights.device.type, torch.bfloat16):
            heatmaps, features = self.network.maps(normalized(batch["crops"]))
        targets = heatmap_targets(truth, baseline.heatmap_size, baseline.sigma)
        heat = heatmap_loss(heatmaps.float(), targets, weights, baseline.sigma)
        found = guided(heatmaps, batch["drawn"], batch["order"])
        terms = stage2_loss(self.network, features, found, truth, weights)
        return {"loss": HEAT * heat + terms["class"] + REGRESSION * terms["offset"], "heat": heat, **terms}

    def start(self, path: Path) -> None:
        """Take stage 1 and its second branch from a trained network's checkpoint and freeze them.

        The graph and the heads are trained from their initial weights. So networks that differ in the graph alone can
        be compared.

        Raises:
            ValueError: the file is no checkpoint of this training.
        """
        try:
            trained = torch.load(path, weights_only=True, map_location="cpu")["averaged"]
        except Exception as error:  # the unpickler raises errors of many types
            raise ValueError(
                f"{path} is no checkpoint of a Graph-PCNN trained here, such as DIR/<network>.pt"
            ) from error
        entries = {name.removeprefix("module."): value for name, value in trained.items() if name != "n_averaged"}
        fresh = {name: value for name, value in self.network.state_dict().items() if name.startswith(_LEARNED)}
        self.network.load_state_dict(entries | fresh)
        for name, part in self.network.named_children():
            if not f"{name}.".startswith(_LEARNED):
                part.eval().requires_grad_(False)

    def _samples(self, rng: np.random.Generator) -> Iterator[Sample]:
        """Yield samples scene by scene, without end."""
        data = self.data
        while True:
            people = data.people_of(scene := int(rng.integers(len(data))))
            image = decode(data.jpeg(scene)) if people.stop > people.start else None
            for row in rng.permutation(np.arange(people.start, people.stop))[:_FROM_ONE_SCENE]:
                assert image is not None
                points, visible = data.points[row], data.visible[row]
                yield training_crop(rng, image, points, visible, data.bbox_xyxy[row], self.variant.baseline.input_size)
