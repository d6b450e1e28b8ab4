"""The subcommands `video` and `camera`: frames in, people as JSON Lines and a video with skeletons out."""

import argparse
import functools
import itertools
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from cigpose_client._cli import arguments, files
from cigpose_client._cli.boxes import Boxes, estimate_given, load_boxes, of_picture
from cigpose_client._cli.files import PIPE, UsageError
from cigpose_client._cli.frames import Frame, Video, open_video
from cigpose_client._cli.progress import Progress
from cigpose_client._cli.records import FORMATS, open_records
from cigpose_client._cli.resume import Earlier, add_resume, earlier_records, remove_leftovers
from cigpose_client._cli.run import INTERRUPTED, running
from cigpose_client._cli.video_writer import VideoWriter, check_writable, open_writer
from cigpose_client._client import PoseClient
from cigpose_client._draw import Pixels, draw_onto
from cigpose_client._poses import Poses


def add_video(subcommands: Any) -> None:
    """Add `video`."""
    parser = subcommands.add_parser("video", help="people in every frame of a video")
    parser.add_argument("source", metavar="VIDEO")
    _add_common(parser, concurrency=8)
    add_resume(parser)
    arguments.add_boxes(parser)
    parser.set_defaults(run=run_video, seconds=None)


def add_camera(subcommands: Any) -> None:
    """Add `camera`."""
    parser = subcommands.add_parser(
        "camera",
        help="people in front of a camera, until Ctrl-C",
        description="Find people in a live source. Frames that come faster than answers are left out.",
    )
    parser.add_argument("source", nargs="?", default="0", metavar="CAMERA", help="number or address (default: 0)")
    parser.add_argument("--seconds", type=arguments.above_zero(float), metavar="S", help="end after so long")
    _add_common(parser, concurrency=2)
    parser.set_defaults(run=run_camera, boxes=None, resume=False)


def _add_common(parser: argparse.ArgumentParser, concurrency: int) -> None:
    parser.add_argument("--output", metavar="VIDEO", help="write the frames with skeletons there")
    parser.add_argument(
        "--json", metavar="FILE", help="write the people there; - for stdout, the default without --output"
    )
    parser.add_argument("--continue-on-error", action="store_true", help="go on after a frame that fails")
    parser.add_argument("--format", choices=FORMATS, default="jsonl", help="of the people (default: %(default)s)")
    arguments.add_drawing(parser)
    arguments.add_concurrency(parser, concurrency)
    arguments.add_lossless(parser)
    arguments.add_options(parser)
    arguments.add_connection(parser)


def run_video(args: argparse.Namespace) -> int:
    """Run `video` and return the exit status."""
    if args.resume and args.output:
        raise UsageError("a video cannot be continued: give --resume without --output")
    return _run(args, live=False)


def run_camera(args: argparse.Namespace) -> int:
    """Run `camera` and return the exit status."""
    return _run(args, live=True)


def _run(args: argparse.Namespace, live: bool) -> int:
    to_json = args.json or (None if args.output else PIPE)
    files.check(args, [args.output, to_json], [] if args.source.isdecimal() or "://" in args.source else [args.source])
    if args.output:
        check_writable(args.output)
    given = None if args.boxes is None else load_boxes(args.boxes)
    with earlier_records(args, "frame", _place) as earlier, open_video(args.source, live) as video:
        status = _ask(args, given, video, earlier, to_json)
        fault = None if status == INTERRUPTED else video.fault()
    if fault:
        raise ValueError(fault)
    if status == 0:
        remove_leftovers([args.output, args.json])
    return status


def _ask(args: argparse.Namespace, given: Boxes | None, video: Video, earlier: Earlier, to_json: str | None) -> int:
    """Ask for the frames that have no answer yet, write what comes, and return the exit status."""
    progress = Progress("frames", None if video.count is None else max(video.count - len(earlier.answered), 0))
    if args.resume:
        progress.note(f"{len(earlier.answered)} frames are answered already")
    sound_of = None if video.live else args.source
    with ExitStack() as stack:
        run = stack.enter_context(running(args, progress))
        records = stack.enter_context(open_records(to_json, args.format, earlier)) if to_json else None
        canvas = stack.enter_context(_Canvas(args.output, video.rate, sound_of)) if args.output else None
        frames = _within(video.frames(), args.seconds)
        todo = (frame for frame in frames if frame is None or frame.index not in earlier.answered)
        work = functools.partial(_answer, run.client, given, args)
        for frame, outcome in run.answers(work, todo, lambda frame: f"frame {frame.index}"):
            if records is not None:
                key = {"frame": frame.index, "time_s": round(frame.time_s, 3)}
                records.add(frame.index, key, frame.index, outcome)
            if canvas is not None:
                canvas.write(frame.image_bgr, frame.time_s)
            if isinstance(outcome, Poses):
                progress.answer(len(outcome))
        if not run.interrupted and video.fault() is None:
            progress.total = None  # the container's number may be an estimate
    return int(progress.failed > 0) if video.live else run.status  # Ctrl-C is how a camera ends


def _place(index: Any, before: int) -> int | None:
    """Return the place of a frame's record: its number."""
    return index if isinstance(index, int) and before == 0 else None


def _within(frames: Iterator[Frame | None], seconds: float | None) -> Iterator[Frame | None]:
    """Yield the frames of the first `seconds`."""
    start_s = time.monotonic()
    return itertools.takewhile(lambda _: seconds is None or time.monotonic() - start_s <= seconds, frames)


def _answer(client: PoseClient, given: Boxes | None, args: argparse.Namespace, frame: Frame) -> Poses:
    """Return one frame's people, and draw them upon it if asked; here, so that the workers share that load."""
    if given is None:
        poses = client.estimate(frame.image_bgr)
    else:
        poses = estimate_given(client, frame.image_bgr, of_picture(given, frame.index))
    if args.output:
        draw_onto(frame.image_bgr, poses, arguments.drawing(args))
    return poses


class _Canvas:
    """The video being written; it starts with the first frame, which tells the size, and keeps the time of each."""

    def __init__(self, path: str, rate: float, sound_of: str | None):
        self._path, self._rate, self._sound_of = path, rate, sound_of
        self._stack = ExitStack()
        self._writer: VideoWriter | None = None
        self._written = 0

    def __enter__(self) -> "_Canvas":
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def write(self, image_bgr: Pixels, time_s: float) -> None:
        """Write the frame as often as its time asks for: once in a video, now and then twice from a slow camera."""
        if self._writer is None:
            size = (image_bgr.shape[1], image_bgr.shape[0])
            writer = open_writer(self._path, size, self._rate, self._sound_of)
            self._writer = self._stack.enter_context(writer)
        while self._written <= round(time_s * self._rate):
            self._writer.write(image_bgr)
            self._written += 1
