"""The table of published networks, and the sizes derived from a row."""

import dataclasses

import pytest

from export.families.cigpose.variants import VARIANTS


def test_the_fourteen_published_networks():
    assert len(VARIANTS) == 14
    assert all(name == entry.name for name, entry in VARIANTS.items())
    assert sum(entry.keypoint_set == "coco_wholebody" for entry in VARIANTS.values()) == 7


def test_sizes_of_the_largest():
    entry = VARIANTS["cigpose-x_coco-wholebody_384x288"]
    assert (entry.num_keypoints, entry.input_size, entry.feature_size, entry.bins) == (
        133,
        (288, 384),
        (9, 12),
        (576, 768),
    )
    assert (entry.stem_channels, entry.stage_channels) == ((40, 80), (160, 320, 640, 1280))
    assert (entry.stage_blocks, entry.hidden_dims, entry.gau_s) == ((4, 8, 8, 4), 512, 256)


def test_body_variants_keep_the_narrow_head_at_the_large_input():
    assert VARIANTS["cigpose-l_coco_384x288"].hidden_dims == VARIANTS["cigpose-x_crowdpose_384x288"].hidden_dims == 256


def test_blocks_of_the_smallest():
    assert VARIANTS["cigpose-m_coco_256x192"].stage_blocks == (2, 4, 4, 2)


@pytest.mark.parametrize("change", [{"input_size": (100, 256)}, {"input_size": (0, 256)}, {"hidden_dims": 30}])
def test_impossible_sizes_are_rejected(change):
    with pytest.raises(ValueError, match="multiple"):
        dataclasses.replace(VARIANTS["cigpose-m_coco_256x192"], **change)
