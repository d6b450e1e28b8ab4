"""Films through real servers: the goals for smoothing and for frames without the detector, 3-D, and bottom-up."""

from dataclasses import dataclass

import numpy as np
import pytest
from cigpose_client import PoseClient
from cigpose_client.streams.association import assign, overlaps

from export.repository import build_repository
from synthetic.accuracy import CHECKOUT, WAYS, default_weights, served
from synthetic.film_measures import quality
from synthetic.films import sample_film
from synthetic.seeds import FILMS

pytestmark = pytest.mark.server

RATE = 25.0
WAYS_OF_STREAMING = {"every": {}, "tenth": {"detect_every": 10}, "smooth": {"smooth": True}}
LIFTER = CHECKOUT / "weights" / "capf-t_rendered_256x192.onnx"
LOGOCAP = CHECKOUT / "weights" / "logocap-t_rendered_256.onnx"


@dataclass
class Streamed:
    """A film by one way of streaming: the answers, and whether the detector ran, by frame."""

    answers: list
    detected: list

    @property
    def ids(self):
        return {track for poses in self.answers for track in poses.track_ids.tolist()}


def stream_film(client, frames, **settings):
    stream = client.stream(**{"smooth": False} | settings)
    pairs = [(stream.update(frame.jpeg, frame.time_s), stream.detected) for frame in frames]
    return Streamed(*map(list, zip(*pairs, strict=True)))


def by_way(client, frames):
    return {way: stream_film(client, frames, **settings) for way, settings in WAYS_OF_STREAMING.items()}


def still_film(seconds):
    return list(sample_film(FILMS[20], "still", RATE, seconds).frames())


def test_streams_are_as_accurate_as_single_frames_and_shake_less(tritonserver, tmp_path):
    pose, detector = default_weights()
    with served([pose], detector, WAYS["cpu"], tmp_path) as client:
        frames = still_film(seconds=2.0)
        ways = by_way(client, frames)
        still = {name: quality(frames, way.answers, RATE) for name, way in ways.items()}
        moving = []
        for seed in FILMS[20:23]:
            film = list(sample_film(seed, "camera", RATE, seconds=2.0).frames())
            moving.append({name: quality(film, way.answers, RATE) for name, way in by_way(client, film).items()})
    assert all(way.ids == set(way.answers[0].track_ids) for way in ways.values())
    assert still["smooth"].acceleration < 0.5 * still["every"].acceleration
    assert still["tenth"].found >= 0.98 * still["every"].found
    for found in moving:
        assert found["tenth"].found >= (1 - 9 / 50) * found["every"].found, "who enters is found at the next detection"
        assert found["smooth"].lag_frames - found["every"].lag_frames < 1.0
    oks = {name: np.mean([found[name].oks for found in (still, *moving)]) for name in ways}
    assert oks["tenth"] >= oks["every"] - 0.01
    assert oks["smooth"] >= oks["every"]


def joints_of(frames, streamed):
    """Return the true and the answered points in space of each person of a film, (T, 17, 3) each, by true id."""
    people = {}
    for frame, poses in zip(frames, streamed.answers, strict=True):
        truth = np.array([each.person.bbox_xyxy for each in frame.people]).reshape(-1, 4)
        for row, column in zip(*assign(overlaps(truth, poses.bboxes.astype(float)), 0.5), strict=True):
            each = frame.people[row]
            people.setdefault(each.track_id, []).append((each.person.joints_3d, poses.keypoints_3d[column]))
    return {track: tuple(map(np.array, zip(*rows, strict=True))) for track, rows in people.items()}


def test_points_in_space_are_smoothed_in_metres(serve, tmp_path):
    """People at rest: the lifter's points shake at most half as much, and are no farther from the truth."""
    pose, detector = default_weights()
    build_repository([pose], detector, tmp_path, lifter_files=[LIFTER])
    frames = still_film(seconds=2.0)
    with serve(tmp_path, profile="cpu") as server, PoseClient(server.grpc_url, model="pose_3d", timeout_s=60) as client:
        ways = by_way(client, frames)
    for way in ways.values():
        assert way.ids == set(way.answers[0].track_ids)
        assert all(poses.keypoints_3d.shape == (len(poses), 17, 3) for poses in way.answers)
    assert sum(ways["tenth"].detected) <= 2 * len(frames) / 10
    shakes, errors = {}, {}
    for name, way in ways.items():
        rows = joints_of(frames, way).values()
        shakes[name] = np.mean([np.linalg.norm(np.diff(found, 2, axis=0), axis=2).mean() for _, found in rows])
        errors[name] = np.mean([np.linalg.norm(found - truth, axis=2).mean() for truth, found in rows])
    assert 0 < shakes["smooth"] < 0.5 * shakes["every"]
    assert errors["smooth"] <= errors["every"] + 0.001  # metres
    assert errors["tenth"] <= errors["every"] + 0.01


def test_a_bottom_up_network_streams(serve, tmp_path):
    """Every frame asks the whole network; ids last, and smoothing works as with boxes."""
    build_repository([LOGOCAP], None, tmp_path)
    frames = still_film(seconds=1.2)
    with serve(tmp_path, profile="cpu") as server, PoseClient(server.grpc_url, timeout_s=60) as client:
        assert client.estimate(frames[0].jpeg).bottom_up
        ways = by_way(client, frames)
    assert all(way.detected == [True] * len(frames) for way in ways.values())
    assert [poses.keypoints.tolist() for poses in ways["tenth"].answers] == [
        poses.keypoints.tolist() for poses in ways["every"].answers
    ]
    found = {name: quality(frames, way.answers, RATE) for name, way in ways.items()}
    people = sum(len(frame.people) for frame in frames)
    assert found["every"].found >= 0.9 * people
    assert found["smooth"].acceleration < 0.5 * found["every"].acceleration
    assert found["smooth"].oks >= found["every"].oks - 0.001
