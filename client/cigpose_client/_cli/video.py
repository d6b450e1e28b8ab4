"""The subcommands `video` and `camera`: frames in, people as JSON Lines and a video with skeletons out."""

import argparse
import functools
import itertools
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any, TypeAlias, TypeVar

from cigpose_client._cli import arguments, files
from cigpose_client._cli.boxes import Boxes, estimate, load_boxes
from cigpose_client._cli.files import PIPE, UsageError
from cigpose_client._cli.frames import Frame, Video, open_video
from cigpose_client._cli.progress import Progress
from cigpose_client._cli.records import open_records
from cigpose_client._cli.resume import Earlier, add_resume, earlier_records, remove_leftovers
from cigpose_client._cli.run import INTERRUPTED, Run, running
from cigpose_client._cli.sources import given_source, is_address, is_file
from cigpose_client._cli.tracking import add_tracking, check_tracking, open_stream
from cigpose_client._cli.video_writer import VideoWriter, check_writable, open_writer
from cigpose_client._client import PoseClient
from cigpose_client._draw import Pixels, draw_onto
from cigpose_client._draw_3d import draw_poses_3d
from cigpose_client._extras import opencv
from cigpose_client._poses import Poses
from cigpose_client.streams import PoseStream

_LONGEST_GAP_S = 10.0  # without frames, that is filled in a drawn video

Item = TypeVar("Item")
Write: TypeAlias = Callable[[Frame], None]


def add_video(subcommands: Any) -> None:
    """Add `video`."""
    parser = subcommands.add_parser("video", help="people in every frame of a video")
    parser.add_argument("source", type=given_source, metavar="VIDEO")
    add_common(parser, concurrency=8)
    arguments.add_plot_3d(parser, "VIDEO", "a video")
    add_tracking(parser, track=False)
    add_resume(parser)
    arguments.add_boxes(parser)
    parser.set_defaults(live=False, seconds=None)


def add_camera(subcommands: Any) -> None:
    """Add `camera`."""
    parser = subcommands.add_parser(
        "camera",
        help="people in front of a camera, until Ctrl-C",
        description="Find people in a live source. Frames that arrive faster than answers are dropped. An address is "
        "connected again when it breaks.",
    )
    parser.add_argument(
        "source", type=given_source, nargs="?", default="0", metavar="CAMERA", help="number or address (default: 0)"
    )
    parser.add_argument("--seconds", type=arguments.above_zero(float), metavar="S", help="end after this time")
    add_common(parser, concurrency=2)
    arguments.add_plot_3d(parser, "VIDEO", "a video")
    add_tracking(parser, track=False)
    parser.set_defaults(live=True, boxes=None, resume=False)


_OUTPUT = ("VIDEO", "write a video of the frames with skeletons")


def add_common(parser: argparse.ArgumentParser, concurrency: int | None, output: tuple[str, str] = _OUTPUT) -> None:
    """Add the options that `video`, `camera` and `cameras` share; `output` is the name and help of --output."""
    parser.add_argument("--output", metavar=output[0], help=output[1])
    text = "file for the people; - for stdout, the default without an option that draws"
    parser.add_argument("--json", metavar="FILE", help=text)
    arguments.add_run(parser, "jsonl", concurrency)
    text = "send frames uncompressed: slower, but lossless (default: JPEG of quality 95)"
    parser.add_argument("--lossless", dest="array_format", action="store_const", const="bmp", default="jpeg", help=text)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run `video` or `camera` and return the exit status."""
    check_tracking(args)
    args.concurrency = 1 if args.track else args.concurrency  # a stream needs its frames in order
    videos = [path for path in (args.output, args.plot_3d) if path]
    if args.resume and videos:
        raise UsageError("a video cannot be continued: give --resume without --output and --plot-3d")
    to_json = args.json or (None if videos else PIPE)
    files.check(args, [*videos, to_json], [args.source] if is_file(args.source) else [])
    for path in videos:
        check_writable(path)
    given = None if args.boxes is None else load_boxes(args.boxes)
    progress = Progress("frames")
    opened = open_video(args.source, args.live, progress.note)
    can_resume = not (args.live or args.track or videos)
    with earlier_records(args, "frame", _place, can_resume) as earlier, opened as video:
        status = _ask(args, given, video, earlier, to_json, progress)
        fault = None if status == INTERRUPTED else video.fault()
    if fault:
        raise ValueError(fault)
    if status == 0:
        remove_leftovers([*videos, args.json])
    return status


def _ask(
    args: argparse.Namespace,
    given: Boxes | None,
    video: Video,
    earlier: Earlier,
    to_json: str | None,
    progress: Progress,
) -> int:
    """Send the frames that have no answer yet, write the results, and return the exit status."""
    progress.total = None if video.count is None else max(video.count - len(earlier.answered), 0)
    if args.resume:
        progress.note(f"{len(earlier.answered)} frames are answered already")
    sound_of = args.source if is_address(args.source) else os.path.abspath(args.source)
    with ExitStack() as stack:
        run = stack.enter_context(running(args, progress))
        records = stack.enter_context(open_records(to_json, args.format, earlier)) if to_json else None
        write, write_plot = (
            stack.enter_context(open_output(path, video.rate, None if video.live else sound_of, run)) if path else None
            for path in (args.output, args.plot_3d)
        )
        frames = within(video.frames(), args.seconds)
        todo = (frame for frame in frames if frame is None or frame.index not in earlier.answered)
        work = functools.partial(_answer, run.client, given, open_stream(args, run.client), args)
        for frame, outcome in run.answers(work, todo, lambda frame: f"frame {frame.index}"):
            result, plot = (outcome, None) if isinstance(outcome, Exception) else outcome
            if records is not None:
                key = {"frame": frame.index, "time_s": round(frame.time_s, 3)}
                records.add(frame.index, key, frame.index, result)
            if write is not None:
                write(frame)
            if write_plot is not None and plot is not None:
                write_plot(replace(frame, image_bgr=plot))
            if isinstance(result, Poses):
                progress.answer(len(result))
        if video.ended and not run.interrupted and video.fault() is None:
            progress.total = None  # the container's number may be an estimate
        if video.live:
            progress.note(dropped(video))
    return int(progress.failed > 0) if video.live else run.status  # Ctrl-C is the normal end of a camera


def _place(index: Any, before: int) -> int | None:
    """Return the place of a frame's record: its number."""
    return index if isinstance(index, int) and before == 0 else None


def within(items: Iterator[Item], seconds: float | None) -> Iterator[Item]:
    """Yield the items of the first `seconds`; all items for None."""
    start_s = time.monotonic()
    return itertools.takewhile(lambda _: seconds is None or time.monotonic() - start_s <= seconds, items)


def _answer(
    client: PoseClient, given: Boxes | None, stream: PoseStream | None, args: argparse.Namespace, frame: Frame
) -> tuple[Poses, Pixels | None]:
    """Return one frame's people and their drawing in 3-D. Drawing here shares that load among the workers."""
    if stream is None:
        poses = estimate(client, frame.image_bgr, given, frame.index)
    else:
        poses = stream.update(frame.image_bgr, frame.time_s)
    plot = draw_poses_3d(frame.image_bgr, poses, arguments.drawing(args)) if args.plot_3d else None
    if args.output:
        draw_onto(frame.image_bgr, poses, arguments.drawing(args))
    return poses, plot


def dropped(video: Video) -> str:
    """Return the line about frames of a live source that newer ones have replaced."""
    return f"{video.dropped} frames dropped, because newer ones had arrived"


@contextmanager
def open_output(path: str, rate: float, sound_of: str | None, run: Run) -> Iterator[Write]:
    """Yield the function that writes a frame of the video at `path`.

    The video has the size of the first frame. A camera that comes back with another size is scaled to it.

    Each frame is written until the video is as long as its time requires: once from a file, sometimes twice from a slow
    camera. A gap of more than 10 s is not filled, and none after Ctrl-C.
    """
    writer: VideoWriter | None = None
    size, written, left_out = (0, 0), 0, 0  # numbers of frames
    with ExitStack() as stack:

        def write(frame: Frame) -> None:
            nonlocal writer, size, written, left_out
            if writer is None:
                height, width = frame.image_bgr.shape[:2]
                size = width, height
                writer = stack.enter_context(open_writer(path, size, rate, sound_of))
            if frame.image_bgr.shape[1::-1] != size:
                frame = replace(frame, image_bgr=opencv("drawing").resize(frame.image_bgr, size))
            gap = round(frame.time_s * rate) - left_out - written
            if gap > _LONGEST_GAP_S * rate:
                run.progress.note(f"{path}: the gap of {gap / rate:.0f} s before frame {frame.index} is not filled")
                left_out, gap = left_out + gap, 0
            for _ in range(gap + 1):
                writer.write(frame.image_bgr)
                written += 1
                if run.interrupted:
                    break

        yield write
