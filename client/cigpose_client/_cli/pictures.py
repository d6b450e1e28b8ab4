"""The subcommands `image` and `folder`: pictures in, people as JSON and drawn skeletons out."""

import argparse
import dataclasses
import functools
import sys
import zlib
from collections import Counter
from collections.abc import Callable
from typing import Any, TypeAlias

from cigpose_client._cli import arguments, files
from cigpose_client._cli.boxes import Boxes, estimate, load_boxes
from cigpose_client._cli.progress import Progress
from cigpose_client._cli.records import open_records
from cigpose_client._cli.resume import Earlier, PlaceOf, add_resume, earlier_records, remove_leftovers
from cigpose_client._cli.run import running
from cigpose_client._client import PoseClient
from cigpose_client._draw import Pixels, draw_poses
from cigpose_client._draw_3d import draw_poses_3d
from cigpose_client._poses import Poses

Answer: TypeAlias = tuple[Poses, bytes | None, bytes | None]
"""The people, and the encoded drawings in 2-D and in 3-D that are requested."""


def add_image(subcommands: Any) -> None:
    """Add `image`."""
    parser = subcommands.add_parser("image", help="people in pictures", description="Find the people in pictures.")
    parser.add_argument("pictures", nargs="+", metavar="PICTURE", help="a file, a web address, or - for stdin")
    _add_common(parser, form="json")
    parser.set_defaults(run=run_image)


def add_folder(subcommands: Any) -> None:
    """Add `folder`."""
    parser = subcommands.add_parser("folder", help="people in all pictures of a folder")
    parser.add_argument("folder", metavar="FOLDER")
    parser.add_argument("--recursive", action="store_true", help="also read the folders below it")
    text = "only the Kth of N parts of the pictures, by a hash of their names; the parts may run on different machines"
    parser.add_argument("--shard", type=_shard, default=(1, 1), metavar="K/N", help=text)
    _add_common(parser, form="jsonl")
    parser.set_defaults(run=run_folder)


def _add_common(parser: argparse.ArgumentParser, form: arguments.Format) -> None:
    parser.add_argument("--json", metavar="FILE", help="file for the people (default: stdout)")
    parser.add_argument("--output", metavar="PATH", help="draw: a file (- for stdout) for one picture, else a folder")
    arguments.add_plot_3d(parser, "PATH", "like --output")
    add_resume(parser)
    arguments.add_boxes(parser)
    arguments.add_run(parser, form)


def run_image(args: argparse.Namespace) -> int:
    """Run `image` and return the exit status."""
    if files.PIPE in (args.output, args.plot_3d) and args.json in (None, files.PIPE):
        raise files.UsageError("stdout cannot take the drawn picture and the people: give --json FILE as well")
    return _run(args, files.listed(args.pictures, args.output, args.plot_3d), quiet=len(args.pictures) == 1)


def run_folder(args: argparse.Namespace) -> int:
    """Run `folder` and return the exit status."""
    number, count = args.shard
    sources = files.in_folder(args.folder, args.output, args.plot_3d, args.recursive)
    return _run(args, [source for source in sources if zlib.crc32(source.name.encode()) % count == number - 1])


def _shard(text: str) -> tuple[int, int]:
    """Return (number from 1, count) of a shard such as 3/16. A picture keeps its shard when others come or go."""
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise argparse.ArgumentTypeError(f"{text!r} is not K/N with K from 1 to N, such as 3/16")
    return int(number), int(count)


def _run(args: argparse.Namespace, sources: list[files.Source], quiet: bool = False) -> int:
    targets = [target for source in sources for target in (source.target, source.plot)]
    files.check(args, [args.json or files.PIPE, *targets], [source.path for source in sources])
    files.check_drawable(targets)
    given = None if args.boxes is None else load_boxes(args.boxes)
    if given is not None and not any(key in given for source in sources for key in source.keys):
        raise ValueError(f"{args.boxes} has boxes for none of the pictures; its names must be those of the pictures")
    with earlier_records(args, "picture", _places(sources)) as earlier:
        status = _ask(args, given, sources, earlier, quiet)
    if status == 0:
        remove_leftovers([args.json, *targets])
    return status


def _ask(
    args: argparse.Namespace, given: Boxes | None, sources: list[files.Source], earlier: Earlier, quiet: bool
) -> int:
    """Send the pictures that have no answer yet, write the results, and return the exit status."""
    todo = [_opened(source) for source in sources if not (source.place in earlier.answered and source.is_drawn)]
    progress = Progress("pictures", len(todo))
    if args.resume:
        progress.note(f"{len(sources) - len(todo)} of {len(sources)} pictures are answered already")
    with running(args, progress, quiet) as run, open_records(args.json, args.format, earlier) as records:
        work = functools.partial(_answer, run.client, given, args)
        for source, outcome in run.answers(work, todo, lambda source: source.name):
            result, drawing, plot = (outcome, None, None) if isinstance(outcome, Exception) else outcome
            with files.drawn(source.target, drawing), files.drawn(source.plot, plot):
                records.add(source.place, {"picture": source.name}, source.image_id, result)
            if isinstance(result, Poses):
                progress.answer(len(result))
    return run.status


def _places(sources: list[files.Source]) -> PlaceOf:
    """Return the function that finds the place of a record: the nth record of a name is for its nth source."""
    count: Counter[str] = Counter()
    places = {}
    for source in sources:
        places[source.name, count[source.name]] = source.place
        count[source.name] += 1
    return lambda name, before: places.get((name, before))


def _opened(source: files.Source) -> files.Source:
    """Return the source, with its content if it is stdin: a worker thread that reads stdin could not be stopped."""
    return dataclasses.replace(source, content=sys.stdin.buffer.read()) if source.path == files.PIPE else source


def _answer(client: PoseClient, given: Boxes | None, args: argparse.Namespace, source: files.Source) -> Answer:
    """Return one picture's people and its drawings, which are made here to share that load among the workers."""
    picture = source.read(args.timeout)
    poses = estimate(client, picture, given, *source.keys)

    def drawn(target: str | None, draw: Callable[..., Pixels]) -> bytes | None:
        if target is None:
            return None
        return files.encode(draw(files.decode(picture), poses, options=arguments.drawing(args)), target)

    return poses, drawn(source.target, draw_poses), drawn(source.plot, draw_poses_3d)
