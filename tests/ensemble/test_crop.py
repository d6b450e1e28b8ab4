import hashlib
import sys

import cv2
import numpy as np
import pytest
from ensemble.crop import centers_and_scales, check_boxes, check_crop_count, crop_persons, warp_matrix

from tests.pictures import noise_picture

SIZE = (192, 256)


def boxes(*values):
    return np.array(values, np.float32).reshape(-1, 4)


def test_padding_and_aspect():
    centers, scales = centers_and_scales(boxes([100, 100, 200, 300], [0, 0, 400, 100]), SIZE)
    assert centers.tolist() == [[150, 200], [200, 50]]
    np.testing.assert_allclose(scales, [[187.5, 250], [500, 500 / 0.75]], rtol=1e-6)
    assert (centers.dtype, scales.dtype) == (np.float32, np.float32)


def test_the_crop_is_the_region_around_the_centre():
    image_bgr = noise_picture(640, 480)
    centers, scales = np.array([[300, 200]], np.float32), np.array([SIZE], np.float32)  # one crop pixel a picture pixel
    crop = crop_persons(image_bgr, centers, scales, SIZE)[0]
    np.testing.assert_array_equal(crop, image_bgr[200 - 128 : 200 + 128, 300 - 96 : 300 + 96])


def test_outside_the_picture_is_black():
    image_bgr = np.full((64, 64, 3), 200, np.uint8)
    centers, scales = centers_and_scales(boxes([1000, 1000, 1100, 1200]), SIZE)
    assert not crop_persons(image_bgr, centers, scales, SIZE).any()


def test_nobody_gives_no_crops():
    centers, scales = centers_and_scales(boxes(), SIZE)
    assert crop_persons(noise_picture(), centers, scales, SIZE).shape == (0, 256, 192, 3)


def test_a_box_without_height_is_filled_by_the_aspect():
    check_boxes(boxes([10, 10, 50, 10]))
    assert np.isfinite(warp_matrix(*(a[0] for a in centers_and_scales(boxes([10, 10, 50, 10]), SIZE)), SIZE)).all()


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ([0, 0, np.nan, 5], "is not finite"),
        ([0, 0, np.inf, 5], "is not finite"),
        ([-3e38, 0, 3e38, 5], "is not finite"),
        ([5, 0, 4, 5], "is empty"),
        ([5, 5, 5, 5], "is empty"),
    ],
)
def test_bad_boxes_are_refused_by_index(box, reason):
    with pytest.raises(ValueError, match=rf"bboxes\[1\] = .* {reason}"):
        check_boxes(boxes([0, 0, 1, 1], box))


def test_more_crops_than_the_network_takes_are_refused():
    check_crop_count(32, 32, 32)
    with pytest.raises(ValueError, match="bboxes: 33 are more than this network's limit of 32 a request"):
        check_crop_count(33, 32, 32)
    with pytest.raises(ValueError, match="max_persons is 40; this network's keypoints are for 1 to 32 persons"):
        check_crop_count(3, 40, 32)


@pytest.mark.parametrize("case", range(21))
def test_bit_exact_with_the_genuine_crop(shared, case):
    golden = np.load(shared / "reference" / "preprocess.npz")
    size = tuple(int(n) for n in golden["size"][case])
    centers, scales = centers_and_scales(golden["box"][case : case + 1], size)
    np.testing.assert_array_equal(centers[0], golden["center"][case])
    np.testing.assert_array_equal(scales[0], golden["scale"][case])
    np.testing.assert_array_equal(warp_matrix(centers[0], scales[0], size), golden["matrix"][case])
    image_bgr = golden_picture(shared, str(golden["image"][case]))
    assert f"{golden['image'][case]} {hashlib.sha256(image_bgr.tobytes()).hexdigest()}" in golden["image_sha256"]
    crop = crop_persons(image_bgr, centers, scales, size)[0]
    others = np.load(shared / "reference" / "preprocess_noncommercial.npz")
    np.testing.assert_array_equal(crop, (golden if f"crop_{case:02}" in golden else others)[f"crop_{case:02}"])


def golden_picture(shared, name):
    if not name.startswith("synthetic/"):
        return cv2.imread(str(shared / "data" / "coco_sample" / f"{name}.jpg"))
    sys.path.insert(0, str(shared / "reference"))
    try:
        import fill
    finally:
        sys.path.pop(0)
    tag, height, width = name.rsplit("/", 2)
    return np.ascontiguousarray(fill.make_image(tag.removeprefix("synthetic/"), int(height), int(width))[..., ::-1])
