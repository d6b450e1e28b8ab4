"""Heat-map families: reference data that may lie beside the checkout, and tiny networks that every clone can build."""

import functools
import json

import numpy as np
import pytest


@pytest.fixture(scope="session")
def stage1(shared, fill_systems):
    """Function: architecture -> (filled network, inputs (2, 3, 256, 192), recorded arrays); skips what is held back."""
    import torch

    from export.families.hrnet.network import build
    from export.families.hrnet.variants import variant

    @functools.cache
    def load(name):
        recorded = shared / "reference" / "graph_pcnn" / f"golden_stage1_{name}.npz"
        if not recorded.exists():
            pytest.skip(f"{name} is held back")
        network = build(variant(f"{name}_256x192"))
        entries = [(entry, tuple(value.shape)) for entry, value in network.state_dict().items()]
        filled = fill_systems.fill_state_dict(entries)
        network.load_state_dict({entry: torch.from_numpy(np.asarray(value)) for entry, value in filled.items()})
        inputs = torch.from_numpy(fill_systems.make_input("graph_pcnn", 2, 256, 192))
        with np.load(recorded) as arrays:
            return network, inputs, dict(arrays)

    return load


@pytest.fixture(scope="session")
def published_entries(shared):
    """Function: architecture -> the recorded names and shapes; skips what is held back."""

    def read(name):
        path = shared / "reference" / "graph_pcnn" / f"stage1_{name}.json"
        if not path.exists():
            pytest.skip(f"{name} is held back")
        return [(entry, tuple(shape)) for entry, shape in json.loads(path.read_text())]

    return read


@pytest.fixture(scope="session")
def tiny_heatmap_variant():
    """Function: `resnet` or `hrnet` -> the smallest network with all its parts, for crops of 64 x 96."""
    from export.families.hrnet.variants import Hrnet, Resnet, variant_of

    architectures = {
        "resnet": Resnet((1, 1, 2, 1), width=8, deconv=12),
        "basic": Resnet((1, 1, 2, 1), bottleneck=False, width=8, deconv=12),
        "hrnet": Hrnet(4, (1, 2, 1), blocks=1, stem=8, bottlenecks=1),
    }
    return lambda kind, input_size=(64, 96): variant_of(architectures[kind], input_size)


@pytest.fixture(scope="session")
def tiny_heatmap_network(tiny_heatmap_variant, randomized):
    """Function: `resnet`, `basic` or `hrnet` -> tiny network with seeded weights, in eval mode."""
    from export.families.hrnet.network import build

    return lambda kind, **changes: randomized(build(tiny_heatmap_variant(kind, **changes)))


@pytest.fixture(scope="session")
def tiny_graph_pcnn(tiny_heatmap_variant, randomized):
    """Function: `resnet`, `basic` or `hrnet` -> tiny two-stage network with seeded weights, in eval mode."""
    from export.families.graph_pcnn.network import new
    from export.families.graph_pcnn.variants import Variant

    def make(kind="hrnet", **changes):
        sizes = {"width": 12, "hidden": 16}
        network = randomized(new(Variant(f"tiny-{kind}", tiny_heatmap_variant(kind), **(sizes | changes))))
        _calm(network)
        return network

    return make


def _calm(network):
    """Bring heat maps to about the height of trained ones, so that the gate at 0.85 opens for some keypoints."""
    import torch

    from export.families.hrnet.network import example_crops

    with torch.no_grad():
        peaks = network.maps(example_crops(network.variant.baseline, 4))[0].amax((2, 3)).mean()
        for part in (network.final_layer, network.reg):
            part.weight.mul_(0.85 / peaks)
            part.bias.mul_(0.85 / peaks)
