"""`cigpose-client video` on a film, against a load."""

import itertools
import json

import numpy as np
import pytest

from synthetic.accuracy import default_weights
from tests.client import video_rate


def test_people_move_and_the_film_repeats():
    frames = list(video_rate.film(3))
    moved = [np.abs(a.astype(int) - b).mean() for a, b in itertools.pairwise(frames)]
    assert min(moved) > 0.05
    np.testing.assert_array_equal(frames, list(video_rate.film(3)))


@pytest.mark.server
def test_the_command_answers_the_frames_of_the_load_in_order(tritonserver, tmp_path):
    """`main` fails when a frame or the order is lost, or when the ways found different people."""
    tiny = ["--pose", str(default_weights()[0])]
    arguments = [*tiny, "--rounds", "1", "--frames", "40", "--share", "0.1", "--output", str(tmp_path / "rate.json")]
    assert video_rate.main(arguments) == 0
    ways = json.loads((tmp_path / "rate.json").read_text())["ways"]
    assert set(ways) == {"load", "command, JSON", "command, drawn"}
    assert video_rate.main([*arguments, "--share", "99"]) == 1
