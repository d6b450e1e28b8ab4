import numpy as np
import pytest
from ensemble.letterbox import letterbox, letterbox_ratio

from tests.pictures import noise_picture


@pytest.mark.parametrize(("size", "ratio"), [((640, 320), 0.65), ((320, 640), 0.65), ((104, 104), 4.0)])
def test_ratio_fits_the_longer_side(size, ratio):
    assert letterbox_ratio(size, (416, 416)) == pytest.approx(ratio)


def test_a_picture_of_the_right_size_is_only_copied():
    image_bgr = noise_picture(416, 416)
    np.testing.assert_array_equal(letterbox(image_bgr, (416, 416)), image_bgr)


def test_the_rest_is_grey():
    boxed = letterbox(np.zeros((50, 100, 3), np.uint8), (416, 416))
    assert boxed.shape == (416, 416, 3)
    assert not boxed[:208].any()
    assert (boxed[208:] == 114).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 10_000), (10_000, 1)])
def test_extreme_pictures_keep_one_pixel(shape):
    boxed = letterbox(np.zeros((*shape, 3), np.uint8), (416, 320))
    assert boxed.shape == (320, 416, 3)
    assert not boxed[0, 0].any()
