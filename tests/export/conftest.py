"""Fixtures of the reference data, where it is available, and of tiny networks that every checkout can build."""

import functools
import json
import sys
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="session", autouse=True)
def _one_pytorch_thread() -> None:
    """Limit PyTorch to one thread: on a busy machine its threads spend most of the time waiting for each other."""
    if "torch" in sys.modules:  # imported already by the tests that need it
        sys.modules["torch"].set_num_threads(1)


@pytest.fixture(scope="session")
def reference(shared) -> Path:
    """Folder of the recorded outputs of the original network."""
    return shared / "reference"


@pytest.fixture(scope="session")
def golden(reference, fill):
    """Return a function: variant -> (network with reference weights, crops (2, 3, H, W), recorded arrays)."""
    import torch

    from export.families.cigpose.network import build
    from export.families.cigpose.variants import VARIANTS

    @functools.cache
    def load(name):
        entries = json.loads((reference / "cigpose" / f"{name}.json").read_text())
        network = build(VARIANTS[name])
        filled = fill.fill_state_dict(entries)
        network.load_state_dict({key: torch.from_numpy(np.asarray(value)) for key, value in filled.items()})
        with np.load(reference / "cigpose" / f"{name}.npz") as arrays:
            recorded = dict(arrays)
        width, height = VARIANTS[name].input_size
        return network, torch.from_numpy(fill.make_input(str(recorded["input_tag"]), 2, height, width)), recorded

    return load


@pytest.fixture(scope="session")
def tiny_variant():
    """Return a function: keypoint set -> variant of a tiny network with all parts."""
    from export.families.cigpose.variants import Variant

    def make(keypoint_set="coco", **changes):
        sizes = {"input_size": (64, 96), "widen": 0.125, "deepen": 0.1, "hidden_dims": 16, "gau_s": 8, "gcn_layers": 1}
        training = {"cim_k_train": 3, "sigma": (4.9, 5.66)}
        return Variant(name=f"tiny-{keypoint_set}", keypoint_set=keypoint_set, **(sizes | training | changes))

    return make


@pytest.fixture(scope="session")
def randomized():
    """See `tests.tiny_networks.randomized`."""
    from tests.tiny_networks import randomized

    return randomized


@pytest.fixture(scope="session")
def tiny_network(tiny_variant, randomized):
    """Return a function: keypoint set -> tiny network with seeded weights, in eval mode."""
    from export.families.cigpose.network import build

    def make(keypoint_set="coco", **changes):
        return randomized(build(tiny_variant(keypoint_set, **changes)))

    return make
