"""LOGO-CAP: reference data that may lie beside the checkout, and a tiny network that every clone can build."""

import functools
import json

import numpy as np
import pytest


@pytest.fixture(scope="session")
def published_logocap(shared, fill_systems):
    """The W32 network with the reference's weights."""
    import torch

    from export.families.logocap.network import build
    from export.families.logocap.variants import VARIANTS

    network = build(VARIANTS["logocap-hrnet-w32-coco"])
    entries = json.loads((shared / "reference" / "logocap" / "w32.json").read_text())
    filled = {name: torch.from_numpy(np.asarray(fill_systems.fill(name, shape))) for name, shape in entries}
    with np.load(shared / "reference" / "logocap" / "golden_w32.npz") as golden:
        filled["final_layer_cls.bias"][17] += float(golden["bias17_delta"])
    network.load_state_dict(filled, strict=True)
    return network


@pytest.fixture(scope="session")
def golden_logocap(shared, fill_systems, published_logocap):
    """Function: `a` or `b` -> (maps and stages of the whole network, recorded arrays by name)."""
    import torch

    from ensemble.geometry import PaddedFit
    from export.families.logocap.forms import FlipTested
    from export.families.top_down import MEAN, STD

    @functools.cache
    def load(tag):
        with np.load(shared / "reference" / "logocap" / "golden_w32.npz") as arrays:
            recorded = {name[2:]: arrays[name] for name in arrays.files if name.startswith(f"{tag}_")}
        image_rgb = fill_systems.make_image(f"logocap/{tag}", *recorded["image_hw"])
        fitted = PaddedFit(512).apply(image_rgb)
        normalised = ((fitted - np.array(MEAN)) / STD).astype(np.float32).transpose(2, 0, 1)
        assert normalised.mean() == pytest.approx(float(recorded["x_mean"]), abs=1e-6)
        whole = FlipTested(published_logocap)
        with torch.no_grad():
            maps = whole.merged(torch.from_numpy(normalised[None]))
            return maps, whole.refine(maps), recorded

    return load


@pytest.fixture(scope="session")
def tiny_logocap_variant():
    """Function: changes -> the smallest network with all its parts."""
    from export.families.hrnet.variants import Hrnet
    from export.families.logocap.variants import Variant

    sizes = {"offsets": 8, "embedding": 4, "filter_layers": (12, 8, 8), "reach": 12, "spread": 4.0}
    architecture = Hrnet(4, (1, 1, 1), blocks=1, stem=8, bottlenecks=1)
    return lambda **changes: Variant("tiny", architecture, 128, **(sizes | changes))


@pytest.fixture(scope="session")
def tiny_logocap(tiny_logocap_variant, randomized):
    """Function: changes -> tiny network with seeded weights, in eval mode, that finds some people in noise."""
    import torch

    from export.families.logocap.export import example_picture, stages_of
    from export.families.logocap.forms import FlipTested
    from export.families.logocap.network import build

    def make(**changes):
        network = randomized(build(tiny_logocap_variant(**changes)))
        with torch.no_grad():
            maps = network(example_picture(128, 192))
            heat, moves = maps.heatmaps, maps.offsets
            network.final_layer_cls.weight.mul_(0.3 / heat.std())
            network.final_layer_cls.bias.copy_(0.1 - 0.3 * heat.mean((0, 2, 3)) / heat.std())
            network.final_layer_reg.weight.mul_(5 / moves.std())
            network.joints_mlp[9].bias.fill_(0.3)
            scores = stages_of(FlipTested(network), example_picture(128, 192)).centers.scores
            network.final_layer_cls.bias[-1] -= scores[12]  # 12 candidates there, some more or less elsewhere
        return network

    return make
