import hashlib
import sys

import cv2
import numpy as np
import pytest

from ensemble.geometry import Letterbox, PaddedFit, PelvisCrop, TopDownCrop
from tests.ensemble.steps.record_heatmaps import RECORD, example_boxes
from tests.pictures import noise_picture

SIZE = (192, 256)
CROP = TopDownCrop(SIZE)
LETTERBOX = Letterbox((416, 416))
FIT = PaddedFit(512)


def boxes(*values):
    return np.array(values, np.float32).reshape(-1, 4)


def test_padding_and_aspect():
    centers, scales = CROP.regions(boxes([100, 100, 200, 300], [0, 0, 400, 100]))
    assert centers.tolist() == [[150, 200], [200, 50]]
    np.testing.assert_allclose(scales, [[187.5, 250], [500, 500 / 0.75]], rtol=1e-6)
    assert (centers.dtype, scales.dtype) == (np.float32, np.float32)


def test_the_crop_is_the_region_around_the_centre():
    image_bgr = noise_picture(640, 480)
    centers, scales = np.array([[300, 200]], np.float32), np.array([SIZE], np.float32)  # a scale of 1
    crop = CROP.apply(image_bgr, centers, scales)[0]
    np.testing.assert_array_equal(crop, image_bgr[200 - 128 : 200 + 128, 300 - 96 : 300 + 96])


def test_the_warp_scales_and_shifts_and_does_nothing_else():
    matrix = CROP.warp_matrix(np.float32([300, 200]), np.float32([384, 512]))
    np.testing.assert_allclose(matrix, [[0.5, 0, 96 - 150], [0, 0.5, 128 - 100]], atol=1e-4)


def test_a_centre_without_a_scale_is_an_error():
    with pytest.raises(ValueError, match="zip"):
        CROP.apply(noise_picture(), np.zeros((2, 2), np.float32), np.ones((1, 2), np.float32))


def test_points_of_a_grid_come_back_to_picture_pixels():
    points = np.array([[[0, 0], [10, 20], [5, 10]], [[0, 0], [10, 20], [7.5, 5]]], np.float32)
    found = CROP.to_picture(points, (10, 20), np.float32([[100, 50], [0, 0]]), np.float32([[40, 60], [8, 4]]))
    assert found.tolist() == [[[80, 20], [120, 80], [100, 50]], [[-4, -2], [4, 2], [2, -1]]]
    assert found.dtype == np.float32
    back = CROP.to_grid(found, (10, 20), np.float32([[100, 50], [0, 0]]), np.float32([[40, 60], [8, 4]]))
    assert (back.tolist(), back.dtype) == (points.tolist(), np.float32)


def test_outside_the_picture_is_black():
    image_bgr = np.full((64, 64, 3), 200, np.uint8)
    centers, scales = CROP.regions(boxes([1000, 1000, 1100, 1200]))
    assert not CROP.apply(image_bgr, centers, scales).any()


def test_unbiased_crop_is_mmposes():
    centers, scales = example_boxes()
    cut = TopDownCrop((96, 128), warp="udp")
    for center, scale, matrix in zip(centers, scales, np.load(RECORD)["udp_matrices"], strict=True):
        np.testing.assert_array_equal(cut.warp_matrix(center, scale), matrix)


def test_unbiased_crop_reaches_from_pixel_centre_to_pixel_centre():
    center, scale = np.array([300, 200], np.float32), np.array(SIZE, np.float32) - 1
    image_bgr = noise_picture(640, 480)
    crop = TopDownCrop(SIZE, warp="udp").apply(image_bgr, (center - 0.5)[None], scale[None])[0]
    np.testing.assert_array_equal(crop, image_bgr[200 - 128 : 200 + 128, 300 - 96 : 300 + 96])
    corners = np.array([[[0, 0], [191, 255]]], np.float32)
    placed = TopDownCrop.to_picture(corners, (191, 255), (center - 0.5)[None], scale[None])
    assert placed.tolist() == [[[204, 72], [395, 327]]]


def test_no_boxes_give_no_crops():
    centers, scales = CROP.regions(boxes())
    assert CROP.apply(noise_picture(), centers, scales).shape == (0, 256, 192, 3)


def test_a_box_without_height_is_filled_by_the_aspect():
    assert np.isfinite(CROP.warp_matrix(*(a[0] for a in CROP.regions(boxes([10, 10, 50, 10]))))).all()


@pytest.mark.parametrize("case", range(21))
def test_the_crop_equals_the_reference_bit_for_bit(shared, case):
    golden = np.load(shared / "reference" / "preprocess.npz")
    size = tuple(int(n) for n in golden["size"][case])
    cut = TopDownCrop(size)
    centers, scales = cut.regions(golden["box"][case : case + 1])
    np.testing.assert_array_equal(centers[0], golden["center"][case])
    np.testing.assert_array_equal(scales[0], golden["scale"][case])
    np.testing.assert_array_equal(cut.warp_matrix(centers[0], scales[0]), golden["matrix"][case])
    image_bgr = golden_picture(shared, str(golden["image"][case]))
    assert f"{golden['image'][case]} {hashlib.sha256(image_bgr.tobytes()).hexdigest()}" in golden["image_sha256"]
    crop = cut.apply(image_bgr, centers, scales)[0]
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


@pytest.mark.parametrize(("size", "ratio"), [((640, 320), 0.65), ((320, 640), 0.65), ((104, 104), 4.0)])
def test_ratio_fits_the_longer_side(size, ratio):
    assert LETTERBOX.ratio(size) == pytest.approx(ratio)


@pytest.mark.parametrize(("size", "ratio"), [((832, 320), 0.5), ((416, 640), 0.5)])
def test_ratio_of_an_oblong_letterbox(size, ratio):
    assert Letterbox((416, 320)).ratio(size) == ratio


def test_a_picture_of_the_right_size_is_only_copied():
    image_bgr = noise_picture(416, 416)
    np.testing.assert_array_equal(LETTERBOX.apply(image_bgr), image_bgr)


def test_the_padding_is_grey():
    boxed = LETTERBOX.apply(np.zeros((50, 100, 3), np.uint8))
    assert boxed.shape == (416, 416, 3)
    assert not boxed[:208].any()
    assert (boxed[208:] == 114).all()


@pytest.mark.parametrize(("shape", "scaled"), [((1, 1), (320, 320)), ((1, 10_000), (1, 416)), ((10_000, 1), (320, 1))])
def test_extreme_pictures_keep_one_pixel(shape, scaled):
    boxed = Letterbox((416, 320)).apply(np.zeros((*shape, 3), np.uint8))
    assert boxed.shape == (320, 416, 3)
    assert np.argwhere(boxed[..., 0] == 0).max(axis=0).tolist() == [scaled[0] - 1, scaled[1] - 1]


def test_boxes_map_back_to_picture_pixels():
    boxes_in_letterbox = boxes([0, 0, 10, 10], [20, 20, 30, 40])
    assert LETTERBOX.to_picture(boxes_in_letterbox, (832, 100)).tolist() == [[0, 0, 20, 20], [40, 40, 60, 80]]


def test_the_pelvis_crop_maps_the_outermost_pixel_centres():
    crop, centers, widths = PelvisCrop(SIZE), np.float32([[300, 200]]), np.float32([101])
    points = np.float32([[[250, 200], [350, 200], [300, 200], [300, 250]]])
    expected = [[0, 127.5], [191, 127.5], [95.5, 127.5], [95.5, 127.5 + 1.91 * 50]]
    np.testing.assert_allclose(crop.from_picture(points, centers, widths)[0], expected, atol=1e-4)


def test_the_pelvis_crop_of_the_crops_own_size_is_a_copy():
    image_bgr = noise_picture(640, 480)
    crops = PelvisCrop(SIZE).apply(image_bgr, np.float32([[299.5, 199.5], [95.5, 127.5]]), np.float32([192, 192]))
    np.testing.assert_array_equal(crops[0], image_bgr[200 - 128 : 200 + 128, 300 - 96 : 300 + 96])
    np.testing.assert_array_equal(crops[1], image_bgr[:256, :192])
    outside = PelvisCrop(SIZE).apply(image_bgr, np.float32([[-500, 200]]), np.float32([192]))
    assert not outside.any()


@pytest.mark.parametrize(
    ("picture", "short_side", "fitted"),
    [
        ((480, 360), 512, (704, 512)),
        ((300, 427), 512, (512, 768)),
        ((480, 360), 640, (896, 640)),
        ((300, 427), 640, (640, 960)),
        ((90, 90), 512, (512, 512)),
        ((1, 1), 512, (512, 512)),
        ((2048, 512), 512, (2048, 512)),
    ],
)
def test_the_whole_picture_fits_with_sides_of_64(picture, short_side, fitted):
    fit = PaddedFit(short_side)
    assert fit.input_size(picture) == fitted
    assert fit.ratio(picture) == short_side / min(picture)


@pytest.mark.parametrize(
    ("picture", "fitted"),
    [
        ((4000, 300), (2048, 192)),
        ((300, 4000), (192, 2048)),
        ((60_000, 1), (2048, 64)),
        ((1, 50_000_000), (64, 2048)),
    ],
)
def test_long_pictures_are_scaled_down_to_four_short_sides(picture, fitted):
    assert FIT.input_size(picture) == fitted
    assert FIT.ratio(picture) == 2048 / max(picture)


@pytest.mark.parametrize("short_side", [0, -64, 500])
def test_the_short_side_is_a_multiple_of_64(short_side):
    with pytest.raises(ValueError, match=f"the short side must be a multiple of 64, not {short_side}"):
        PaddedFit(short_side)


@pytest.mark.parametrize("picture", [(480, 360), (301, 427), (7, 5), (1000, 50), (50, 1001), (40_000, 20)])
def test_points_of_a_fitted_picture_come_back(picture):
    points = np.random.default_rng(0).uniform(0, 1, (4, 17, 2)) * picture
    matrix = FIT.warp_matrix(picture)
    fitted = (points @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)
    np.testing.assert_allclose(FIT.to_picture(fitted, picture), points, atol=2e-7 * 512 * max(picture))


@pytest.mark.parametrize(
    ("size", "at"), [((900, 600), (450, 90)), ((100, 3000), (50, 2000)), ((40_000, 100), (30_000, 50))]
)
def test_a_fitted_picture_shows_what_was_there_with_black_around(size, at):
    image_bgr = np.full((size[1], size[0], 3), 60, np.uint8)
    side = max(3, round(12 / FIT.ratio(size)))
    cv2.rectangle(image_bgr, (at[0] - side, at[1] - side), (at[0] + side, at[1] + side), (0, 0, 255), cv2.FILLED)
    fitted = FIT.apply(image_bgr)
    assert fitted.shape == (*FIT.input_size(size)[::-1], 3)
    red = np.argwhere(fitted[..., 2] > 200)[:, ::-1].mean(axis=0, keepdims=True)[None].astype(np.float32)
    np.testing.assert_allclose(FIT.to_picture(red, size)[0, 0], at, atol=1.5 / FIT.ratio(size))
    assert set(np.unique(fitted[:, : fitted.shape[1] // 4].max(axis=2))) - {0} == {60} or size[0] > 4 * size[1]


@pytest.mark.parametrize("tag", ["a", "b"])
def test_the_fit_equals_the_reference_bit_for_bit(shared, fill_systems, tag):
    golden = np.load(shared / "reference" / "logocap" / "golden_w32.npz")
    height, width = golden[f"{tag}_image_hw"].tolist()
    assert FIT.input_size((width, height)) == tuple(golden[f"{tag}_size_wh"].tolist())
    np.testing.assert_array_equal(FIT.warp_matrix((width, height)), golden[f"{tag}_warp"])
    image_rgb = fill_systems.make_image(f"logocap/{tag}", height, width)
    np.testing.assert_array_equal(FIT.apply(image_rgb)[::16, ::16], golden[f"{tag}_warped_sample"])
