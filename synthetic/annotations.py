"""The truth about scenes in the form of COCO-WholeBody's annotations; `python -m synthetic.annotations` writes both.

As in that data set, a face or a hand is annotated only where it is large and visible enough for a person to mark its
keypoints. Otherwise they have visibility 0. Hidden keypoints of the body and the feet are annotated (visibility 1) if
they lie within the box of the visible part of the person.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from cigpose_client.evaluation import FIELDS, Dataset
from cigpose_client.outputs import write_file
from numpy.typing import NDArray

from ensemble.keypoints import keypoint_set
from server.usage import CommandLine, command, output_path
from synthetic.scene import Person, Scene, render_scene
from synthetic.seeds import TRAIN

_SET = keypoint_set("coco_wholebody")
_SMALL_PARTS = {  # part -> smallest side of its box in pixels, and smallest share of visible keypoints, for annotation
    "face": (12.0, 0.35),
    "left_hand": (10.0, 0.5),
    "right_hand": (10.0, 0.5),
}


def annotated_visibility(person: Person) -> NDArray[np.int64]:
    """Return the visibility (133,) in the annotation: 2 visible, 1 hidden, 0 not annotated."""
    visible = person.visible.copy()
    low, high = person.bbox_xyxy[:2], person.bbox_xyxy[2:]
    margin = 0.1 * (high - low)
    within = ((person.points >= low - margin) & (person.points <= high + margin)).all(axis=1)
    visible[(visible == 1) & ~within] = 0
    for part in _SMALL_PARTS:
        if not part_valid(person, part):
            visible[slice(*_SET.parts[part])] = 0
    return visible


def part_valid(person: Person, part: str) -> bool:
    """Return whether the face or hand `part` is large and visible enough to be annotated."""
    smallest, share = _SMALL_PARTS[part]
    rows = slice(*_SET.parts[part])
    extent = person.points[rows].max(axis=0) - person.points[rows].min(axis=0)
    return bool(extent.max() >= smallest and (person.visible[rows] == 2).mean() >= share)


def annotations(scenes: Iterable[tuple[int, Scene]]) -> Dataset:
    """Return the annotations of (image id, scene) pairs, with the fields that evaluation reads."""
    images: list[dict[str, Any]] = []
    people: list[dict[str, Any]] = []
    for image_id, scene in scenes:
        images.append({"id": image_id, "width": scene.size[0], "height": scene.size[1]})
        people += [{"image_id": image_id, **_annotation(person)} for person in scene.people]
    return Dataset(images, people)


def _annotation(person: Person) -> dict[str, Any]:
    visible, (left, top, right, bottom) = annotated_visibility(person), person.bbox_xyxy.tolist()
    triples = np.column_stack((np.round(person.points, 3), visible))
    triples[visible == 0] = 0
    fields = {field: triples[slice(*_SET.parts[part])].ravel().tolist() for part, field in FIELDS.items()}
    return {"area": person.area, "bbox": [left, top, right - left, bottom - top], **fields}


def write_pictures(folder: Path, seeds: Iterable[int]) -> None:
    """Render a scene of each seed as `<seed>.jpg`, and write `annotations.json` in COCO's format beside them."""
    scenes = []
    for seed in seeds:
        scene = render_scene(seed)
        write_file(folder / f"{seed}.jpg", scene.jpeg)
        scenes.append((seed, scene))
    truth = annotations(scenes)
    images = [{**image, "file_name": f"{image['id']}.jpg"} for image in truth.images]
    people = [{**person, "category_id": 1, "id": number} for number, person in enumerate(truth.people, 1)]
    write_file(folder / "annotations.json", json.dumps({"images": images, "annotations": people}))


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    text = "Writes rendered pictures with COCO annotations, for example to calibrate `python -m export quantize`."
    parser = CommandLine(prog="python -m synthetic.annotations", description=text)
    parser.add_argument("--output", type=output_path, required=True, metavar="DIR", help="folder to write")
    parser.add_argument(
        "--scenes", type=int, default=300, metavar="N", help="number of pictures (default: %(default)s)"
    )
    parser.add_argument("--first", type=int, default=TRAIN[900_000], metavar="SEED", help="default: %(default)s")
    options = parser.parse_args(argv)
    write_pictures(options.output, range(options.first, options.first + options.scenes))
    print(f"{options.output}: {options.scenes} pictures and annotations.json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
