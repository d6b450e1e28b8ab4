"""The scenes that the demo renders, and the comparison of its answers with the truth about them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from cigpose_client.outputs import write_file

from synthetic.annotations import annotated_visibility
from synthetic.gate import matches
from synthetic.scene import Scene, render_scene
from synthetic.seeds import DEMO

_SEEN = 2  # COCO's flag of a visible keypoint


def write_scenes(folder: Path) -> list[Scene]:
    """Render three scenes, the last one without people, and write them as JPEG files whose names are in order."""
    scenes = [render_scene(DEMO[3]), render_scene(DEMO[39]), render_scene(DEMO[2], people=0)]
    for number, scene in enumerate(scenes):
        write_file(folder / f"scene{number}.jpg", scene.jpeg)
    return scenes


def compare(answers: Sequence[Mapping[str, Any]], scenes: Sequence[Scene]) -> str:
    """Return one sentence: how many people were found, and the mean error of their visible keypoints.

    Args:
        answers: records of `cigpose-client image`, one for each scene.
        scenes: the truth. Only its first K keypoints are compared with a network of K keypoints.
    """
    errors = []
    for answer, scene in zip(answers, scenes, strict=True):
        bboxes = np.array([person["bbox"] for person in answer["people"]])
        keypoints = [np.array(person["keypoints"])[:, :2] for person in answer["people"]]
        for person, found in matches(scene.people, bboxes, keypoints):
            seen = annotated_visibility(person)[: len(found)] == _SEEN
            errors.append(np.linalg.norm(person.points[: len(found)] - found, axis=1)[seen])
    text = f"{len(errors)} of {sum(len(scene.people) for scene in scenes)} rendered people found"
    if errors:
        joined = np.concatenate(errors)
        text += f"; mean error of {len(joined)} visible keypoints: {joined.mean():.1f} pixels"
    return text
