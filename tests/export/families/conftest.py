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
    """Function: `resnet`, `basic` or `hrnet` -> the smallest network with all its parts, for crops of 64 x 96."""
    from tests.tiny_networks import heatmap_variant

    return heatmap_variant


@pytest.fixture(scope="session")
def tiny_heatmap_network():
    """Function: `resnet`, `basic` or `hrnet` -> tiny network with seeded weights, in eval mode."""
    from tests.tiny_networks import heatmap_network

    return heatmap_network


@pytest.fixture(scope="session")
def tiny_graph_pcnn():
    """Function: `resnet`, `basic` or `hrnet` -> tiny two-stage network with seeded weights, in eval mode."""
    from tests.tiny_networks import graph_pcnn_network

    return graph_pcnn_network


@pytest.fixture(scope="session")
def lifters(shared, fill_systems):
    """Function: `hrnet_32` ... -> (filled network, its three inputs for 3 people, recorded arrays)."""
    import torch

    from export.families.poseformer.network import build
    from export.families.poseformer.variants import INPUTS, VARIANTS

    @functools.cache
    def load(name):
        recorded = shared / "reference" / "context_aware_poseformer" / f"golden_{name}.npz"
        if not recorded.exists():
            pytest.skip(f"{name} is held back")
        variant = VARIANTS[f"capf_{name}"]
        network = build(variant)
        entries = [(entry, tuple(value.shape)) for entry, value in network.state_dict().items()]
        filled = fill_systems.fill_state_dict(entries)
        network.load_state_dict({entry: torch.from_numpy(np.asarray(value)) for entry, value in filled.items()})
        images = np.stack([fill_systems.make_image(f"capf/{i}", 256, 192) for i in range(3)])
        crops = ((images - np.array(variant.mean)) / np.array(variant.std)).transpose(0, 3, 1, 2)
        with np.load(recorded) as arrays:
            recorded = dict(arrays)
        in_crop = recorded["keypoints_crop_px"] / np.float32([96, 128]) - 1
        inputs = [torch.from_numpy(each.astype(np.float32)) for each in (crops, recorded["keypoints_2d"], in_crop)]
        return network, dict(zip(INPUTS, inputs, strict=True)), recorded

    return load
