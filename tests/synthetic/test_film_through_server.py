"""Films through a real server: the goals for smoothing and for frames without the detector."""

import pytest

from synthetic.accuracy import WAYS, default_weights, served
from synthetic.film_measures import quality
from synthetic.films import sample_film
from synthetic.seeds import FILMS

RATE = 25.0


@pytest.mark.server
def test_streams_are_as_accurate_as_single_frames_and_shake_less(tritonserver, tmp_path):
    pose, detector = default_weights()
    with served([pose], detector, WAYS["cpu"], tmp_path) as client:
        for kind in ("still", "camera"):
            frames = list(sample_film(FILMS[20], kind, RATE, seconds=2.0).frames())
            ways = {"every": {}, "tenth": {"detect_every": 10}, "smooth": {"smooth": True}}
            found = {}
            for way, settings in ways.items():
                stream = client.stream(**{"smooth": False} | settings)
                answers = [stream.update(frame.jpeg, frame.time_s) for frame in frames]
                ids = {track for poses in answers for track in poses.track_ids}
                assert kind == "camera" or ids == set(answers[0].track_ids)
                found[way] = quality(frames, answers, RATE)
            assert found["tenth"].oks >= found["every"].oks - 0.01
            missed = 0.02 if kind == "still" else 9 / len(frames)  # who enters is found at the next detection
            assert found["tenth"].found >= (1 - missed) * found["every"].found
            assert found["smooth"].oks >= found["every"].oks - 0.001
            if kind == "still":
                assert found["smooth"].acceleration < 0.5 * found["every"].acceleration
            else:
                assert found["smooth"].lag_frames - found["every"].lag_frames < 1.0
