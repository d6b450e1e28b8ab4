"""Frames of videos and cameras."""

import queue
import threading
import time
from collections.abc import Iterator
from concurrent.futures import wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from cigpose_client._cli.cut import is_cut
from cigpose_client._cli.run import in_thread
from cigpose_client._draw import Pixels
from cigpose_client._extras import opencv

_USUAL_RATE = 25.0  # of sources that do not tell theirs
_AHEAD = 2  # frames read before they are asked for
_POLL_S = 0.1
_END_S = 1.0  # for the reader to notice the end
_TOLERANCE = 0.01  # of the number of frames


@dataclass(frozen=True)
class Frame:
    """One picture of a video.

    Attributes:
        index: 0 for the first.
        time_s: seconds since the first; of a live source, since it was opened.
        image_bgr: (H, W, 3) uint8.
    """

    index: int
    time_s: float
    image_bgr: Pixels


class Video:
    """A video file, or a live source, read by a thread: where it hangs, Ctrl-C works all the same.

    Attributes:
        live: whether frames that nobody waits for are left out.
        rate: frames per second.
        count: how many frames the container announces; None when it does not.
        read: how many frames were handed out.
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
        """Yield every frame, of a live source the newest; None after a tenth of a second without one."""
        while True:
            try:
                item = self._frames.get(timeout=_POLL_S)
            except queue.Empty:
                yield None
                continue
            if item is None:
                return self._reader.result()  # which raises what went wrong
            index, self.read = self.read, self.read + 1
            yield Frame(index, item[0] if self.live else index / self.rate, item[1])

    def fault(self) -> str | None:
        """Return what is wrong with a source that has ended, in a sentence, if anything is.

        The number of frames in a container may be an estimate, or count frames that are not shown. Fewer are a fault of
        a file only when the file is shorter than its container says.
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
        wait([self._reader], _END_S)  # one that hangs ends with the process

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
        """Hand over a frame, or None for the end; a frame of a live source takes the place of one not yet taken."""
        renew = self.live and item is not None
        while not self._over.is_set():
            with suppress(queue.Full):
                return self._frames.put(item, timeout=0 if renew else _POLL_S)
            with suppress(queue.Empty):
                if renew:
                    self._frames.get_nowait()


@contextmanager
def open_video(source: str, live: bool = False) -> Iterator[Video]:
    """Yield the video at a path, an address, or the camera of a number.

    Raises:
        ValueError: it cannot be opened.
    """
    cv2 = opencv("reading video")
    place = int(source) if source.isdecimal() else source
    # an address may take long, and OpenCV would not notice Ctrl-C
    capture = in_thread(cv2.VideoCapture, place).result() if "://" in source else cv2.VideoCapture(place)
    if not capture.isOpened():
        raise ValueError(f"{source} cannot be opened as a video or camera")
    video = Video(capture, source, live)
    try:
        yield video
    finally:
        video.close()
