"""Measures ids, and ByteTrack's on the same detections, in an environment that holds the package `trackers` only.

The argument is a JSON file: sets by name, each a list of films with `rate` and `frames`. A frame has `time_s`, the
truth (`true_ids`, `true_boxes`), the answer (`boxes`, `scores`, `ids`), and `oks` of each person of the truth with each
of the answer. Boxes are xyxy pixels. Stdout is one JSON object: the version of the package, and for each set the
measures of the answer's ids (`stream`) and of both ByteTracks.
"""

import json
import sys
from importlib.metadata import version

import numpy as np
import supervision as sv
from trackers import ByteTrackTracker
from trackers.eval import (
    aggregate_clear_metrics,
    aggregate_hota_metrics,
    aggregate_identity_metrics,
    box_iou,
    compute_clear_metrics,
    compute_hota_metrics,
    compute_identity_metrics,
)

# Streams return every detection from its first frame on, and keep the id of a lost person for 3 s (90 of 30 frames/s).
BYTETRACKS = {
    "ByteTrack": {},
    "ByteTrack, all detections": {
        "track_activation_threshold": 0.0,
        "minimum_consecutive_frames": 1,
        "lost_track_buffer": 90,
    },
}


def boxes_of(values):
    """Return a list of boxes as (N, 4) float64."""
    return np.array(values, np.float64).reshape(-1, 4)


def answered(film):
    """Yield the ids of the answer to each frame, and their rows in it."""
    for frame in film["frames"]:
        yield np.array(frame["ids"], np.int64), np.arange(len(frame["ids"]))


def bytetracked(film, settings):
    """Yield the ids of ByteTrack for each frame, and their rows in the answer. Detections may have no id."""
    tracker = ByteTrackTracker(frame_rate=film["rate"], **settings)
    for frame in film["frames"]:
        boxes, scores = boxes_of(frame["boxes"]), np.array(frame["scores"], np.float64)
        detections = sv.Detections(boxes, confidence=scores, data={"row": np.arange(len(boxes))})
        tracked = tracker.update(detections, timestamp=frame["time_s"])
        ids = np.array(tracked.tracker_id, np.int64).reshape(-1)
        yield ids[ids >= 0], np.array(tracked.data.get("row", ()), np.int64)[ids >= 0]


def similarities(frame, rows):
    """Return the IoU and the OKS of the truth and these rows of the answer."""
    boxes, truth = boxes_of(frame["boxes"])[rows], boxes_of(frame["true_boxes"])
    return box_iou(truth, boxes), np.array(frame["oks"]).reshape(len(truth), len(frame["boxes"]))[:, rows]


def measures(films, tracks):
    """Return the package's measures over all films, aggregated as TrackEval does."""
    kinds = {
        "clear": (compute_clear_metrics, aggregate_clear_metrics),
        "identity": (compute_identity_metrics, aggregate_identity_metrics),
        "hota": (compute_hota_metrics, aggregate_hota_metrics),
    }
    rows, by_keypoints = {kind: [] for kind in kinds}, []
    for film, pairs in zip(films, tracks, strict=True):
        truth = [np.array(frame["true_ids"], np.int64) for frame in film["frames"]]
        ids, found = zip(*pairs, strict=True)
        boxes, oks = zip(*(similarities(*each) for each in zip(film["frames"], found, strict=True)), strict=True)
        for kind, (compute, _) in kinds.items():
            rows[kind].append(compute(truth, list(ids), list(boxes)))
        by_keypoints.append(compute_clear_metrics(truth, list(ids), list(oks)))
    clear, identity, hota = (aggregate(rows[kind]) for kind, (_, aggregate) in kinds.items())
    shares = {"hota": hota["HOTA"], "idf1": identity["IDF1"], "mota": clear["MOTA"]}
    switches = {"switches": clear, "switches_by_keypoints": aggregate_clear_metrics(by_keypoints)}
    counts = {name: int(each["IDSW"]) for name, each in switches.items()}
    return {name: round(float(value), 4) for name, value in shares.items()} | counts


def compared(films):
    """Return the measures of the answer's ids and of ByteTrack."""
    rows = {"stream": measures(films, [answered(film) for film in films])}
    for name, settings in BYTETRACKS.items():
        rows[name] = measures(films, [bytetracked(film, settings) for film in films])
    return rows


with open(sys.argv[1], encoding="utf-8") as file:
    sets = json.load(file)
print(json.dumps({"trackers": version("trackers"), "sets": {name: compared(films) for name, films in sets.items()}}))
