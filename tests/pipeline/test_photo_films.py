"""Streams over films that pan and zoom across four annotated photos, with trained networks, against what is recorded.

PHOTO_RESULTS=tests/pipeline/results python -m pytest tests/pipeline/test_photo_films.py   # records
"""

import itertools
import json
import os
from pathlib import Path

import numpy as np
import pytest
from cigpose_client import PoseClient
from cigpose_client.outputs import write_file
from cigpose_client.streams.association import assign, overlaps

from export.repository import build_repository
from synthetic.film_measures import quality
from tests import photos

pytestmark = [pytest.mark.server, pytest.mark.slow]

RESULTS = Path(__file__).with_name("results") / "photo_films.json"
NETWORKS = {
    "movenet-thunder, nanodet": ("movenet-thunder", "nanodet"),
    "pp-tinypose, yolox_nano": ("pp-tinypose_coco_256x192", "yolox_nano"),
}
WAYS = {"every": {}, "tenth": {"detect_every": 10}, "smooth": {"smooth": True}}


@pytest.fixture(scope="module", params=NETWORKS)
def networks(request):
    return request.param


@pytest.fixture(scope="module")
def client(networks, photo_network, serve, tmp_path_factory):
    pose, detector = map(photo_network, NETWORKS[networks])
    output = tmp_path_factory.mktemp("photo_films")
    build_repository([pose], detector, output)
    with serve(output, profile="cpu") as server, PoseClient(server.grpc_url, timeout_s=60) as client:
        yield client


@pytest.fixture(scope="module")
def films(shared):
    return photos.films(shared)


def switches(frames, answers):
    """Return how often the id of a person changes, over all people of a film."""
    last, count = {}, 0
    for frame, poses in zip(frames, answers, strict=True):
        truth = np.array([each.person.bbox_xyxy for each in frame.people]).reshape(-1, 4)
        for row, column in zip(*assign(overlaps(truth, poses.bboxes.astype(float)), 0.5), strict=True):
            person, track = frame.people[row].track_id, int(poses.track_ids[column])
            count += last.get(person, track) != track
            last[person] = track
    return count


@pytest.fixture(scope="module")
def measured(client, films):
    """The measures by way of streaming: means over the people found in all films, and sums of people and switches."""
    rows = {}
    for way, settings in WAYS.items():
        found, changes = [], 0
        for frames in films:
            stream = client.stream(**{"smooth": False} | settings)
            answers = [stream.update(frame.jpeg, frame.time_s) for frame in frames]
            found.append(quality(frames, answers, photos.RATE))
            changes += switches(frames, answers)
        weights = [each.found for each in found]
        mean = {
            name: round(float(np.average([getattr(each, name) for each in found], weights=weights)), 4)
            for name in ("oks", "acceleration", "lag_frames")
        }
        rows[way] = {"found": sum(weights), "people": sum(each.people for each in found), "switches": changes, **mean}
    return rows


def entrances(frames):
    """Return how often somebody appears in a film who was not in the frame before."""
    seen = [{each.track_id for each in frame.people} for frame in frames]
    return sum(len(now - before) for before, now in itertools.pairwise(seen))


def test_streams_over_photos(networks, measured, films):
    """With `detect_every=10`, who enters the picture is found up to 9 frames later."""
    if folder := os.environ.get("PHOTO_RESULTS"):
        path = Path(folder) / RESULTS.name
        record = json.loads(path.read_text()) if path.exists() else {}
        write_file(path, json.dumps(record | {networks: measured}, indent=2) + "\n")
    every, tenth, smooth = (measured[way] for way in WAYS)
    assert tenth["oks"] >= every["oks"] - 0.01
    assert tenth["found"] >= every["found"] - 9 * sum(map(entrances, films))
    assert smooth["oks"] >= every["oks"]
    assert smooth["lag_frames"] - every["lag_frames"] < 1.0
    assert smooth["acceleration"] < every["acceleration"]
    recorded = json.loads(RESULTS.read_text()).get(networks, {})
    for way, row in measured.items() if recorded else ():
        assert row["switches"] <= recorded[way]["switches"] + 2
        assert row["oks"] == pytest.approx(recorded[way]["oks"], abs=0.01)
