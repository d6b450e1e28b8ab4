"""Geometry of network inputs: pixels from the picture to the input, and coordinates back. One class for each method.

Sizes are (width, height) here and in every tensor; shapes of arrays are (height, width).
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Pixels = NDArray[np.uint8]
Size = tuple[int, int]

WARPS = ("affine", "udp")
_GREY = 114
_MULTIPLE = 64  # of the sides of a padded fit
_LONGEST = 4  # times the short side
_LONGEST_WARPED = 2**15 - 2  # side of a picture in pixels that OpenCV can warp


@dataclass(frozen=True)
class Letterbox:
    """YOLOX's letterbox: the picture scaled to fit, top-left aligned, padded with grey.

    Attributes:
        size: (w, h) of the detector's input.

    Source: Megvii YOLOX, preproc (bilinear, sizes truncated, grey 114, no centring).
    """

    size: Size

    def apply(self, image_bgr: Pixels) -> Pixels:
        """Return the letterboxed picture, (h, w, 3) uint8 BGR, for a picture (H, W, 3)."""
        height, width = image_bgr.shape[:2]
        ratio = self.ratio((width, height))
        scaled_size = (max(int(width * ratio), 1), max(int(height * ratio), 1))
        canvas = np.full((self.size[1], self.size[0], 3), _GREY, np.uint8)
        scaled = canvas[: scaled_size[1], : scaled_size[0]]
        cv2.resize(image_bgr, scaled_size, dst=scaled, interpolation=cv2.INTER_LINEAR)
        return canvas

    def to_picture(self, bbox_xyxy: Floats, picture_size: Size) -> Floats:
        """Map (N, 4) boxes from letterbox pixels to pixels of a picture of (w, h)."""
        return np.asarray(bbox_xyxy / np.float32(self.ratio(picture_size)), np.float32)

    def ratio(self, picture_size: Size) -> float:
        """Return the scale for a picture of (w, h): letterbox pixels per picture pixel."""
        return min(self.size[0] / picture_size[0], self.size[1] / picture_size[1])


@dataclass(frozen=True)
class TopDownCrop:
    """MMPose's crop at test time: padded box, fixed aspect ratio, one affine warp, black outside the picture.

    A crop is described by its centre and its scale, both in picture pixels. The scale is the (width, height) after
    padding.

    Attributes:
        size: (w, h) of the network's input.
        padding: factor on the box's width and height.
        warp: one of WARPS. `affine`: the region's edges become the crop's edges; `udp`: they become the centres of its
            outermost pixels, as networks of unbiased data processing were trained.

    Source: MMPose 1.3.2, GetBBoxCenterScale, TopdownAffine and TopdownPoseEstimator.add_pred_to_datasample.
    """

    size: Size
    padding: float = 1.25
    warp: str = "affine"

    def regions(self, bbox_xyxy: Floats) -> tuple[Floats, Floats]:
        """Return centers (N, 2) and scales (N, 2), float32 picture pixels, for (N, 4) boxes."""
        centers = (bbox_xyxy[:, 2:] + bbox_xyxy[:, :2]) * np.float32(0.5)
        padded = (bbox_xyxy[:, 2:] - bbox_xyxy[:, :2]) * np.float32(self.padding)
        width, height = padded[:, :1], padded[:, 1:]
        aspect = np.float32(self.size[0] / self.size[1])
        wide = np.hstack([width, width / aspect])
        tall = np.hstack([height * aspect, height])
        return centers, np.where(width > height * aspect, wide, tall)

    def apply(self, image_bgr: Pixels, centers: Floats, scales: Floats) -> Pixels:
        """Return (N, h, w, 3) uint8 BGR crops; pixels outside the picture are black."""
        crops = np.empty((len(centers), self.size[1], self.size[0], 3), np.uint8)
        for crop, center, scale in zip(crops, centers, scales, strict=True):
            matrix = self.warp_matrix(center, scale)
            cv2.warpAffine(image_bgr, matrix, self.size, dst=crop, flags=cv2.INTER_LINEAR)
        return crops

    def warp_matrix(self, center: Floats, scale: Floats) -> NDArray[np.float64]:
        """Return the (2, 3) matrix that maps picture pixels to crop pixels. Of `scale`, only the width is used.

        Source: MMPose 1.3.2, get_warp_matrix without rotation: three point pairs in float32, no half-pixel shift; and
        get_udp_warp_matrix, in float32 likewise.
        """
        if self.warp == "udp":
            zoom = (np.array(self.size) - 1) / scale
            offset = zoom * (0.5 * scale - center)
            return np.array([[zoom[0], 0, offset[0]], [0, zoom[1], offset[1]]], np.float32).astype(np.float64)
        middle = np.array([self.size[0] * 0.5, self.size[1] * 0.5], np.float32)
        source = _corner_triple(center, np.float32(scale[0]) * np.float32(-0.5))
        target = _corner_triple(middle, np.float32(self.size[0] * -0.5))
        return np.asarray(cv2.getAffineTransform(source, target), np.float64)

    @staticmethod
    def to_picture(points: Floats, grid: Size, centers: Floats, scales: Floats) -> Floats:
        """Map points from a grid over the crop to picture pixels. The computation is in float64.

        Args:
            points: (N, K, 2) float32, in cells of the grid.
            grid: number of cells along x and along y, such as SimCC bins. The crop's size in pixels is not needed.
            centers: (N, 2) float32.
            scales: (N, 2) float32.

        Returns:
            (N, K, 2) float32.
        """
        scales = scales[:, None]
        in_crop = points.astype(np.float64) / grid
        in_picture: NDArray[np.float64] = in_crop * scales + centers[:, None] - 0.5 * scales
        return in_picture.astype(np.float32)

    @staticmethod
    def to_grid(points: Floats, grid: Size, centers: Floats, scales: Floats) -> Floats:
        """Map points (N, K, 2) from picture pixels to a grid over the crop: the inverse of `to_picture`."""
        scales = scales[:, None]
        in_crop = (points.astype(np.float64) - centers[:, None] + 0.5 * scales) / scales
        return np.asarray(in_crop * grid, np.float32)


@dataclass(frozen=True)
class PelvisCrop:
    """The crop of Context-Aware PoseFormer: a middle and a width in picture pixels, black outside the picture.

    The centres of the region's outermost pixels become those of the crop along x; the scale along y is the same.

    Attributes:
        size: (w, h) of the network's input.

    Source: github.com/QitaoZhao/ContextAware-PoseFormer, crop of the data set: the scale is (w - 1) / (width - 1).
    """

    size: Size

    def apply(self, image_bgr: Pixels, centers: Floats, widths: Floats) -> Pixels:
        """Return (N, h, w, 3) uint8 BGR crops for middles (N, 2) and widths (N,) above 1."""
        crops = np.empty((len(centers), self.size[1], self.size[0], 3), np.uint8)
        middle, zooms = self._middle, self._zooms(widths)
        for crop, center, zoom in zip(crops, centers.astype(np.float64), zooms, strict=True):
            matrix = np.column_stack([zoom * np.eye(2), middle - zoom * center])
            cv2.warpAffine(image_bgr, matrix, self.size, dst=crop, flags=cv2.INTER_LINEAR)
        return crops

    def from_picture(self, points: Floats, centers: Floats, widths: Floats) -> Floats:
        """Map points (N, K, 2) from picture pixels to crop pixels. The computation is in float64."""
        around = points.astype(np.float64) - centers[:, None]
        in_crop = self._zooms(widths)[:, None, None] * around + self._middle
        return np.asarray(in_crop, np.float32)

    @property
    def _middle(self) -> NDArray[np.float64]:
        return (np.array(self.size) - 1) / 2

    def _zooms(self, widths: Floats) -> NDArray[np.float64]:
        zooms: NDArray[np.float64] = (self.size[0] - 1) / (widths.astype(np.float64) - 1)
        return zooms


@dataclass(frozen=True)
class PaddedFit:
    """LOGO-CAP's input: the whole picture, scaled to a short side, with the long side padded on both ends with black.

    A picture longer than four times its short side is scaled down until its long side is four times `short_side`. Both
    sides are multiples of 64, so one network execution of any picture is bounded.

    Attributes:
        short_side: of the input in pixels, a multiple of 64.

    Source: the official test of LOGO-CAP, which has no limit of the long side.
    """

    short_side: int

    def __post_init__(self) -> None:
        if self.short_side < 1 or self.short_side % _MULTIPLE:
            raise ValueError(f"the short side must be a multiple of {_MULTIPLE}, not {self.short_side}")

    def input_size(self, picture_size: Size) -> Size:
        """Return (w, h) of the input for a picture of (w, h)."""
        short, long = sorted(picture_size)
        sides = self.short_side, _whole(self.short_side * long / short)
        if self._is_long(picture_size):
            sides = _whole(self._longest * short / long), self._longest
        return sides if picture_size[0] < picture_size[1] else (sides[1], sides[0])

    def ratio(self, picture_size: Size) -> float:
        """Return the scale for a picture of (w, h): input pixels per picture pixel."""
        short, long = sorted(picture_size)
        return self._longest / long if self._is_long(picture_size) else self.short_side / short

    def apply(self, image_bgr: Pixels) -> Pixels:
        """Return the input, (h, w, 3) uint8 BGR, for a picture (H, W, 3)."""
        picture_size = image_bgr.shape[1], image_bgr.shape[0]
        matrix, size = self.warp_matrix(picture_size), self.input_size(picture_size)
        if max(picture_size) > _LONGEST_WARPED:
            image_bgr, matrix = _shrunk(image_bgr, matrix)
        return np.asarray(cv2.warpAffine(image_bgr, matrix, size, flags=cv2.INTER_LINEAR), np.uint8)

    def warp_matrix(self, picture_size: Size) -> NDArray[np.float64]:
        """Return the (2, 3) matrix that maps pixels of a picture of (w, h) to those of the input."""
        width, height = self.input_size(picture_size)
        half = np.float32(width / 2)
        source = _upper_triple(np.array(_center(picture_size), np.float32), half / np.float32(self.ratio(picture_size)))
        target = _upper_triple(np.array([width * 0.5, height * 0.5], np.float32), half)
        return np.asarray(cv2.getAffineTransform(source, target), np.float64)

    def to_picture(self, points: Floats, picture_size: Size) -> Floats:
        """Map points (N, K, 2) from input pixels to those of a picture of (w, h). The computation is in float64."""
        middle = np.array(self.input_size(picture_size)) / 2
        in_picture = (points.astype(np.float64) - middle) / self.ratio(picture_size) + _center(picture_size)
        return np.asarray(in_picture, np.float32)

    @property
    def _longest(self) -> int:
        return _LONGEST * self.short_side

    def _is_long(self, picture_size: Size) -> bool:
        short, long = sorted(picture_size)
        return _whole(self.short_side * long / short) > self._longest


def _whole(side: float) -> int:
    """Return the multiple of 64 that a side is padded to."""
    return max(int((side + _MULTIPLE - 1) // _MULTIPLE) * _MULTIPLE, _MULTIPLE)


def _shrunk(image_bgr: Pixels, matrix: NDArray[np.float64]) -> tuple[Pixels, NDArray[np.float64]]:
    """Return the picture with sides that OpenCV can warp, and the matrix for its pixels."""
    divisor = -(-max(image_bgr.shape) // _LONGEST_WARPED)
    size = max(image_bgr.shape[1] // divisor, 1), max(image_bgr.shape[0] // divisor, 1)
    zoom = np.array([image_bgr.shape[1], image_bgr.shape[0]]) / size
    offset = matrix[:, :2] @ (0.5 * zoom - 0.5) + matrix[:, 2]
    shrunk = np.asarray(cv2.resize(image_bgr, size, interpolation=cv2.INTER_AREA), np.uint8)
    return shrunk, np.column_stack([matrix[:, :2] * zoom, offset])


def _center(picture_size: Size) -> Size:
    """Return the pixel that the official code takes for a picture's centre."""
    return int(picture_size[0] / 2 + 0.5), int(picture_size[1] / 2 + 0.5)


def _corner_triple(center: Floats, half_width: np.float32) -> Floats:
    """Return MMPose's three points: the centre, the middle of the left edge, and the point half a width below that."""
    left = center + np.array([half_width, 0], np.float32)
    below = left + np.array([0, -half_width], np.float32)
    return np.stack([center, left, below])


def _upper_triple(center: Floats, half_width: np.float32) -> Floats:
    """Return the official code's three points: the centre, half a width above it, and as much to the left of that."""
    above = center + np.array([0, -half_width], np.float32)
    return np.stack([center, above, above + np.array([-half_width, 0], np.float32)])
