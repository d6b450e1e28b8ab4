"""CIGPose in plain PyTorch: the published variants, the network, and the keypoint graphs of its head.

Paper: CIGPose, arXiv 2603.09418. Original code: github.com/53mins/CIGPose, commit b7444d8 (Apache-2.0). None of
it is copied; the code here rests on the facts that its checkpoints fix: names, shapes, tables and constants. The
published *weights* have a licence of their own, which their publishers state.

`variants` and `graphs` need no PyTorch; the others do.
"""

from export.families import Family, facts, simcc
from export.families.cigpose.variants import BENCHMARKS, SOURCE, VARIANTS, Variant


def _facts(variant: Variant) -> str:
    accuracy = f"AP {variant.average_precision} on {BENCHMARKS[variant.keypoint_set]}, with flip test ({SOURCE})"
    return facts(variant.num_keypoints, variant.input_size, variant.parameters, accuracy)


FAMILY = Family(
    "cigpose",
    simcc.serve,
    variants={name: _facts(variant) for name, variant in VARIANTS.items()},
    checkpoints="export.families.cigpose.export",
)
