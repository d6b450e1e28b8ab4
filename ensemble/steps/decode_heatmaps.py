"""Heat map decoding: the peak of each keypoint's map, refined to parts of a cell -> coordinates and scores."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ensemble.geometry import Floats, TopDownCrop
from ensemble.steps import Arrays, Request, Step
from ensemble.tensors import CENTERS, HEATMAPS, KEYPOINT_SCORES, KEYPOINTS, PERSON_BOXES, SCALES, Tensor

DECODINGS = ("quarter", "dark", "udp")
SEARCHES = ("crop", "box")
BLUR = 11  # cells; fits maps of sigma 2
Indices = NDArray[np.intp]


@dataclass(frozen=True)
class DecodeHeatmaps(Step):
    """Heat maps -> keypoints in picture pixels; serves every network of one decoding.

    Attributes:
        decoding: one of DECODINGS: `quarter` is that of the official HRNet and SimpleBaseline, `dark` and `udp` are
            MMPose's `MSRAHeatmap(unbiased=True)` and `UDPHeatmap`.
        blur: side of the Gaussian kernel of `dark` and `udp` in cells, odd: MMPose's `blur_kernel_size`.
        search: one of SEARCHES: where the peak is looked for. `box` leaves out the cells beside the person's box, for
            networks which were not trained to ignore the neighbours that a crop shows.
        offset: where a peak lies in its cell, 0 to 1. MMPose's labels put it on the cell's first corner (0),
            CenterNet's anywhere in the cell (0.5).
    """

    decoding: str = "quarter"
    blur: int = BLUR
    search: str = "crop"
    offset: float = 0.0

    outputs = (KEYPOINTS, KEYPOINT_SCORES)

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """The maps and the regions of their crops, with the persons' boxes where they are searched."""
        return HEATMAPS.many(), CENTERS, SCALES, *((PERSON_BOXES,) if self.search == "box" else ())

    def run(self, request: Request) -> Arrays:
        """Decode the maps of the people; a picture with nobody brings those of one black crop, which are dropped."""
        heatmaps, centers, scales, *boxes = (request.tensors[tensor.name] for tensor in self.inputs)
        persons, (height, width) = len(centers), heatmaps.shape[2:]
        span = spanned_cells(width, height, self.decoding)
        in_cells = [TopDownCrop.to_grid(box.reshape(-1, 2, 2), span, centers, scales).reshape(-1, 4) for box in boxes]
        keypoints, scores = decode_heatmaps(heatmaps[:persons], self.decoding, self.blur, *in_cells)
        placed = TopDownCrop.to_picture(keypoints + np.float32(self.offset), span, centers, scales)
        return {"keypoints": placed, "keypoint_scores": scores}


def spanned_cells(width: int, height: int, decoding: str) -> tuple[int, int]:
    """Return how many cells along x and y make up the crop's sides.

    UDP counts from the first cell's centre to the last one's, the others from edge to edge.
    """
    return (width - 1, height - 1) if decoding == "udp" else (width, height)


def decode_heatmaps(
    heatmaps: Floats, decoding: str, blur: int = BLUR, boxes: Floats | None = None
) -> tuple[Floats, Floats]:
    """Decode heat maps to keypoints in cells.

    Args:
        heatmaps: (N, K, h, w) float32.
        decoding: one of DECODINGS.
        blur: see `DecodeHeatmaps`.
        boxes: (N, 4) float32, left, top, right, bottom in cells: where maxima are looked for, at least in one cell;
            None: everywhere.

    Returns:
        keypoints (N, K, 2) float32, in cells; scores (N, K) float32, the maxima. Where a maximum is not positive the
        keypoint is that of the source: (0, 0) for `quarter`, (-1, -1) for the others.

    Raises:
        ValueError: the decoding is unknown, or the kernel's side is even.
    """
    if decoding not in DECODINGS:
        raise ValueError(f"unknown decoding {decoding!r}; known: {', '.join(DECODINGS)}")
    if blur % 2 == 0:
        raise ValueError(f"the blur kernel's side must be odd, not {blur}")
    persons, count, height, width = heatmaps.shape
    searched = heatmaps if boxes is None else _inside(heatmaps, boxes)
    flat = searched.reshape(persons, count, height * width)
    cells, scores = flat.argmax(axis=2), flat.max(axis=2)
    x, y = cells % width, cells // width
    keypoints = np.stack([x, y], axis=2).astype(np.float32)
    found = scores > 0
    if decoding == "quarter":
        keypoints += _quarter_offsets(heatmaps, x, y)
        keypoints[~found] = 0
        return keypoints, scores
    people, rows = np.nonzero(found)  # the other maps have no maximum to be scaled to
    refine = _dark_offsets if decoding == "dark" else _udp_offsets
    keypoints[people, rows] += refine(_blurred(heatmaps[people, rows], blur), x[people, rows], y[people, rows])
    keypoints[~found] = -1
    return keypoints, scores


def _inside(heatmaps: Floats, boxes: Floats) -> Floats:
    """Return the maps with every cell that the box (N, 4) does not touch at minus infinity."""
    height, width = heatmaps.shape[2:]
    first = np.floor(boxes[:, :2])
    end = np.maximum(np.ceil(boxes[:, 2:]), first + 1)
    columns, rows = (
        (first[:, [axis]] <= np.arange(size)) & (np.arange(size) < end[:, [axis]])
        for axis, size in enumerate((width, height))
    )
    return np.where((rows[:, :, None] & columns[:, None])[:, None], heatmaps, np.float32(-np.inf))


def _quarter_offsets(heatmaps: Floats, x: Indices, y: Indices) -> Floats:
    """Return offsets (N, K, 2): a quarter of a cell towards the higher neighbour, along both axes or neither.

    Source: github.com/leoxiaobin/deep-high-resolution-net.pytorch, get_final_preds: 1 < x < w - 1 and 1 < y < h - 1.
    """
    height, width = heatmaps.shape[2:]
    inside = (x > 1) & (x < width - 1) & (y > 1) & (y < height - 1)
    people, rows = np.ogrid[: heatmaps.shape[0], : heatmaps.shape[1]]
    x, y = np.where(inside, x, 1), np.where(inside, y, 1)
    along_x = heatmaps[people, rows, y, x + 1] - heatmaps[people, rows, y, x - 1]
    along_y = heatmaps[people, rows, y + 1, x] - heatmaps[people, rows, y - 1, x]
    signs = np.sign(np.stack([along_x, along_y], axis=2))
    return np.where(inside[..., None], np.float32(0.25) * signs, np.float32(0))


def _blurred(maps: Floats, kernel: int) -> Floats:
    """Return maps (M, h, w) with a Gaussian blur on a black border, each scaled to its former maximum.

    Source: MMPose 1.3.2, gaussian_blur.
    """
    border, (height, width) = (kernel - 1) // 2, maps.shape[1:]
    padded = np.zeros((height + 2 * border, width + 2 * border), np.float32)
    inner = slice(border, border + height), slice(border, border + width)
    blurred = np.empty(maps.shape, np.float32)
    for source, target in zip(maps, blurred, strict=True):
        padded[inner] = source
        target[:] = cv2.GaussianBlur(padded, (kernel, kernel), 0)[inner]
        with np.errstate(divide="ignore", invalid="ignore"):  # a lone peak among negative cells may vanish
            target *= source.max() / target.max()
    return blurred


def _dark_offsets(blurred: Floats, x: Indices, y: Indices) -> Floats:
    """Return offsets (M, 2): a Newton step on the logarithm of maps (M, h, w), from derivatives two cells wide.

    None within two cells of the border.
    Source: MMPose 1.3.2, refine_keypoints_dark; paper: DARK, arXiv 1910.06278.
    """
    height, width = blurred.shape[1:]
    logs = np.log(np.maximum(blurred, np.float32(1e-10)))
    rows = np.flatnonzero((x > 1) & (x < width - 2) & (y > 1) & (y < height - 2))

    def at(right: int, down: int) -> Floats:
        values: Floats = logs[rows, y[rows] + down, x[rows] + right]
        return values

    half, quarter = np.float32(0.5), np.float32(0.25)
    gradient = half * np.stack([at(1, 0) - at(-1, 0), at(0, 1) - at(0, -1)], axis=1)
    dxx = quarter * (at(2, 0) - 2 * at(0, 0) + at(-2, 0))
    dyy = quarter * (at(0, 2) - 2 * at(0, 0) + at(0, -2))
    dxy = quarter * (at(1, 1) - at(1, -1) - at(-1, 1) + at(-1, -1))
    offsets = np.zeros((len(blurred), 2), np.float32)
    offsets[rows] = _newton_steps(gradient, np.stack([dxx, dxy, dxy, dyy], axis=1))
    return offsets


def _udp_offsets(blurred: Floats, x: Indices, y: Indices) -> Floats:
    """Return offsets (M, 2): a Newton step on the logarithm of maps (M, h, w), whose border cells are repeated.

    Source: MMPose 1.3.2, refine_keypoints_dark_udp; paper: UDP, arXiv 1911.07524.
    """
    logs = np.pad(np.log(np.clip(blurred, 1e-3, 50)), ((0, 0), (1, 1), (1, 1)), mode="edge")
    rows = np.arange(len(blurred))

    def at(right: int, down: int) -> Floats:
        values: Floats = logs[rows, y + 1 + down, x + 1 + right]
        return values

    here = at(0, 0)
    gradient = np.float32(0.5) * np.stack([at(1, 0) - at(-1, 0), at(0, 1) - at(0, -1)], axis=1)
    dxx, dyy = (at(*step) - 2 * here + at(-step[0], -step[1]) for step in ((1, 0), (0, 1)))
    mixed = at(1, 1) - at(1, 0) - at(0, 1) + here + here - at(-1, 0) - at(0, -1) + at(-1, -1)
    dxy = np.float32(0.5) * mixed
    ridge = np.finfo(np.float32).eps * np.eye(2).ravel()
    return _newton_steps(gradient, np.stack([dxx, dxy, dxy, dyy], axis=1) + ridge)


def _newton_steps(gradient: Floats, hessian: NDArray[np.floating[Any]]) -> Floats:
    """Return -H^-1 g (M, 2) for gradients (M, 2) and matrices (M, 4); no step where H is singular or not finite."""
    with np.errstate(invalid="ignore"):
        determinant = hessian[:, 0] * hessian[:, 3] - hessian[:, 1] * hessian[:, 2]
    regular = np.isfinite(determinant) & (determinant != 0)
    steps = np.zeros(gradient.shape, np.float32)
    inverse = np.linalg.inv(hessian[regular].reshape(-1, 2, 2))
    steps[regular] = -(inverse @ gradient[regular][:, :, None])[..., 0]
    return steps
