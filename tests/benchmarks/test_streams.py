"""What the benchmark of streams is made of: a network with one answer at another one's cost, films, and rtmlib."""

import itertools

import numpy as np
import onnxruntime
import pytest

from benchmarks import constructed, pose_tracker, stream_speed
from synthetic.accuracy import default_weights
from synthetic.film_measures import quality
from synthetic.films import SIZE, sample_film
from synthetic.seeds import FILMS
from tests.networks import save_pose_network

SIMCC_BINS = {"simcc_x": 384, "simcc_y": 512}


def answers(path, inputs):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: inputs})


def test_a_network_gives_one_answer_at_the_cost_of_another(tmp_path, monkeypatch):
    costly = save_pose_network(tmp_path / "costly.onnx")
    inputs = np.random.default_rng(0).random((2, 3, 256, 192), np.float32)
    one = {name: np.random.default_rng(1).random((1, 17, bins), np.float32) for name, bins in SIMCC_BINS.items()}
    for share in (constructed._SHARE, 0.5):  # with a larger share, the other network shows
        monkeypatch.setattr(constructed, "_SHARE", share)
        found = answers(constructed.answering(one, costly, tmp_path / "one.onnx"), inputs)
        for each, answer, other in zip(found, one.values(), answers(costly, inputs), strict=True):
            np.testing.assert_allclose(each, answer + share * other, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match=r"costly.onnx answers other arrays"):
        constructed.answering({"simcc_x": one["simcc_x"]}, costly, tmp_path / "no.onnx")


def test_films_show_the_same_three_people_throughout():
    for film in itertools.islice(stream_speed.films_of_three(seconds=2.0), 2):
        for time_s in film.times[::10]:
            points = np.array([points[:17] for _, points in film.outlines(time_s)])
            assert len(points) == 3
            assert ((points > 0) & (points < SIZE)).all()


@pytest.mark.parametrize("backend", pose_tracker.BACKENDS)
def test_rtmlib_runs_on_the_same_files(backend):
    if not pose_tracker.PYTHON.exists():
        pytest.skip("rtmlib is not installed: run `make rtmlib`")
    frames = list(sample_film(FILMS[20], "still", 10.0, seconds=0.6).frames())
    pictures = [frame.jpeg for frame in frames]
    version, (first, again) = pose_tracker.track(*default_weights(), [pictures, pictures], backend, every=3)
    assert version == "0.0.16"
    assert [len(poses) for poses in first.poses] == [len(frame.people) for frame in frames]
    assert quality(frames, first.poses, 10.0).oks > 0.5
    for poses, others in zip(first.poses, again.poses, strict=True):  # one film leaves nothing to the next
        np.testing.assert_array_equal(poses.keypoints, others.keypoints)
