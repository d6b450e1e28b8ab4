"""Writing video: by ffmpeg where it is installed (every format, with the sound of the source), else by OpenCV."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from cigpose_client._draw import Pixels
from cigpose_client._extras import opencv

_OPENCV_CODECS = {".mp4": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".avi": "MJPG"}


class VideoWriter(Protocol):
    """Takes the frames of one video in order."""

    def write(self, image_bgr: Pixels) -> None:
        """Append a frame."""

    def close(self) -> None:
        """Complete the file."""


@contextmanager
def open_writer(path: str, size: tuple[int, int], rate: float, sound_of: str | None) -> Iterator[VideoWriter]:
    """Yield a writer to `path`; whatever happens inside, the file is completed and plays.

    Args:
        path: its ending says the format.
        size: width and height in pixels.
        rate: frames per second.
        sound_of: a video whose sound is taken over, where ffmpeg is there to do it.

    Raises:
        OSError: ffmpeg failed.
        ValueError: OpenCV cannot write that format.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    ffmpeg = shutil.which("ffmpeg")
    writer: VideoWriter = (
        _FfmpegWriter(ffmpeg_command(ffmpeg, path, size, rate, sound_of)) if ffmpeg else _OpencvWriter(path, size, rate)
    )
    try:
        yield writer
    finally:
        writer.close()


def ffmpeg_command(ffmpeg: str, path: str, size: tuple[int, int], rate: float, sound_of: str | None) -> list[str]:
    """Return the command that reads raw BGR frames from stdin and writes `path`; arguments as for `open_writer`."""
    frames = ["-f", "rawvideo", "-pix_fmt", "bgr24", "-s", f"{size[0]}x{size[1]}", "-r", f"{rate:.6f}", "-i", "pipe:0"]
    sound = ["-i", sound_of, "-map", "0:v:0", "-map", "1:a:0?", "-shortest"] if sound_of else []
    # players want 4:2:0, which wants even sizes
    picture = ["-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2", "-pix_fmt", "yuv420p"]
    return [ffmpeg, "-nostdin", "-loglevel", "error", "-y", *frames, *sound, *picture, path]


class _FfmpegWriter:
    def __init__(self, command: list[str]):
        self._errors = tempfile.TemporaryFile()
        # a session of its own: Ctrl-C is for us, ffmpeg ends when its input does
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=self._errors, start_new_session=True
        )

    def write(self, image_bgr: Pixels) -> None:
        stdin = self._process.stdin
        assert stdin is not None  # for the type checker: it was asked for above
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

    def _reason(self) -> str:
        self._process.wait()
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace").strip()
        return f"ffmpeg could not write the video: {said or f'status {self._process.returncode}'}"


class _OpencvWriter:
    def __init__(self, path: str, size: tuple[int, int], rate: float):
        codec = _OPENCV_CODECS.get(Path(path).suffix.lower())
        if codec is None:
            raise ValueError(f"{path}: without ffmpeg only {', '.join(_OPENCV_CODECS)} can be written")
        cv2: Any = opencv("writing video")
        self._writer = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*codec), rate, size)
        if not self._writer.isOpened():
            raise ValueError(f"{path} cannot be written as a video")

    def write(self, image_bgr: Pixels) -> None:
        self._writer.write(image_bgr)

    def close(self) -> None:
        self._writer.release()
