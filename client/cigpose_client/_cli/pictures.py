"""The subcommands `image` and `folder`: pictures in, people as JSON and drawn skeletons out."""

import argparse
import functools
from typing import Any

from cigpose_client._cli import arguments, files
from cigpose_client._cli.boxes import Boxes, estimate_given, load_boxes, of_picture
from cigpose_client._cli.progress import Progress
from cigpose_client._cli.records import FORMATS, open_records
from cigpose_client._client import PoseClient
from cigpose_client._draw import DrawOptions, draw_poses
from cigpose_client._many import attempting, in_order
from cigpose_client._poses import Poses


def add_image(subcommands: Any) -> None:
    """Add `image`."""
    parser = subcommands.add_parser("image", help="people in pictures", description="Find the people in pictures.")
    parser.add_argument("pictures", nargs="+", metavar="PICTURE", help="a file, or - for stdin")
    _add_common(parser, form="json")
    parser.set_defaults(run=run_image)


def add_folder(subcommands: Any) -> None:
    """Add `folder`."""
    parser = subcommands.add_parser("folder", help="people in all pictures of a folder")
    parser.add_argument("folder", metavar="FOLDER")
    parser.add_argument("--recursive", action="store_true", help="folders below it as well")
    _add_common(parser, form="jsonl")
    parser.set_defaults(run=run_folder)


def _add_common(parser: argparse.ArgumentParser, form: str) -> None:
    parser.add_argument("--json", metavar="FILE", help="write the people there instead of to stdout")
    parser.add_argument("--format", choices=FORMATS, default=form, help="of the people (default: %(default)s)")
    parser.add_argument("--output", metavar="PATH", help="draw: a file (- for stdout) for one picture, else a folder")
    arguments.add_boxes(parser)
    parser.add_argument("--continue-on-error", action="store_true", help="go on after a picture that fails")
    arguments.add_drawing(parser)
    arguments.add_concurrency(parser)
    arguments.add_options(parser)
    arguments.add_connection(parser)


def run_image(args: argparse.Namespace) -> int:
    """Run `image` and return the exit status."""
    if args.output == files.PIPE and args.json is None:
        raise ValueError("stdout cannot take the drawn picture and the people: give --json FILE as well")
    return _run(args, files.listed(args.pictures, args.output), summary=len(args.pictures) > 1)


def run_folder(args: argparse.Namespace) -> int:
    """Run `folder` and return the exit status."""
    return _run(args, files.found(args.folder, args.output, args.recursive), summary=True)


def _run(args: argparse.Namespace, sources: list[files.Source], summary: bool) -> int:
    given = None if args.boxes is None else load_boxes(args.boxes)
    if given is not None and not any(key in given for source in sources for key in source.keys):
        raise ValueError(f"{args.boxes} has boxes for none of the pictures; it must call them as they are called here")
    progress = Progress("pictures", len(sources))
    with arguments.connect(args) as client, open_records(args.json, args.format) as records:
        work = functools.partial(_people, client, given, arguments.drawing(args))
        for source, outcome in in_order(attempting(work, args.continue_on_error), sources, args.concurrency):
            records.add({"picture": source.name}, source.image_id, outcome)
            progress.step(outcome, source.name)
        if summary:
            progress.summary(client.retries)
    return 1 if progress.failed else 0


def _people(client: PoseClient, given: Boxes | None, options: DrawOptions, source: files.Source) -> Poses:
    """Return one picture's people; the drawing is written as well, here, so that the workers share that load."""
    picture = source.read()
    if given is None:
        poses = client.estimate(picture)
    else:
        poses = estimate_given(client, picture, of_picture(given, *source.keys))
    if source.target is not None:
        files.write(draw_poses(files.decode(picture), poses, options=options), source.target)
    return poses
