import io

import pytest
from cigpose_client._cli.progress import Progress, bar, clock, line


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (7.4, "0:07"), (75, "1:15"), (3600, "1:00:00"), (3725, "1:02:05"), (-1, "0:00")]
)
def test_durations(seconds, text):
    assert clock(seconds) == text


def test_a_line_tells_rate_and_time_left():
    assert line("frames", 120, 300, 24.0) == "120/300 frames, 24.0/s, 0:08 left"
    assert line("frames", 120, None, 24.0) == "120 frames, 24.0/s"


def test_a_bar_fills_and_is_left_out_where_nobody_knows_the_end():
    assert [bar(count, 300).count("#") for count in (0, 14, 15, 299, 300, 301)] == [0, 0, 1, 19, 20, 20]
    assert bar(7, None) == ""


def test_a_terminal_sees_one_line_renewed(monkeypatch):
    stream = io.StringIO()
    stream.isatty = lambda: True
    monkeypatch.setattr("cigpose_client._cli.progress._ON_TERMINAL_S", 0.0)
    progress = Progress("pictures", 2, stream)
    progress.step([1, 2], "a.jpg")
    progress.step(ValueError("broken"), "b.jpg")
    progress.summary(3)
    lines = stream.getvalue().split("\r\x1b[K")
    assert lines[1].startswith("[##########----------] 1/2 pictures")
    assert "\n" not in lines[1]
    assert lines[2] == "b.jpg: broken\n"
    assert lines[-1].startswith("2 pictures, 2 people, ")
    assert lines[-1].endswith("3 requests sent again, 1 failed\n")


def test_a_log_is_not_flooded():
    stream = io.StringIO()
    progress = Progress("pictures", 1000, stream)
    for _ in range(1000):
        progress.step([], "a.jpg")
    assert stream.getvalue() == ""
