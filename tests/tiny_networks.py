"""Tiny networks with all parts of the published ones, seeded weights, in eval mode. They need PyTorch."""

import torch

from export.families.crops import example_crops
from export.families.graph_pcnn import network as graph_pcnn
from export.families.graph_pcnn.variants import Variant
from export.families.hrnet import network as hrnet
from export.families.hrnet.variants import Hrnet, Resnet, variant_of
from export.families.poseformer import network as poseformer
from export.families.poseformer.variants import Cpn, Cspnext
from export.families.poseformer.variants import Variant as LifterVariant

ARCHITECTURES = {
    "resnet": Resnet((1, 1, 2, 1), width=8, deconv=12),
    "basic": Resnet((1, 1, 2, 1), bottleneck=False, width=8, deconv=12),
    "hrnet": Hrnet(4, (1, 2, 1), blocks=1, stem=8, bottlenecks=1),
}


def randomized(network, seed=0):
    """Give a network seeded weights and statistics, so that outputs differ between crops."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            noise = torch.rand(value.shape, generator=generator)
            fan_in = value[0].numel() if value.ndim > 1 else 1
            value.copy_(0.5 + noise if value.ndim == 1 else (2 * noise - 1) * (6 / fan_in) ** 0.5)
            if name.endswith(("bias", "running_mean")):
                value.copy_(noise - 0.5)
    return network


def heatmap_variant(kind, input_size=(64, 96)):
    return variant_of(ARCHITECTURES[kind], input_size)


def heatmap_network(kind, **changes):
    return randomized(hrnet.build(heatmap_variant(kind, **changes)))


def graph_pcnn_variant(kind="hrnet", input_size=(64, 96), **changes):
    sizes = {"width": 12, "hidden": 16}
    return Variant(f"tiny-{kind}", heatmap_variant(kind, input_size), **(sizes | changes))


def graph_pcnn_network(kind="hrnet", input_size=(64, 96), **changes):
    network = randomized(graph_pcnn.new(graph_pcnn_variant(kind, input_size, **changes)))
    _calm(network)
    return network


def _calm(network):
    """Bring heat maps to about the height of trained ones, so that the gate at 0.85 opens for some keypoints."""
    with torch.no_grad():
        peaks = network.maps(example_crops(network.variant.baseline, 4))[0].amax((2, 3)).mean()
        for part in (network.final_layer, network.reg):
            part.weight.mul_(0.85 / peaks)
            part.bias.mul_(0.85 / peaks)


LIFTER_BACKBONES = {
    "hrnet": Hrnet(4, (1, 1, 2), blocks=1, stem=8, bottlenecks=1),
    "cpn": Cpn(Resnet((1, 1, 1, 1)), 8),
    "cspnext": Cspnext((4, 8), (8, 8, 16, 16), (1, 1, 1, 1)),
}


def lifter_variant(kind="hrnet", input_size=(64, 96)):
    return LifterVariant(f"tiny-{kind}", LIFTER_BACKBONES[kind], width=16, depth=2, heads=4, input_size=input_size)


def lifter_network(kind="hrnet", input_size=(64, 96)):
    return randomized(poseformer.build(lifter_variant(kind, input_size)))
