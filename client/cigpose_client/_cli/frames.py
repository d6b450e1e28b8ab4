"""Frames of videos and cameras."""

import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from cigpose_client._draw import Pixels
from cigpose_client._extras import opencv

_USUAL_RATE = 25.0  # of sources that do not tell theirs


@dataclass(frozen=True)
class Frame:
    """One picture of a video.

    Attributes:
        index: 0 for the first.
        time_s: seconds since the first.
        image_bgr: (H, W, 3) uint8.
    """

    index: int
    time_s: float
    image_bgr: Pixels


class Video:
    """A video file, or a camera, being read."""

    def __init__(self, capture: Any):
        cv2 = opencv("reading video")
        self._capture = capture
        self.rate: float = capture.get(cv2.CAP_PROP_FPS) or _USUAL_RATE
        count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.count: int | None = count if count > 0 else None

    def frames(self) -> Iterator[Frame]:
        """Yield every frame."""
        index = 0
        while (image_bgr := self._read()) is not None:
            yield Frame(index, index / self.rate, image_bgr)
            index += 1

    def latest_frames(self) -> Generator[Frame, None, None]:
        """Yield the newest frame each time one is asked for, and drop those in between: what a live source needs."""
        latest = _Latest()
        reader = threading.Thread(target=latest.fill, args=(self._read,), name="cigpose-camera", daemon=True)
        reader.start()
        start_s = time.monotonic()
        try:
            for index, image_bgr in enumerate(latest):
                yield Frame(index, time.monotonic() - start_s, image_bgr)
        finally:
            latest.stop()
            reader.join()

    def _read(self) -> Pixels | None:
        done, image_bgr = self._capture.read()
        return image_bgr if done else None


@contextmanager
def open_video(source: str) -> Iterator[Video]:
    """Yield the video at a path, an address, or the camera of a number.

    Raises:
        ValueError: it cannot be opened.
    """
    cv2 = opencv("reading video")
    capture = cv2.VideoCapture(int(source) if source.isdecimal() else source)
    try:
        if not capture.isOpened():
            raise ValueError(f"{source} cannot be opened as a video or camera")
        yield Video(capture)
    finally:
        capture.release()


class _Latest:
    """Hands the newest item from a thread that produces to one that consumes."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._item: Pixels | None = None
        self._over = False

    def fill(self, read: Any) -> None:
        while not self._over and (item := read()) is not None:
            with self._changed:
                self._item = item
                self._changed.notify()
        self.stop()

    def stop(self) -> None:
        with self._changed:
            self._over = True
            self._changed.notify()

    def __iter__(self) -> Iterator[Pixels]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._item is not None or self._over)
                item, self._item = self._item, None
            if item is None:
                return
            yield item
