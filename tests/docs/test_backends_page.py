"""docs/backends.md names every key that the profiles give to the networks' backend."""

import re
from pathlib import Path

import pytest

from ensemble.triton.model import DynamicBatching, Model, Tensor
from ensemble.triton.profiles import PROFILES

PAGE = (Path(__file__).parents[2] / "docs" / "backends.md").read_text(encoding="utf-8")
CROPS = Tensor("crops", "UINT8", (256, 192, 3))
NETWORK = Model("net", "onnxruntime", (CROPS,), (), max_batch_size=32, batching=DynamicBatching())


@pytest.mark.parametrize("profile", PROFILES)
def test_the_page_names_every_profile_and_its_keys(profile):
    model, words = PROFILES[profile](NETWORK), set(re.findall(r"`([^`]+)`", PAGE))
    accelerators = [each for each in (model.cpu_accelerator, model.gpu_accelerator) if each]
    keys = {*model.parameters, *(key for each in accelerators for key in each.parameters)}
    assert {profile, *keys, *(each.name for each in accelerators)} <= words
