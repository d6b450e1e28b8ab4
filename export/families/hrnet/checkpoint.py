"""Official HRNet and SimpleBaseline checkpoints in, networks out.

The weights show the architecture, but not the crop that they were trained for: `--variant`, the file's name or the
served network states it.
"""

import re

from ensemble.geometry import Size
from ensemble.keypoints import find_keypoint_set, keypoint_set_of_length
from export.checkpoint import Checkpoint, Shapes, load_variant
from export.families.hrnet.network import HeatmapNetwork, build
from export.families.hrnet.variants import ARCHITECTURES, Architecture, Hrnet, Resnet, Variant, size_in_name, variant_of
from export.families.hrnet.variants import variant as variant_called

_KEYPOINTS = 17  # of a checkpoint whose last layer is missing, for the list of differences


def load_network(
    checkpoint: Checkpoint, asked: str | None = None, size: Size | None = None
) -> tuple[Variant, HeatmapNetwork]:
    """Return the variant and the network of a checkpoint, in eval mode.

    Args:
        checkpoint: an official one in any of its flavours (see `export.checkpoint.read_checkpoint`).
        asked: name of the variant; None: recognised from the entries and the crop size.
        size: (w, h) of the crop; None: that of the variant, else the one in the file's name.

    Raises:
        ValueError: see `export.checkpoint.load_variant`; or nothing states the crop size.
    """
    return load_variant(checkpoint, candidates(checkpoint, asked, size), build, asked)


def candidates(checkpoint: Checkpoint, asked: str | None, size: Size | None) -> list[Variant]:
    """Return the variants that a checkpoint may be: the published ones, and the one that its entries suggest.

    Arguments: see `load_network`.
    """
    shapes, suggested = checkpoint.shapes, _as_it_looks(checkpoint.shapes)
    size = size or (variant_called(asked).input_size if asked else size_in_name(checkpoint.path.name))
    if size is None:
        raise ValueError(
            f"{checkpoint.path}: this looks like a {suggested.name}, but weights hold no crop size and the file's name "
            f"states none; choose a --variant, or call the file pose_{suggested.name}_256x192.pth if that is its size"
        )
    keypoints = keypoint_set_of_length(_keypoints(shapes)).name
    architectures = dict.fromkeys((suggested, *ARCHITECTURES))
    return [variant_of(architecture, size, keypoints) for architecture in architectures]


def _keypoints(shapes: Shapes) -> int:
    """Return the number K of heat maps, by the last layer's weight or else its bias."""
    counts = [shapes[name][0] for name in ("final_layer.weight", "final_layer.bias") if shapes.get(name)]
    known = [count for count in counts if find_keypoint_set(count)]
    return (known or counts or [_KEYPOINTS])[0]


def _as_it_looks(shapes: Shapes) -> Architecture:
    """Return the architecture that single entries suggest; those that are missing count as the official ones."""

    def channels(name: str, axis: int, otherwise: int) -> int:
        shape = shapes.get(name, ())
        return shape[axis] if len(shape) > axis else otherwise

    def count(pattern: str) -> int:
        found = {int(match[1]) for name in shapes if (match := re.match(pattern, name))}
        return max(found, default=0) + 1

    stem = channels("conv1.weight", 0, 64)
    if any(name.startswith("stage4.") for name in shapes):
        second, third, fourth = (count(rf"stage{stage}\.(\d+)\.") for stage in (2, 3, 4))
        blocks = count(r"stage2\.0\.branches\.0\.(\d+)\.")
        width = channels("transition1.0.0.weight", 0, 4 * stem)  # nothing changes the width where this entry is missing
        return Hrnet(width, (second, third, fourth), blocks, stem, count(r"layer1\.(\d+)\."))
    first, second, third, fourth = (count(rf"layer{layer}\.(\d+)\.") for layer in (1, 2, 3, 4))
    bottleneck = any(".conv3." in name for name in shapes)
    return Resnet((first, second, third, fourth), bottleneck, stem, channels("deconv_layers.0.weight", 1, 256))
