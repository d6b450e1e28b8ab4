"""What a gate run leaves to look at: the error histogram and the worst cases."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from cigpose_client.outputs import write_file
from numpy.typing import NDArray

from synthetic.annotations import annotated_visibility
from synthetic.effects import decode
from synthetic.scene import Person

ENTRIES = ("histogram.json", "worst")  # of the folder
_TALL = 480  # pixels of a worst-case picture
_TRUE, _FOUND, _BOX = (60, 220, 60), (40, 40, 240), (220, 120, 220)


@dataclass(frozen=True)
class Case:
    """One true person and what was found there.

    Attributes:
        seed: of the scene.
        jpeg: the picture.
        person: the truth.
        found: (K, 2) picture pixels, the first K of COCO-WholeBody; None when nobody was found there.
        similarity: object keypoint similarity over the annotated points.
    """

    seed: int
    jpeg: bytes
    person: Person
    found: NDArray[np.float32] | None
    similarity: float


def save_histogram(
    histogram: NDArray[np.int64], names: Sequence[str], edges: NDArray[np.float64], folder: Path
) -> None:
    """Write `histogram.json`: for each keypoint, how often its error fell between two edges."""
    content = {
        "unit": "root of the person's area",
        "edges": [float(edge) if np.isfinite(edge) else None for edge in edges],
        "points": {name: row.tolist() for name, row in zip(names, histogram, strict=True)},
    }
    write_file(folder / "histogram.json", json.dumps(content, indent=1))


def save_worst(cases: Sequence[Case], folder: Path) -> None:
    """Write one picture a case into `folder / "worst"`: truth left, found points right."""
    for number, case in enumerate(cases, start=1):
        name = f"{number:02d}_scene-{case.seed}_similarity-{case.similarity:.2f}.jpg"
        write_file(folder / "worst" / name, cv2.imencode(".jpg", _picture(case))[1].tobytes())


def _picture(case: Case) -> NDArray[np.uint8]:
    image = decode(case.jpeg)
    low, high = case.person.bbox_xyxy[:2], case.person.bbox_xyxy[2:]
    margin = 0.25 * (high - low) + 4
    left, top = np.maximum(0, low - margin).astype(int)
    right, bottom = np.minimum(image.shape[1::-1], high + margin).astype(int)
    zoom = _TALL / (bottom - top)
    crop = cv2.resize(image[top:bottom, left:right], None, fx=zoom, fy=zoom, interpolation=cv2.INTER_LINEAR)
    corner = np.array((left, top))
    box = (((case.person.bbox_xyxy.reshape(2, 2) - corner) * zoom).astype(int)).tolist()
    cv2.rectangle(crop, tuple(box[0]), tuple(box[1]), _BOX, 1)
    count = None if case.found is None else len(case.found)
    kept = annotated_visibility(case.person)[:count] > 0
    halves = [_dots(crop, (case.person.points[:count][kept] - corner) * zoom, _TRUE)]
    found = np.zeros((0, 2)) if case.found is None else (case.found - corner) * zoom
    halves.append(_dots(crop, found, _FOUND))
    return np.hstack(halves)


def _dots(
    crop: NDArray[np.uint8], points: NDArray[np.float64] | NDArray[np.float32], color: tuple[int, int, int]
) -> NDArray[np.uint8]:
    picture = crop.copy()
    for x, y in np.clip(points, -10_000, 10_000):
        cv2.circle(picture, (round(float(x)), round(float(y))), 2, color, -1, cv2.LINE_AA)
    return picture
