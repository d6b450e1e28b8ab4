"""The accuracy gate: 200 scenes never used in training, answered by any implementation of the chain, and measured.

`python -m synthetic.gate --pose FILE --detector FILE [--out DIR]` measures ONNX files in this process.
"""

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from cigpose_client import Poses, keypoint_sets
from cigpose_client.evaluation import Dataset, evaluate, keypoint_similarities, without_duplicates
from cigpose_client.outputs import claim_folder
from numpy.typing import NDArray

from export.repository import plan
from server.usage import CommandLine, command, input_path, need, output_path
from synthetic.annotations import annotated_visibility, annotations
from synthetic.gate_report import ENTRIES, Case, save_histogram, save_worst
from synthetic.scene import Person, Scene, render_scene
from synthetic.seeds import GATE

PARTS = ("body", "foot", "face", "hand", "whole")  # shown in tables
_SETS = {len(known): known for name, known in keypoint_sets().items() if name in ("coco", "coco_wholebody")}
_ERROR_EDGES = np.array((0.0, 0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, np.inf))  # in roots of the person's area
BBOX_THRESHOLD = 0.1  # average precision ranks people by score, so weak ones belong to it
Estimator = Callable[[bytes], Poses]


@dataclass(frozen=True)
class GateResult:
    """What a gate run measured.

    Attributes:
        average_precision: by part (of `PARTS`, those that the network predicts), 0 to 1; -1 where nothing is annotated.
        people: in the scenes.
        found: of them, with a box that overlaps theirs by half.
        mean_error: of their annotated points, in picture pixels.
        histogram: (K, bins) how often each point was off by how much, in roots of the person's area.
        cases: every person, worst first.
    """

    average_precision: dict[str, float]
    people: int
    found: int
    mean_error: float
    histogram: NDArray[np.int64]
    cases: list[Case]


def measure(estimate: Estimator, seeds: Iterable[int] = GATE, out: Path | None = None) -> GateResult:
    """Answer every scene and compare with the truth.

    Args:
        estimate: answers an encoded picture, with COCO's 17 keypoints or COCO-WholeBody's 133.
        seeds: scenes to measure on.
        out: folder for `histogram.json` and, in `worst`, the 20 worst people as pictures.
    """
    scenes = [(seed, f"{seed:06d}.jpg", render_scene(seed)) for seed in seeds]
    answers = [estimate(scene.jpeg) for _, _, scene in scenes]
    results = [
        person
        for (seed, _, _), answer in zip(scenes, answers, strict=True)
        for person in without_duplicates(answer).to_coco(seed, bbox=False)
    ]
    cases = [
        case for (seed, _, scene), answer in zip(scenes, answers, strict=True) for case in _cases(seed, scene, answer)
    ]
    truth = annotations(scenes)
    known = _SETS[answers[0].keypoints.shape[1]]
    metrics = evaluate(Dataset(truth["images"], truth["annotations"]), results, known)
    precision = {part: metrics[part]["AP"] for part in PARTS if part in metrics}
    result = _summary(precision, sorted(cases, key=lambda case: case.similarity), len(known))
    if out is not None:
        save_histogram(result.histogram, known.names, _ERROR_EDGES, out)
        save_worst(result.cases[:20], out)
    return result


def in_process(pose: Path, detector: Path, bbox_threshold: float = BBOX_THRESHOLD) -> Estimator:
    """Return the pipeline `pose` of two ONNX files, run in this process."""
    run = plan([pose], detector).in_process("pose", threads=0)

    def estimate(picture: bytes) -> Poses:
        answer = run(image=picture, parameters={"bbox_threshold": bbox_threshold})
        count = int(answer.pop("persons_detected")[0])
        return Poses(**answer, persons_detected=count)

    return estimate


def _summary(table: dict[str, float], cases: list[Case], count: int) -> GateResult:
    answered = [(case.person, case.found) for case in cases if case.found is not None]
    errors = [np.linalg.norm(found - person.points[:count], axis=1) for person, found in answered]
    seen = [annotated_visibility(person)[:count] > 0 for person, _ in answered]
    sizes = [np.sqrt(person.area) for person, _ in answered]
    histogram = np.zeros((count, len(_ERROR_EDGES) - 1), np.int64)
    for error, kept, size in zip(errors, seen, sizes, strict=True):
        bins = np.digitize(error / size, _ERROR_EDGES) - 1
        np.add.at(histogram, (np.flatnonzero(kept), bins[kept]), 1)
    pixels = np.concatenate([error[kept] for error, kept in zip(errors, seen, strict=True)]) if errors else np.zeros(0)
    mean = float(pixels.mean()) if len(pixels) else 0.0
    return GateResult(table, len(cases), len(errors), mean, histogram, cases)


def _cases(seed: int, scene: Scene, answer: Poses) -> list[Case]:
    """Match every true person with the found box that overlaps theirs most, each box once."""
    free, cases = list(range(len(answer.bboxes))), []
    for person in reversed(scene.people):
        overlaps = [_overlap(person.bbox_xyxy, answer.bboxes[index]) for index in free]
        best = int(np.argmax(overlaps)) if overlaps else -1
        if best < 0 or overlaps[best] < 0.5:
            cases.append(Case(seed, scene.jpeg, person, None, 0.0))
            continue
        found = answer.keypoints[free.pop(best)]
        cases.append(Case(seed, scene.jpeg, person, found, _similarity(person, found)))
    return cases


def _similarity(person: Person, found: NDArray[np.float32]) -> float:
    """Return the similarity of the annotated points; 1 where nothing is annotated."""
    count = len(found)
    kept = annotated_visibility(person)[:count] > 0
    if not kept.any():
        return 1.0
    each = keypoint_similarities(person.points[:count], found, person.area, _SETS[count].sigmas)
    return float(each[kept].mean())


def _overlap(first: NDArray[np.float64], second: NDArray[np.float32]) -> float:
    sides = np.clip(np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2]), 0, None)
    union = np.prod(first[2:] - first[:2]) + np.prod(second[2:] - second[:2]) - np.prod(sides)
    return float(np.prod(sides) / max(1e-9, union))


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = CommandLine(prog="python -m synthetic.gate", description=__doc__)
    parser.add_argument("--pose", type=input_path, required=True)
    parser.add_argument("--detector", type=input_path, required=True)
    parser.add_argument("--bbox-threshold", type=float, default=BBOX_THRESHOLD, help="default %(default)s")
    parser.add_argument("--scenes", type=int, default=len(GATE), help="how many of the gate's scenes")
    parser.add_argument("--out", type=output_path, help="folder for the histogram and the worst cases")
    options = parser.parse_args(argv)
    need("install-test", "pycocotools")
    if options.out:
        claim_folder(options.out, ENTRIES)
    chain = in_process(options.pose, options.detector, options.bbox_threshold)
    result = measure(chain, GATE[: options.scenes], options.out)
    table = {part: round(value, 4) for part, value in result.average_precision.items()}
    summary = {"average_precision": table, "people": result.people, "found": result.found}
    sys.stdout.write(json.dumps(summary | {"mean_error_px": round(result.mean_error, 2)}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
