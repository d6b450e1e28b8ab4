"""Drawn videos of films and cameras whose times jump."""

import json

import cv2
import numpy as np
import pytest
from cigpose_client.__main__ import main
from cigpose_client._cli.frames import Frame
from cigpose_client._cli.progress import Progress
from cigpose_client._cli.run import Run
from cigpose_client._cli.video import open_output

from client.tests.test_video import ffmpeg

RATE = 12.0


@pytest.fixture(autouse=True)
def no_ffmpeg(monkeypatch):
    monkeypatch.setattr("cigpose_client._cli.video_writer.shutil.which", lambda name: None)


def written(path, times, rate, interrupted=False):
    """Return the number of frames of a drawn video whose frames have these times."""
    run = Run(None, Progress("frames"), 1, False)
    run.interrupted = interrupted
    with open_output(str(path), rate, None, run) as write:
        for index, time_s in enumerate(times):
            write(Frame(index, time_s, np.zeros((48, 64, 3), np.uint8)))
    return int(cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FRAME_COUNT))


@pytest.mark.parametrize(
    ("times", "rate", "count", "gap"),
    [
        ([0, 1 / RATE, 600, 600 + 2 / RATE], RATE, 5, "gap of 600 s before frame 2 is not filled"),
        ([0, 9.5], RATE, 9.5 * RATE + 1, ""),
        ([30, 30 + 1 / RATE], RATE, 2, "gap of 30 s before frame 0 is not filled"),
        ([0, 20, 40], 0.05, 3, ""),
    ],
    ids=["long", "short", "before the first frame", "slow film"],
)
def test_only_short_gaps_are_filled(tmp_path, capsys, times, rate, count, gap):
    assert written(tmp_path / "drawn.avi", times, rate) == count
    err = capsys.readouterr().err
    assert gap in err and err.count("\n") == bool(gap)


def test_after_ctrl_c_no_gap_is_filled(tmp_path):
    assert written(tmp_path / "drawn.avi", [0, 9.5], RATE, interrupted=True) == 2


def test_a_film_whose_times_jump(server, tmp_path, capsys):
    flat, film, drawn, out = (tmp_path / name for name in ("flat.avi", "film.mkv", "drawn.mp4", "out.jsonl"))
    writer = cv2.VideoWriter(str(flat), cv2.VideoWriter_fourcc(*"MJPG"), RATE, (64, 48))
    for _ in range(20):
        writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.release()
    ffmpeg("-i", flat, "-vf", f"setpts='(N/{RATE}+if(lt(N,10),0,600))/TB'", "-fps_mode", "passthrough", film)
    assert main(["video", str(film), "--url", server.url, "--output", str(drawn), "--json", str(out)]) == 0
    assert cv2.VideoCapture(str(drawn)).get(cv2.CAP_PROP_FRAME_COUNT) == 20
    assert f"{drawn}: the gap of 600 s before frame 10 is not filled" in capsys.readouterr().err
    times = [json.loads(line)["time_s"] for line in out.read_text().splitlines()]
    np.testing.assert_allclose(times, np.arange(20) / RATE + np.repeat([0, 600], 10), atol=2e-3)
