"""Every kind of picture file, and bytes that are none. Pillow is the reference for what a viewer shows."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ensemble.steps.decode_image import PictureLimits, decode_picture
from tests.pictures import encode, noise_picture, picture_with_persons
from tests.triton import call, counters

SCENE = picture_with_persons([(10, 10), (30, 20)])
RGB = Image.fromarray(np.ascontiguousarray(SCENE[..., ::-1]))
RAMP = Image.fromarray(np.tile(np.linspace(0, 255, 416).astype(np.uint8), (416, 1)))


def with_alpha(image):
    image = image.copy()
    image.putalpha(RAMP)
    return image


def saved(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


PICTURES = {
    "baseline JPEG": saved(RGB, "JPEG", quality=95),
    "progressive JPEG": saved(RGB, "JPEG", quality=95, progressive=True),
    "grey JPEG": saved(RGB.convert("L"), "JPEG"),
    "CMYK JPEG": saved(RGB.convert("CMYK"), "JPEG", quality=95),
    "PNG": saved(RGB, "PNG"),
    "grey PNG": saved(RGB.convert("L"), "PNG"),
    "1-bit PNG": saved(RGB.convert("1"), "PNG"),
    "PNG with alpha": saved(with_alpha(RGB), "PNG"),
    "grey PNG with alpha": saved(with_alpha(RGB.convert("L")), "PNG"),
    "palette PNG": saved(RGB.quantize(64), "PNG"),
    "palette PNG with a transparent colour": saved(RGB.quantize(64), "PNG", transparency=3),
    "lossy WebP": saved(RGB, "WEBP", quality=90),
    "lossless WebP": saved(RGB, "WEBP", lossless=True),
    "WebP with alpha": saved(with_alpha(RGB), "WEBP", lossless=True),
    "BMP": saved(RGB, "BMP"),
    "palette BMP": saved(RGB.quantize(64), "BMP"),
}


def viewed(encoded):
    """Return the picture (H, W, 3) BGR as a viewer with a white background shows it."""
    image = Image.open(io.BytesIO(encoded))
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA"):
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image.convert("RGB"))[..., ::-1].astype(int)


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_are_decoded_as_a_viewer_shows_them(name):
    decoded = decode_picture(PICTURES[name], PictureLimits())
    assert np.abs(decoded - viewed(PICTURES[name])).max() <= 1


def test_16_bits_are_scaled_to_8():
    deep = SCENE.astype(np.uint16) * 257
    np.testing.assert_array_equal(decode_picture(encode(deep), PictureLimits()), SCENE)


def test_an_interlaced_png_is_decoded():
    """Pillow writes no interlaced files, so the test assembles one of 8x8 pixels from the 7 passes of Adam7."""
    pixels = noise_picture(8, 8, seed=4)
    passes = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
    rows = [b"\0" + pixels[y, left::dx, ::-1].tobytes() for top, left, dy, dx in passes for y in range(top, 8, dy)]
    header = struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 1)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"".join(rows))), (b"IEND", b""))
    encoded = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
    np.testing.assert_array_equal(decode_picture(encoded, PictureLimits()), pixels)


@pytest.mark.server
@pytest.mark.parametrize("name", PICTURES)
def test_served_answers_equal_the_in_process_ones(server, alone, name):
    answer = call(server, "pose", PICTURES[name])
    bboxes, scores, keypoints, keypoint_scores, detected = alone.estimate(PICTURES[name])
    assert answer["persons_detected"].tolist() == [detected]
    np.testing.assert_array_equal(answer["bboxes"], bboxes)
    np.testing.assert_array_equal(answer["bbox_scores"], scores)
    np.testing.assert_array_equal(answer["keypoints"], keypoints)
    np.testing.assert_array_equal(answer["keypoint_scores"], keypoint_scores)


@pytest.mark.server
@pytest.mark.parametrize("size", [(1, 1), (1, 10_000), (10_000, 1), (7000, 7000)])
def test_extreme_sizes_are_answered(server, size):
    encoded = encode(np.full((size[1], size[0], 3), 90, np.uint8))
    assert call(server, "pose", encoded)["keypoints"].shape == (0, 17, 2)


def bomb(width, height):
    """Return a small PNG whose header states a huge size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", len(header)) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    return b"\x89PNG\r\n\x1a\n" + chunk + PICTURES["PNG"][33:]


REFUSED = {
    "empty": (b"", "0 bytes that begin with nothing are no JPEG"),
    "text": (b"hello, world", "12 bytes that begin with 68 65 6c 6c 6f 2c 20 77 are no JPEG"),
    "video": (b"\0\0\0\x20ftypisom" + bytes(100), "are no JPEG, PNG, WebP or BMP"),
    "SVG": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "are no JPEG, PNG, WebP or BMP"),
    "GIF": (saved(RGB, "GIF"), "are no JPEG, PNG, WebP or BMP"),
    "bomb": (bomb(65_000, 65_000), "65000 x 65000 pixels are over the limit of 50000000; scale it down"),
    "64 megapixels": (bomb(8000, 8000), "8000 x 8000 pixels are over the limit of 50000000; scale it down"),
    "33 MB": (PICTURES["PNG"] + bytes(32_000_000), "bytes are over the limit of 32000000; compress it more"),
    **{
        f"truncated {name}": (PICTURES[name][: len(PICTURES[name]) * 2 // 3], "is damaged or truncated")
        for name in ("baseline JPEG", "progressive JPEG", "PNG", "lossy WebP", "lossless WebP", "BMP")
    },
}


@pytest.mark.server
@pytest.mark.parametrize("name", REFUSED)
def test_bad_pictures_are_rejected_with_a_clear_message(server, name):
    encoded, sentence = REFUSED[name]
    failure = call(server, "pose", encoded, error=True)
    assert failure.status() == "StatusCode.INVALID_ARGUMENT"
    assert sentence in failure.message()
    assert not any(word in failure.message().lower() for word in ("traceback", ".py", "cv2", "opencv", "numpy", "/"))


@pytest.mark.server
def test_rejected_pictures_cost_no_memory_and_are_counted(server):
    def resident_kb():
        stubs = [path for path in Path("/proc").glob("[0-9]*/stat") if f" {server.process.pid} " in path.read_text()]
        statuses = [(path.parent / "status").read_text() for path in stubs]
        return sum(int(text.split("VmRSS:")[1].split()[0]) for text in statuses if "VmRSS" in text)

    def refuse_all():
        for name in ("empty", "bomb", "truncated PNG"):
            call(server, "pose", REFUSED[name][0], error=True)

    for _ in range(10):  # until each instance has received each picture
        refuse_all()
    before, kb = counters(server, "cigpose_pictures_refused_total", "reason"), resident_kb()
    for _ in range(50):
        refuse_all()
    after = counters(server, "cigpose_pictures_refused_total", "reason")
    grown = {reason: after[reason] - before[reason] for reason in ("format", "pixels", "damaged")}
    assert grown == {"format": 50, "pixels": 50, "damaged": 50}
    assert resident_kb() - kb < 32_000  # a decoded bomb takes hundreds of megabytes


@pytest.mark.server
@pytest.mark.parametrize(
    ("reason", "model", "bboxes", "parameters"),
    [
        ("parameters", "pose", None, {"bbox_threshold": "2"}),
        ("parameters", "pose_from_boxes", [[0, 0, 9, 9]], {"colour": "red"}),
        ("bboxes", "pose_from_boxes", [[9, 9, 0, 0]], {}),
        ("bboxes", "pose_from_boxes", [[0, 0, 9, 9]] * 33, {}),
    ],
)
def test_other_rejections_are_counted_by_reason(server, reason, model, bboxes, parameters):
    before = counters(server, "cigpose_pictures_refused_total", "reason")
    boxes = None if bboxes is None else np.array(bboxes, np.float32)
    failure = call(server, model, encode(noise_picture(64, 64)), boxes, error=True, **parameters)
    assert failure.status() == "StatusCode.INVALID_ARGUMENT"
    after = counters(server, "cigpose_pictures_refused_total", "reason")
    assert {key: after[key] - before[key] for key in after if after[key] != before[key]} == {reason: 1}
