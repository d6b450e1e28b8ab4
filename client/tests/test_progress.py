import io

import pytest
from cigpose_client._cli.progress import Progress, clock, line


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (7.4, "0:07"), (75, "1:15"), (3600, "1:00:00"), (3725, "1:02:05"), (-1, "0:00")]
)
def test_durations(seconds, text):
    assert clock(seconds) == text


def test_a_line_shows_rate_and_time_left():
    assert line("frames", 120, 300, 24.0) == "120/300 frames, 24.0/s, 0:08 left"
    assert line("frames", 120, None, 24.0) == "120 frames, 24.0/s"


def test_a_terminal_sees_one_line_renewed(monkeypatch):
    stream = io.StringIO()
    stream.isatty = lambda: True
    monkeypatch.setattr("cigpose_client._cli.progress._ON_TERMINAL_S", 0.0)
    progress = Progress("pictures", 4, stream)
    progress.answer(2)
    progress.failure("b.jpg: broken")
    progress.summary(3)
    lines = stream.getvalue().split("\r\x1b[K")
    assert lines[1].startswith("1/4 pictures, ")
    assert "\n" not in lines[1]
    assert lines[2] == "b.jpg: broken\n"
    assert lines[-1].startswith("1 pictures answered, 1 failed, 2 left out, 2 people, ")
    assert lines[-1].endswith("/s, 3 requests sent again\n")


def test_sent_items_replace_an_unknown_total():
    stream = io.StringIO()
    progress = Progress("frames", None, stream)
    progress.asked = 3
    progress.answer(1)
    progress.summary(0)
    assert "1 frames answered, 0 failed, 2 left out, 1 people" in stream.getvalue()


def test_a_log_is_not_flooded(monkeypatch):
    stream = io.StringIO()
    progress = Progress("pictures", 1000, stream)
    for _ in range(1000):
        progress.answer(0)
    assert stream.getvalue() == ""
    monkeypatch.setattr("cigpose_client._cli.progress._IN_LOG_S", 0.0)
    progress.answer(0)
    assert stream.getvalue().endswith("left\n")
