import pytest

from export.families.hrnet.variants import (
    ARCHITECTURES,
    VARIANTS,
    Hrnet,
    Resnet,
    Variant,
    size_in_name,
    variant,
    variant_of,
)


def test_published_networks():
    precision = {name: entry.average_precision for name, entry in VARIANTS.items()}
    assert precision == {
        **{"pose_resnet_50_256x192": 70.4, "pose_resnet_101_256x192": 71.4, "pose_resnet_152_256x192": 72.0},
        **{"pose_resnet_50_384x288": 72.2, "pose_resnet_101_384x288": 73.6, "pose_resnet_152_384x288": 74.3},
        **{"pose_hrnet_w32_256x192": 74.4, "pose_hrnet_w48_256x192": 75.1},
        **{"pose_hrnet_w32_384x288": 75.8, "pose_hrnet_w48_384x288": 76.3},
    }
    for name, entry in VARIANTS.items():
        assert entry.channel_order == ("bgr" if "resnet" in name else "rgb")
        assert entry.input_size == ((192, 256) if "256" in name else (288, 384))
        assert entry.heatmap_size == ((48, 64) if "256" in name else (72, 96))
        assert entry.sigma == (2 if "256" in name else 3)
        assert entry.weights.startswith("https://drive.google.com/")


def test_a_variant_is_found_by_name_or_by_what_it_is():
    assert variant("pose_resnet_101_384x288") is VARIANTS["pose_resnet_101_384x288"]
    assert variant_of(Hrnet(32), (192, 256)) is VARIANTS["pose_hrnet_w32_256x192"]
    unpublished = variant("pose_resnet_50_128x96")
    assert (unpublished.input_size, unpublished.average_precision) == ((96, 128), None)
    assert (unpublished.channel_order, unpublished.architecture) == ("bgr", ARCHITECTURES[0])
    with pytest.raises(ValueError, match="unknown variant 'pose_resnet_18_256x192'; known: pose_resnet_50_256x192, "):
        variant("pose_resnet_18_256x192")


@pytest.mark.parametrize(
    ("architecture", "name"),
    [
        (Resnet((3, 8, 36, 3)), "resnet_152"),
        (Resnet((2, 2, 2, 2), bottleneck=False), "resnet_18"),
        (Hrnet(48), "hrnet_w48"),
    ],
)
def test_architectures_have_the_names_of_the_field(architecture, name):
    assert architecture.name == name


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("pose_resnet_50_256x192.pth.tar", (192, 256)),
        ("pose_hrnet_w32_384x288.pth", (288, 384)),
        ("256x192_res50_d256x3_lr1e-3.pth", (192, 256)),
        ("w48_128x96", (96, 128)),
        ("final_state.pth", None),
        ("from_256x192_to_384x288.pth", None),
    ],
)
def test_the_crop_size_in_a_file_name(name, size):
    assert size_in_name(name) == size


def test_a_crop_that_does_not_divide_is_refused():
    with pytest.raises(ValueError, match=r"odd: the input size must be multiples of 32, not \(200, 256\)"):
        Variant("odd", Hrnet(32), (200, 256))
