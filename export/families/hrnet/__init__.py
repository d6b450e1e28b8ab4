"""HRNet and SimpleBaseline in plain PyTorch: the published variants, the networks, their checkpoints.

Papers: Deep High-Resolution Representation Learning (arXiv 1902.09212), Simple Baselines (arXiv 1804.06208). Original
code: github.com/leoxiaobin/deep-high-resolution-net.pytorch and github.com/microsoft/human-pose-estimation.pytorch,
both MIT; nothing of it is copied here, only the facts that the checkpoints fix: names, shapes and the order of
operations. The licence of the published *weights* is their publishers' to state and is not covered by ours.

`variants` needs no PyTorch; the others do.
"""

from export.families import Family, facts, heatmaps
from export.families.hrnet.variants import BENCHMARK, VARIANTS, Variant


def _facts(variant: Variant) -> str:
    accuracy = f"AP {variant.average_precision} on {BENCHMARK}; weights: {variant.weights}"
    return facts(17, variant.input_size, variant.parameters, accuracy)


FAMILY = Family(
    "hrnet",
    heatmaps.serve,
    variants={name: _facts(variant) for name, variant in VARIANTS.items()},
    checkpoints="export.families.hrnet.export",
)
