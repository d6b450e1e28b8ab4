"""Frames of videos and cameras."""

import queue
import threading
import time
from collections.abc import Iterator
from concurrent.futures import wait
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from cigpose_client._cli.cut import is_cut
from cigpose_client._cli.run import in_thread
from cigpose_client._draw import Pixels
from cigpose_client._extras import opencv

_USUAL_RATE = 25.0  # frames per second, for sources that do not report a rate
_AHEAD = 2  # frames that are read in advance
_POLL_S = 0.1
_END_S = 1.0  # for the reader to end
_TOLERANCE = 0.01  # share of the announced frames that may be missing


@dataclass(frozen=True)
class Frame:
    """One picture of a video.

    Attributes:
        index: number of the frame, from 0.
        time_s: seconds since the first frame; in a live source, since it was opened.
        image_bgr: (H, W, 3) uint8.
    """

    index: int
    time_s: float
    image_bgr: Pixels


class Video:
    """A video file or a live source. A thread reads it, so that Ctrl-C works while a read hangs.

    Attributes:
        live: whether a new frame replaces one that is not yet taken.
        rate: frames per second.
        count: number of frames that the container announces; None if it announces none.
        read: number of frames that were yielded.
    """

    def __init__(self, capture: Any, source: str, live: bool):
        cv2 = opencv("reading video")
        self._capture = capture
        self._source = source
        self.live = live
        self.rate: float = capture.get(cv2.CAP_PROP_FPS) or _USUAL_RATE
        count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.count: int | None = count if count > 0 and not live else None
        self.read = 0
        self._frames: queue.Queue[tuple[float, Pixels] | None] = queue.Queue(1 if live else _AHEAD)
        self._over = threading.Event()
        self._reader = in_thread(self._fill)

    def frames(self) -> Iterator[Frame | None]:
        """Yield every frame, or the newest of a live source; None after each tenth of a second without a frame."""
        while True:
            try:
                item = self._frames.get(timeout=_POLL_S)
            except queue.Empty:
                yield None
                continue
            if item is None:
                return self._reader.result()  # raises the reader's error, if there is one
            index, self.read = self.read, self.read + 1
            yield Frame(index, item[0] if self.live else index / self.rate, item[1])

    def fault(self) -> str | None:
        """Return a sentence about missing frames of a source that has ended, or None.

        A container's number of frames may be an estimate, or include frames that are not shown. Fewer frames are a
        fault of a file only if the file is shorter than its container states.
        """
        if self.read == 0:
            return f"{self._source} gives no frame"
        if self.count is None or self.read >= self.count - max(1.0, _TOLERANCE * self.count):
            return None
        if "://" in self._source or is_cut(self._source):
            return f"{self._source} ends after {self.read} of {self.count} frames: it is cut or damaged"
        return None

    def close(self) -> None:
        """Stop reading."""
        self._over.set()
        wait([self._reader], _END_S)  # a reader that hangs ends with the process

    def _fill(self) -> None:
        start_s = time.monotonic()
        try:
            while not self._over.is_set():
                done, image_bgr = self._capture.read()
                if not done:
                    break
                self._offer((time.monotonic() - start_s, image_bgr))
        finally:
            self._capture.release()
            self._offer(None)

    def _offer(self, item: tuple[float, Pixels] | None) -> None:
        """Queue a frame, or None for the end; a frame of a live source replaces one that is not yet taken."""
        replace = self.live and item is not None
        while not self._over.is_set():
            with suppress(queue.Full):
                return self._frames.put(item, timeout=0 if replace else _POLL_S)
            with suppress(queue.Empty):
                if replace:
                    self._frames.get_nowait()


@contextmanager
def open_video(source: str, live: bool = False) -> Iterator[Video]:
    """Yield an open video.

    Args:
        source: a path, an address, or the number of a camera.
        live: see `Video`.

    Raises:
        ValueError: the source cannot be opened.
    """
    cv2 = opencv("reading video")
    place = int(source) if source.isdecimal() else source
    # in a thread, because OpenCV ignores Ctrl-C while it connects to an address
    capture = in_thread(cv2.VideoCapture, place).result() if "://" in source else cv2.VideoCapture(place)
    if not capture.isOpened():
        raise ValueError(f"{source} cannot be opened as a video or camera")
    with closing(Video(capture, source, live)) as video:
        yield video
