"""Generated test pictures."""

import cv2
import numpy as np


def noise_picture(width=320, height=240, seed=0):
    """Return (H, W, 3) uint8: smooth noise without any pure red."""
    coarse = np.random.default_rng(seed).integers(0, 200, (height // 16 + 1, width // 16 + 1, 3), np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def picture_with_persons(cells, size=416, seed=0, grain=1):
    """Return a picture with one red 8x8 cell for each (column, row) in `cells`: the test detector's persons.

    `grain` is the side of the squares of noise in pixels.
    """
    image_bgr = noise_picture(size // grain, size // grain, seed).repeat(grain, axis=0).repeat(grain, axis=1)
    for column, row in cells:
        image_bgr[row * 8 : row * 8 + 8, column * 8 : column * 8 + 8] = (0, 0, 255)
    return image_bgr


def encode(image_bgr, kind=".png"):
    """Return the bytes of a picture file."""
    return cv2.imencode(kind, image_bgr)[1].tobytes()
