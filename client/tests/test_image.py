import sys

import cv2
import numpy as np
import pytest
from cigpose_client import PoseClient
from cigpose_client._image import encoded


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


def test_the_client_sends_arrays_as_asked(server):
    for array_format, start in (("bmp", b"BM"), ("jpeg", b"\xff\xd8")):
        with PoseClient(server.url, array_format=array_format) as client:
            client.estimate(pixels(8, 8))
        assert server.requests[-1].picture.startswith(start)
