"""Effects of a camera on a picture: exposure, blur, noise and JPEG."""

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]

_NOISE = (
    np.random.default_rng(133).normal(0, 1, (211, 193, 3)).astype(np.float32)
)  # one tile, shifted for every picture


def photograph(rng: np.random.Generator, image: Image, noise: np.random.Generator | None = None) -> Image:
    """Return the picture of a camera of random quality, before compression.

    Args:
        rng: draws the camera.
        image: (h, w, 3) BGR.
        noise: draws the noise, for films: each frame has its own; None for `rng`.
    """
    image = _expose(rng, image)
    image = _blur(rng, image)
    return _add_noise(noise or rng, image)


def encode_jpeg(rng: np.random.Generator, image: Image) -> bytes:
    """Return the picture as a JPEG of random quality."""
    quality = int(rng.integers(55, 96))
    _, data = cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, quality))
    return bytes(data.tobytes())


def decode(data: bytes) -> Image:
    """Return an encoded picture as (h, w, 3) BGR."""
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), np.uint8)


def _expose(rng: np.random.Generator, image: Image) -> Image:
    levels = np.linspace(0, 1, 256)[:, None]
    gain, gamma = rng.uniform(0.8, 1.15) * rng.uniform(0.9, 1.1, 3), rng.uniform(0.75, 1.35)
    table = np.clip(255 * gain * levels**gamma + rng.uniform(-8, 18), 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(image, table[None]), np.uint8)


def _blur(rng: np.random.Generator, image: Image) -> Image:
    kind = rng.random()
    if kind < 0.35:
        return np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 1.0)), np.uint8)
    if kind < 0.42:
        length, angle = int(rng.integers(2, 6)), rng.uniform(0, np.pi)
        kernel = np.zeros((7, 7), np.float32)
        step = 0.5 * length * np.array((np.cos(angle), np.sin(angle)))
        ends = np.rint((3 + np.stack((step, -step))) * 16).astype(int)
        cv2.line(kernel, tuple(ends[0].tolist()), tuple(ends[1].tolist()), 1.0, 1, cv2.LINE_8, 4)
        return np.asarray(cv2.filter2D(image, -1, kernel / kernel.sum()), np.uint8)
    return image


def _add_noise(rng: np.random.Generator, image: Image) -> Image:
    strength = max(0.0, rng.uniform(-2, 7))
    if strength == 0:
        return image
    tile = np.roll(np.rint(strength * _NOISE).astype(np.int16), rng.integers(0, 190, 2), axis=(0, 1))
    height, width = image.shape[:2]
    noise = np.tile(tile, (height // tile.shape[0] + 1, width // tile.shape[1] + 1, 1))[:height, :width]
    return np.asarray(cv2.add(image, noise, dtype=cv2.CV_8U), np.uint8)
