"""Record what MMPose decodes: `python -m tests.ensemble.steps.record_heatmaps FOLDER`, which holds mmpose 1.3.2.

Its codecs are run as they are; what they import from MMEngine is replaced, since none of it is used in decoding.
"""

import importlib
import sys
import types
from pathlib import Path

import numpy as np

RECORD = Path(__file__).with_name("recorded_heatmaps.npz")
SIZE = (24, 32)  # cells
KERNELS = (11, 17)


def example_heatmaps(seed=0):
    """Return maps (3, 17, 32, 24): peaks anywhere, also at the border, on noise; two are noise alone, two not positive.

    Multiples of 2**-12 below 2, so they are the same on every machine.
    """
    rng = np.random.default_rng(seed)
    count, (width, height) = (3, 17), SIZE
    centers = rng.uniform(-0.5, 0.5, (*count, 2)) + rng.integers(0, SIZE, (*count, 2))
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    squares = (x - centers[..., :1, None]) ** 2 + (y - centers[..., 1:, None]) ** 2
    maps = rng.uniform(0.3, 1, (*count, 1, 1)) * np.exp(-squares / 8) + rng.normal(0, 0.01, (*count, height, width))
    maps[0, :2] = rng.uniform(-0.2, 1, (2, height, width))
    maps[1, :2] = -np.abs(maps[1, :2])
    return (np.rint(maps * 4096) / 4096).astype(np.float32)


def example_boxes(seed=1):
    """Return centers and scales of three people."""
    rng = np.random.default_rng(seed)
    heights = rng.integers(100, 600, (3, 1))
    return rng.integers(0, 600, (3, 2)).astype(np.float32), np.hstack([heights * 0.75, heights]).astype(np.float32)


def main(folder):
    """Write RECORD."""
    _import_from(folder)
    msra, udp, boxes = (
        importlib.import_module(f"mmpose.{name}")
        for name in ("codecs.msra_heatmap", "codecs.udp_heatmap", "structures.bbox.transforms")
    )
    sizes = {"input_size": (4 * SIZE[0], 4 * SIZE[1]), "heatmap_size": SIZE, "sigma": 2}
    centers, scales = example_boxes()
    people = list(zip(centers, scales, strict=True))
    recorded = {"udp_matrices": [boxes.get_udp_warp_matrix(*person, 0, sizes["input_size"]) for person in people]}
    for kernel in KERNELS:
        dark = msra.MSRAHeatmap(**sizes, unbiased=True, blur_kernel_size=kernel)
        for name, codec in (("dark", dark), ("udp", udp.UDPHeatmap(**sizes, blur_kernel_size=kernel))):
            decoded = [codec.decode(maps) for maps in example_heatmaps()]
            in_crop = np.stack([keypoints.reshape(-1, 2) for keypoints, _ in decoded])
            recorded[f"{name}{kernel}_scores"] = np.stack([scores.reshape(-1) for _, scores in decoded])
            # as TopdownPoseEstimator.add_pred_to_datasample
            placed = in_crop / sizes["input_size"] * scales[:, None] + centers[:, None] - 0.5 * scales[:, None]
            recorded[f"{name}{kernel}_in_picture"] = placed
    np.savez_compressed(RECORD, **recorded)


def _import_from(folder):
    def module(name, **content):
        sys.modules[name] = types.ModuleType(name)
        vars(sys.modules[name]).update(content)

    for package in ("mmpose", "mmpose.codecs", "mmpose.codecs.utils", "mmpose.structures", "mmpose.structures.bbox"):
        module(package, __path__=[str(Path(folder, *package.split(".")))])
    registry = types.SimpleNamespace(register_module=lambda: lambda each: each)
    module("mmpose.registry", KEYPOINT_CODECS=registry)
    module("mmengine")
    module("mmengine.utils", is_method_overridden=None)
    utils = sys.modules["mmpose.codecs.utils"]
    for part in ("gaussian_heatmap", "offset_heatmap", "post_processing", "refinement"):
        vars(utils).update(vars(importlib.import_module(f"mmpose.codecs.utils.{part}")))


if __name__ == "__main__":
    main(sys.argv[1])
