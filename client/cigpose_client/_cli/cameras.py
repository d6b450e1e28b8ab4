"""The subcommand `cameras`: several live sources and films at the same time, each with its own stream."""

import argparse
import functools
import itertools
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from cigpose_client._cli import arguments, files
from cigpose_client._cli.files import PIPE, UsageError
from cigpose_client._cli.frames import Frame, Video, open_video
from cigpose_client._cli.progress import Progress
from cigpose_client._cli.records import open_records
from cigpose_client._cli.resume import remove_leftovers
from cigpose_client._cli.run import INTERRUPTED, running
from cigpose_client._cli.sources import given_source, is_address, is_file, masked
from cigpose_client._cli.tracking import add_tracking, check_tracking, open_stream
from cigpose_client._cli.video import Write, add_common, dropped, open_output, within
from cigpose_client._cli.video_writer import check_writable
from cigpose_client._client import PoseClient
from cigpose_client._draw import draw_onto
from cigpose_client._poses import Poses
from cigpose_client.streams import PoseStream

_POLL_S = 0.005


@dataclass
class _Feed:
    """One source.

    Attributes:
        source: as given, without its password.
        video: its frames.
        stream: its people; None without --track.
        write: appends a frame to its drawn video, if there is one.
        busy: whether a frame of it is at the server; the next one waits, so that the order is that of the source.
    """

    source: str
    video: Video
    stream: PoseStream | None
    write: Write | None = None
    busy: bool = False


_Item: TypeAlias = tuple[_Feed, Frame]


def add_cameras(subcommands: Any) -> None:
    """Add `cameras`."""
    parser = subcommands.add_parser(
        "cameras",
        help="people in several cameras and films at the same time, with ids",
        description="Find people in several sources at the same time: addresses and numbers of cameras are live, and "
        "their newest frame is sent; files are sent frame by frame. Each source has its own ids. The server batches "
        "the frames of all. An address is connected again when it breaks; Ctrl-C ends the run.",
    )
    parser.add_argument(
        "sources", type=given_source, nargs="+", metavar="SOURCE", help="number or address of a camera, or a file"
    )
    parser.add_argument("--seconds", type=arguments.above_zero(float), metavar="S", help="end after this time")
    add_common(parser, None, output=("FOLDER", "write videos of the frames with skeletons: 1.mp4, 2.mp4, ..."))
    add_tracking(parser, track=True)
    parser.set_defaults(run=run_cameras, boxes=None)


def run_cameras(args: argparse.Namespace) -> int:
    """Run `cameras` and return the exit status: 1 if a frame or a source failed."""
    check_tracking(args)
    if args.format == "coco":
        raise UsageError("COCO results do not name sources; give --format json or jsonl")
    if args.output and Path(args.output).is_file():
        raise UsageError(f"{args.output} is a file; --output is a folder here")
    for source in args.sources:
        if args.sources.count(source) > 1:
            raise UsageError(f"{masked(source)} is given twice; give each source once")
    to_json = args.json or (None if args.output else PIPE)
    drawn = [_drawn_path(args.output, number) for number in range(1, len(args.sources) + 1)]
    files.check(args, [*drawn, to_json], [source for source in args.sources if is_file(source)])
    for path in filter(None, drawn):
        check_writable(path)
    args.concurrency = len(args.sources)
    progress = Progress("frames")
    with ExitStack() as stack:
        opened = {}
        for source in sorted(args.sources, key=is_address):  # addresses last: OpenCV opens one video at a time
            video = open_video(source, not is_file(source), progress.note, patient=True)
            opened[source] = stack.enter_context(video)
        videos = [opened[source] for source in args.sources]
        status = _ask(args, videos, drawn, to_json, progress)
        faults = [video.fault() for video in videos if video.live or status != INTERRUPTED]
    for fault in filter(None, faults):
        progress.note(fault)
    status = int(status or any(faults))
    if status == 0:
        remove_leftovers([*drawn, args.json])
    return status


def _ask(
    args: argparse.Namespace,
    videos: Sequence[Video],
    drawn: Sequence[str | None],
    to_json: str | None,
    progress: Progress,
) -> int:
    """Send the frames of all sources, write the results, and return the exit status."""
    live = any(video.live for video in videos)
    counts = [video.count for video in videos if video.count is not None]
    progress.total = sum(counts) if len(counts) == len(videos) else None
    with ExitStack() as stack:
        run = stack.enter_context(running(args, progress))
        records = stack.enter_context(open_records(to_json, args.format)) if to_json else None
        feeds = []
        for source, video, path in zip(args.sources, videos, drawn, strict=True):
            write = stack.enter_context(open_output(path, video.rate, None, run)) if path else None
            feeds.append(_Feed(masked(source), video, open_stream(args, run.client), write))
        work, place = functools.partial(_answer, run.client, args), itertools.count()
        for (feed, frame), outcome in run.answers(work, within(_frames(feeds), args.seconds), _name):
            if records is not None:
                key = {"source": feed.source, "frame": frame.index, "time_s": round(frame.time_s, 3)}
                records.add(next(place), key, frame.index, outcome)
            if feed.write is not None:
                feed.write(frame)
            if isinstance(outcome, Poses):
                progress.answer(len(outcome))
        if all(video.ended and video.fault() is None for video in videos):
            progress.total = None  # the containers' numbers may be estimates
        for feed in feeds:
            progress.note(f"{feed.source}: {feed.video.read} frames" + (f", {dropped(feed.video)}" * feed.video.live))
    return int(progress.failed > 0) if live else run.status  # Ctrl-C is the normal end of cameras


def _frames(feeds: Sequence[_Feed]) -> Iterator[_Item | None]:
    """Yield the next frame of each source that has none at the server, in turn; None while there is no frame."""
    while not all(feed.video.ended for feed in feeds):
        nothing = True
        for feed in feeds:
            frame = None if feed.busy or feed.video.ended else feed.video.next(0.0)
            if frame is not None:
                nothing, feed.busy = False, True
                yield feed, frame
        if nothing:
            time.sleep(_POLL_S)
            yield None


def _answer(client: PoseClient, args: argparse.Namespace, item: _Item) -> Poses:
    feed, frame = item
    try:
        image_bgr = frame.image_bgr
        poses = feed.stream.update(image_bgr, frame.time_s) if feed.stream else client.estimate(image_bgr)
        if feed.write is not None:
            draw_onto(image_bgr, poses, arguments.drawing(args))
        return poses
    finally:
        feed.busy = False


def _name(item: _Item) -> str:
    return f"{item[0].source} frame {item[1].index}"


def _drawn_path(folder: str | None, number: int) -> str | None:
    """Return the drawn video of the source at place `number`, from 1 on."""
    return None if folder is None else str(Path(folder) / f"{number}.mp4")
