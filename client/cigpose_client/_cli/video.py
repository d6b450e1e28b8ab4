"""The subcommands `video` and `camera`: frames in, people as JSON Lines and a video with skeletons out."""

import argparse
import functools
import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

from cigpose_client._cli import arguments
from cigpose_client._cli.boxes import Boxes, estimate_given, load_boxes, of_picture
from cigpose_client._cli.frames import Frame, open_video
from cigpose_client._cli.interrupt import gentle_interrupt
from cigpose_client._cli.progress import Progress
from cigpose_client._cli.records import FORMATS, open_records
from cigpose_client._cli.video_writer import VideoWriter, open_writer
from cigpose_client._client import PoseClient
from cigpose_client._draw import DrawOptions, Pixels, draw_onto
from cigpose_client._many import attempting, in_order
from cigpose_client._poses import Poses

_INTERRUPTED = 130


def add_video(subcommands: Any) -> None:
    """Add `video`."""
    parser = subcommands.add_parser("video", help="people in every frame of a video")
    parser.add_argument("source", metavar="VIDEO")
    _add_common(parser, concurrency=8)
    arguments.add_boxes(parser)
    parser.set_defaults(run=run_video)


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
    parser.set_defaults(run=run_camera)


def _add_common(parser: argparse.ArgumentParser, concurrency: int) -> None:
    parser.add_argument("--output", metavar="VIDEO", help="write the frames with skeletons there")
    parser.add_argument(
        "--json", metavar="FILE", help="write the people there; - for stdout, the default without --output"
    )
    parser.set_defaults(boxes=None)
    parser.add_argument("--continue-on-error", action="store_true", help="go on after a frame that fails")
    parser.add_argument("--format", choices=FORMATS, default="jsonl", help="of the people (default: %(default)s)")
    arguments.add_drawing(parser)
    arguments.add_concurrency(parser, concurrency)
    arguments.add_lossless(parser)
    arguments.add_options(parser)
    arguments.add_connection(parser)


def run_video(args: argparse.Namespace) -> int:
    """Run `video` and return the exit status."""
    with open_video(args.source) as video:
        failed, interrupted = _run(args, video.frames(), video.count, video.rate, sound_of=args.source)
    return _INTERRUPTED if interrupted else failed


def run_camera(args: argparse.Namespace) -> int:
    """Run `camera` and return the exit status; Ctrl-C is how it ends, so that is no failure."""
    with open_video(args.source) as video, closing(video.latest_frames()) as frames:
        failed, _ = _run(args, _within(frames, args.seconds), None, video.rate, sound_of=None)
    return failed


def _within(frames: Iterator[Frame], seconds: float | None) -> Iterator[Frame]:
    return itertools.takewhile(lambda frame: seconds is None or frame.time_s <= seconds, frames)


def _run(
    args: argparse.Namespace, frames: Iterator[Frame], count: int | None, rate: float, sound_of: str | None
) -> tuple[bool, bool]:
    """Answer the frames in order, and return whether one failed and whether Ctrl-C ended it."""
    given = None if args.boxes is None else load_boxes(args.boxes)
    progress = Progress("frames", count)
    with ExitStack() as stack:
        client = stack.enter_context(arguments.connect(args))
        to_records = args.json is not None or args.output is None
        records = stack.enter_context(open_records(args.json, args.format)) if to_records else None
        canvas = stack.enter_context(closing(_Canvas(args.output, rate, sound_of))) if args.output else None
        interrupt = stack.enter_context(gentle_interrupt())
        estimate = attempting(functools.partial(_estimate, client, given), args.continue_on_error)
        work = functools.partial(_answer, estimate, arguments.drawing(args), canvas is not None)
        for frame, (outcome, drawn) in in_order(work, interrupt.until(frames), args.concurrency):
            if records is not None:
                records.add({"frame": frame.index, "time_s": round(frame.time_s, 3)}, frame.index, outcome)
            if canvas is not None:
                canvas.write(drawn, frame.time_s)
            progress.step(outcome, f"frame {frame.index}")
        progress.summary(client.retries)
    return progress.failed > 0, interrupt.pressed


def _answer(
    estimate: Callable[[Frame], Poses | Exception], options: DrawOptions, draw: bool, frame: Frame
) -> tuple[Poses | Exception, Pixels]:
    """Return one frame's people and the frame, drawn upon if asked; here, so that the workers share that load."""
    outcome = estimate(frame)
    if draw and isinstance(outcome, Poses):
        draw_onto(frame.image_bgr, outcome, options)
    return outcome, frame.image_bgr


def _estimate(client: PoseClient, given: Boxes | None, frame: Frame) -> Poses:
    if given is None:
        return client.estimate(frame.image_bgr)
    return estimate_given(client, frame.image_bgr, of_picture(given, frame.index))


class _Canvas:
    """The video being written; it starts with the first frame, which tells the size, and keeps the time of each."""

    def __init__(self, path: str, rate: float, sound_of: str | None):
        self._path, self._rate, self._sound_of = path, rate, sound_of
        self._stack = ExitStack()
        self._writer: VideoWriter | None = None
        self._written = 0

    def write(self, image_bgr: Pixels, time_s: float) -> None:
        """Write the frame as often as its time asks for: once in a video, now and then twice from a slow camera."""
        if self._writer is None:
            size = (image_bgr.shape[1], image_bgr.shape[0])
            self._writer = self._stack.enter_context(open_writer(self._path, size, self._rate, self._sound_of))
        while self._written <= round(time_s * self._rate):
            self._writer.write(image_bgr)
            self._written += 1

    def close(self) -> None:
        """Complete the file."""
        self._stack.close()
