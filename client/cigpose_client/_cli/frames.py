"""Frames of videos and cameras."""

import math
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

from cigpose_client._cli.cut import is_cut
from cigpose_client._cli.run import in_thread
from cigpose_client._cli.sources import can_be_opened, is_address, is_file, masked, open_capture
from cigpose_client._draw import Pixels
from cigpose_client._extras import opencv

_USUAL_RATE = 25.0  # frames per second, for sources that do not report a rate
_AHEAD = 2  # frames that are read in advance
_POLL_S = 0.1
_END_S = 1.0  # for the reader to end
_CLOCK_RATE = 1000.0  # from here on, a rate is the clock of a container without one, or of the transport
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 10.0  # before the next try to connect
_TOLERANCE = 0.01  # share of the announced frames that may be missing
_UNREADABLE = 10  # reads of a film in a row that fail before it counts as ended


_Item: TypeAlias = tuple[int, float, Pixels]
"""Number of frames before it that could not be read, time in seconds, picture."""


@dataclass(frozen=True)
class Frame:
    """One picture of a video.

    Attributes:
        index: number of the frame, from 0; one that cannot be read is counted.
        time_s: seconds since the first frame, as the container states them; in a live source, since it was opened.
        image_bgr: (H, W, 3) uint8.
    """

    index: int
    time_s: float
    image_bgr: Pixels


class Video:
    """A video file or a live source. A thread reads it, so that Ctrl-C works while a read hangs.

    Args:
        source: as for `open_video`.
        capture: OpenCV's open capture; None for an address that the thread opens.
        live: whether a new frame replaces one that is not yet taken.
        note: called with a line of text for each change of the connection; None for a source that ends when it breaks.

    Attributes:
        live: as given.
        rate: frames per second.
        count: number of frames that the container announces; None if it announces none.
        read: number of frames that were yielded.
        dropped: number of frames that newer ones have replaced.
        ended: whether the last frame was yielded.
    """

    def __init__(self, source: str, capture: Any, live: bool, note: Callable[[str], None] | None = None):
        self._source, self._name = source, masked(source)
        self.live = live
        self.rate = _USUAL_RATE
        self.count: int | None = None
        self.read = self.dropped = 0
        self.ended = False
        self._note = note
        self._is_film = False
        self._skipped = 0
        self._first_s, self._last_s = math.nan, -math.inf
        self._capture: Any = None
        if capture is not None:
            self._use(capture)
        self._frames: queue.Queue[_Item | None] = queue.Queue(1 if live else _AHEAD)
        self._over = threading.Event()
        self._reader = in_thread(self._fill)

    def frames(self) -> Iterator[Frame | None]:
        """Yield every frame, or the newest of a live source; None after each tenth of a second without a frame."""
        while not self.ended:
            frame = self.next(_POLL_S)
            if not self.ended:
                yield frame

    def next(self, timeout_s: float) -> Frame | None:
        """Return the next frame; None if it does not come in time, and with `ended` set after the last one."""
        try:
            item = self._frames.get(timeout=timeout_s) if timeout_s else self._frames.get_nowait()
        except queue.Empty:
            return None
        if item is None:
            self.ended = True
            return self._reader.result()  # raises the reader's error, if there is one
        skipped, time_s, image_bgr = item
        index, self.read = self.read + skipped, self.read + 1
        return Frame(index, time_s, image_bgr)

    def fault(self) -> str | None:
        """Return a sentence about missing frames of a source that has ended, or None.

        A container's number of frames may be an estimate, or include frames that are not shown. Fewer frames are a
        fault of a file only if the file is shorter than its container states.
        """
        if self.read == 0:
            return f"{self._name} gives no frame"
        missing = self.count is not None and self.read < self.count - max(1.0, _TOLERANCE * self.count)
        if missing and (not os.path.isfile(self._source) or is_cut(self._source)):
            return f"{self._name} ends after {self.read} of {self.count} frames: it is cut or damaged"
        if self._skipped:
            return f"{self._name} is damaged in the middle: {self.read} of {self.count} frames can be read"
        return None

    def close(self) -> None:
        """Stop reading."""
        self._over.set()
        wait([self._reader], _END_S)  # a reader that hangs ends with the process

    def _use(self, capture: Any) -> None:
        cv2 = opencv("reading video")
        self._capture = capture
        rate, count = capture.get(cv2.CAP_PROP_FPS), int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.rate = rate if 0 < rate < _CLOCK_RATE else _USUAL_RATE
        self._is_film = count > 0
        self.count = count if self._is_film and not self.live else None

    def _fill(self) -> None:
        start_s = time.monotonic()
        failed = 0  # reads in a row
        try:
            if self._capture is None:
                self._connect(0.0)
            while not self._over.is_set():
                done, image_bgr = self._capture.read()
                if done:
                    self._skipped, failed = self._skipped + failed, 0
                    self._offer((self._skipped, time.monotonic() - start_s if self.live else self._film_s(), image_bgr))
                elif not self.live and self._is_film and failed < _UNREADABLE:
                    failed += 1
                elif self._note is None or self._is_film:
                    break
                else:
                    self._capture.release()
                    self._note(f"{self._name}: the connection broke; connecting again")
                    self._connect(_FIRST_PAUSE_S)
        finally:
            if self._capture is not None:
                self._capture.release()
            self._offer(None)

    def _film_s(self) -> float:
        """Return the time of the frame just read; where the container states none, one frame after the last."""
        stated_s = self._capture.get(opencv("reading video").CAP_PROP_POS_MSEC) / 1000
        if self._last_s < 0:
            self._first_s, self._last_s = stated_s, 0.0
        elif self._last_s < stated_s - self._first_s < math.inf:
            self._last_s = stated_s - self._first_s
        else:
            self._last_s += 1 / self.rate
        return self._last_s

    def _connect(self, pause_s: float) -> None:
        """Open the source, with growing pauses between the tries, until it is open or reading is over."""
        start_s = time.monotonic()
        while not self._over.wait(pause_s):
            capture = open_capture(self._source) if can_be_opened(self._source, self._over) else None
            if capture is not None and capture.isOpened():
                self._use(capture)
                self._report(f"{self._name}: connected after {time.monotonic() - start_s:.1f} s")
                return
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S) or _FIRST_PAUSE_S
            self._report(f"{self._name}: cannot be opened; next try in {pause_s:g} s")

    def _report(self, text: str) -> None:
        if self._note is not None and not self._over.is_set():
            self._note(text)

    def _offer(self, item: _Item | None) -> None:
        """Queue a frame, or None for the end; a frame of a live source replaces one that is not yet taken."""
        replace = self.live and item is not None
        while not self._over.is_set():
            with suppress(queue.Full):
                return self._frames.put(item, timeout=0 if replace else _POLL_S)
            with suppress(queue.Empty):
                if replace:
                    self._frames.get_nowait()
                    self.dropped += 1


@contextmanager
def open_video(
    source: str, live: bool = False, note: Callable[[str], None] | None = None, patient: bool = False
) -> Iterator[Video]:
    """Yield an open video.

    Args:
        source: a path, an address, or the number of a camera.
        live: see `Video`. A live address is connected again when it breaks, if there is a `note`.
        note: called with a line of text for each change of the connection.
        patient: whether a live address may be unavailable at first.

    Raises:
        ValueError: the source cannot be opened.
    """
    note = note if live and is_address(source) else None
    capture = None
    if note is None or not patient:
        # in a thread, because OpenCV ignores Ctrl-C while it connects to an address
        capture = in_thread(open_capture, source).result() if is_address(source) else open_capture(source)
        if not capture.isOpened():
            problem = f"{masked(source)} cannot be opened as a video or camera"
            missing = is_file(source) and not os.path.exists(source)
            raise ValueError(f"{problem}: there is no such file" if missing else problem)
    with closing(Video(source, capture, live, note)) as video:
        yield video
