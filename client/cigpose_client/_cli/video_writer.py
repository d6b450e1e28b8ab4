"""Writing of videos: by ffmpeg if it is installed (every format, with the sound of the source), else by OpenCV."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from cigpose_client._cli.files import PIPE, UsageError
from cigpose_client._cli.sources import masked
from cigpose_client._draw import Pixels
from cigpose_client._extras import opencv
from cigpose_client.outputs import Part

_OPENCV_CODECS = {".mp4": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".avi": "MJPG"}


VideoWriter: TypeAlias = "_FfmpegWriter | _OpencvWriter"
"""Has `write(image_bgr)`, which appends a frame, `close()`, which completes the file, and `abort()`."""


def check_writable(path: str) -> None:
    """Refuse a video that cannot be written.

    Raises:
        UsageError: `path` is stdout, or has a format that needs ffmpeg, and ffmpeg is not installed.
    """
    if path == PIPE:
        raise UsageError("a video cannot go to stdout; give a file name")
    suffix = Path(os.path.realpath(path)).suffix  # of the file that a link names
    if shutil.which("ffmpeg") is None and suffix.lower() not in _OPENCV_CODECS:
        raise UsageError(f"{path}: without ffmpeg only {', '.join(_OPENCV_CODECS)} can be written")


@contextmanager
def open_writer(path: str, size: tuple[int, int], rate: float, sound_of: str | None) -> Iterator[VideoWriter]:
    """Yield the writer of a video that replaces `path` when it is complete; a block that raises completes it, too.

    After KeyboardInterrupt, and when the video cannot be completed, an old file at `path` is unchanged.

    Args:
        path: its suffix selects the format.
        size: width and height in pixels.
        rate: frames per second.
        sound_of: video whose sound is copied, if ffmpeg is installed; None for no sound.

    Raises:
        OSError: the video could not be written.
    """
    part, ffmpeg = Part(path), shutil.which("ffmpeg")
    frames = str(part.path), size, rate
    try:
        writer = _FfmpegWriter(ffmpeg_command(ffmpeg, *frames, sound_of)) if ffmpeg else _OpencvWriter(*frames)
        try:
            yield writer
        finally:
            if isinstance(sys.exc_info()[1], KeyboardInterrupt):
                writer.abort()
            else:
                writer.close()
                part.place()
    finally:
        part.discard()


def ffmpeg_command(ffmpeg: str, path: str, size: tuple[int, int], rate: float, sound_of: str | None) -> list[str]:
    """Return the command that reads raw BGR frames from stdin and writes `path`; arguments: see `open_writer`."""
    frames = ["-f", "rawvideo", "-pix_fmt", "bgr24", "-s", f"{size[0]}x{size[1]}", "-r", f"{rate:.6f}", "-i", "pipe:0"]
    sound = ["-i", sound_of, "-map", "0:v:0", "-map", "1:a:0?", "-af", "apad", "-shortest"] if sound_of else []
    # sound that ends first is continued by silence, or `-shortest` would cut the picture
    # players need 4:2:0, which needs even sizes
    picture = ["-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2", "-pix_fmt", "yuv420p"]
    return [ffmpeg, "-nostdin", "-loglevel", "error", "-y", *frames, *sound, *picture, path]


class _FfmpegWriter:
    def __init__(self, command: list[str]):
        self._errors = tempfile.TemporaryFile()
        # in a session of its own: Ctrl-C does not reach ffmpeg, which ends with its input
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=self._errors, start_new_session=True
        )

    def write(self, image_bgr: Pixels) -> None:
        stdin = self._process.stdin
        assert stdin is not None  # for the type checker: `__init__` requests it
        try:
            stdin.write(image_bgr.data)
        except BrokenPipeError:
            raise OSError(self._reason()) from None

    def close(self) -> None:
        try:
            self._process.communicate()
            if self._process.returncode:
                raise OSError(self._reason())
        finally:
            self._errors.close()

    def abort(self) -> None:
        self._process.kill()
        self._process.wait()
        self._errors.close()

    def _reason(self) -> str:
        self._process.wait()
        self._errors.seek(0)
        text = masked(self._errors.read().decode(errors="replace").strip())
        return f"ffmpeg could not write the video: {text or f'status {self._process.returncode}'}"


class _OpencvWriter:
    def __init__(self, path: str, size: tuple[int, int], rate: float):
        self._cv2: Any = opencv("writing video")
        self._path = path
        self._written = 0
        codec = self._cv2.VideoWriter_fourcc(*_OPENCV_CODECS[Path(path).suffix.lower()])
        self._writer = self._cv2.VideoWriter(path, codec, round(rate, 2), size)  # MPEG-4 counts to 65535 in a second
        if not self._writer.isOpened():
            raise OSError(f"OpenCV cannot write {Path(path).suffix} of {size[0]}x{size[1]} at {rate:g} frames/s")

    def write(self, image_bgr: Pixels) -> None:
        self._writer.write(image_bgr)
        self._written += 1

    def close(self) -> None:
        """Complete the file and count its frames, because OpenCV does not report a full disk."""
        self._writer.release()
        capture = self._cv2.VideoCapture(self._path)
        count = capture.get(self._cv2.CAP_PROP_FRAME_COUNT)
        capture.release()
        if count < self._written - 1:
            raise OSError(f"only {max(int(count), 0)} of {self._written} frames of the video fit; is the disk full?")

    def abort(self) -> None:
        self._writer.release()
