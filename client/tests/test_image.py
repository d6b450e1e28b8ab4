import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from cigpose_client import PoseClient
from cigpose_client._image import encoded
from cigpose_client._protocol import MAX_PICTURE_BYTES
from PIL import Image

from ensemble.steps.decode_image import PictureLimits, decode_picture

CLIENT = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
OVER = np.zeros((3024, 4032, 3), np.uint8)  # 36 MB as BMP


def pixels(height, width):
    return np.random.default_rng(height * width).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 2), (5, 3), (7, 4), (11, 5)])
def test_an_array_arrives_without_loss(height, width):
    image_bgr = pixels(height, width)
    decoded = cv2.imdecode(np.frombuffer(encoded(image_bgr), np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(decoded, image_bgr)


def test_a_view_arrives_like_its_copy():
    image_bgr = pixels(20, 30)[::2, ::-3]
    assert encoded(image_bgr) == encoded(image_bgr.copy())


def test_jpeg_is_smaller_and_close():
    image_bgr = cv2.GaussianBlur(pixels(64, 64), (0, 0), 4)
    data = encoded(image_bgr, "jpeg")
    assert len(data) < image_bgr.size / 2
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert np.abs(decoded.astype(int) - image_bgr).mean() < 2


def test_jpeg_without_opencv_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ModuleNotFoundError, match=r"cigpose-client\[draw\]"):
        encoded(pixels(4, 4), "jpeg")


def test_the_limit_equals_the_servers():
    assert PictureLimits().max_bytes == MAX_PICTURE_BYTES


@pytest.mark.parametrize(("below", "start"), [(0, b"BM"), (1, b"\xff\xd8")])
def test_pixels_go_as_jpeg_when_bmp_is_over_the_limit(monkeypatch, below, start):
    image_bgr = pixels(8, 6)
    limit = len(encoded(image_bgr, "bmp")) - below
    monkeypatch.setattr("cigpose_client._image.MAX_PICTURE_BYTES", limit)
    assert encoded(image_bgr).startswith(start)


def test_a_photo_of_12_megapixels_fits():
    assert len(encoded(OVER)) < MAX_PICTURE_BYTES


@pytest.mark.parametrize(("array_format", "opencv"), [("bmp", True), ("auto", False)])
def test_pixels_over_the_limit_name_the_remedy(monkeypatch, array_format, opencv):
    if not opencv:
        monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ValueError) as caught:
        encoded(OVER, array_format)
    for words in ("36578358 bytes", "32000000", "array_format='jpeg'", "cigpose-client[draw]"):
        assert words in str(caught.value)


def test_an_unknown_format_is_refused_by_the_constructor():
    with pytest.raises(ValueError, match="array_format 'png' is unknown; known: auto, bmp, jpeg"):
        PoseClient(array_format="png")


class Tensor:
    """An array of another framework, which numpy can read."""

    def __init__(self, array):
        self.array = array

    def __array__(self, *_, **__):
        return self.array


def test_objects_with_array_are_accepted():
    assert encoded(Tensor(pixels(4, 5))) == encoded(pixels(4, 5))
    with pytest.raises(TypeError, match="float32"):
        encoded(Tensor(np.zeros((4, 4, 3), np.float32)))


def decoded(image):
    return cv2.imdecode(np.frombuffer(encoded(image), np.uint8), cv2.IMREAD_COLOR)


def test_a_pil_image_is_rgb():
    image_bgr = pixels(5, 7)
    np.testing.assert_array_equal(decoded(Image.fromarray(image_bgr[..., ::-1])), image_bgr)


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGBA", "LA", "I;16"])
def test_a_pil_image_matches_the_servers_decoding(tmp_path, mode):
    if mode == "I;16":
        image = Image.fromarray(np.random.default_rng(1).integers(0, 65536, (6, 9)).astype(np.uint16))
    else:
        image = Image.fromarray(np.dstack([pixels(6, 9), pixels(6, 9)[..., :1]]), "RGBA").convert(mode)
    image.save(tmp_path / "image.png")
    image = Image.open(tmp_path / "image.png")
    assert image.mode == mode
    served = decode_picture((tmp_path / "image.png").read_bytes(), PictureLimits())
    np.testing.assert_array_equal(decoded(image), served)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_pil_image_is_turned_upright(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels(6, 9)).save(tmp_path / "image.png", exif=exif)
    served = decode_picture((tmp_path / "image.png").read_bytes(), PictureLimits())
    np.testing.assert_array_equal(decoded(Image.open(tmp_path / "image.png")), served)


def test_a_pil_image_without_a_range_is_refused():
    with pytest.raises(TypeError, match="mode 'F' has no fixed range"):
        encoded(Image.new("F", (4, 4)))


def test_pillow_is_not_imported(server):
    script = f"""
import sys, numpy as np
from cigpose_client import PoseClient
with PoseClient({server.url!r}) as client:
    client.estimate(np.zeros((4, 4, 3), np.uint8))
print([name for name in sys.modules if name.split(".")[0] == "PIL"])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, env=CLIENT)
    assert done.stdout == "[]\n", done.stderr


@pytest.mark.parametrize("data", [b"abc", bytearray(b"abc"), memoryview(b"abc")])
def test_bytes_are_sent_as_they_are(data):
    assert encoded(data) == b"abc"


@pytest.mark.parametrize("image", [np.zeros((4, 4, 3)), 5, None, [b"a"]])
def test_other_kinds_are_refused(image):
    with pytest.raises(TypeError, match=r"float64|int|NoneType|list"):
        encoded(image)


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 4), (0, 4, 3), (2, 4, 4, 3)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match=r"\(H, W, 3\)"):
        encoded(np.zeros(shape, np.uint8))


def test_grey_pixels_are_refused_with_the_remedy():
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    with pytest.raises(ValueError, match=r"np\.dstack\(\[image\] \* 3\)"):
        encoded(grey)
    np.testing.assert_array_equal(decoded(np.dstack([grey] * 3))[..., 1], grey)


def test_the_client_sends_arrays_as_asked(server):
    for array_format, start in (("bmp", b"BM"), ("jpeg", b"\xff\xd8")):
        with PoseClient(server.url, array_format=array_format) as client:
            client.estimate(pixels(8, 8))
        assert server.requests[-1].picture.startswith(start)
