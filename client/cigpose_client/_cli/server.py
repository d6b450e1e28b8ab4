"""The subcommands `info` and `check`: which networks a server serves, and whether all of them work."""

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from cigpose_client._cli import arguments
from cigpose_client._errors import DeadlineExceeded, Overloaded, PoseClientError, ServerUnavailable
from cigpose_client._image import Image
from cigpose_client._info import ServedModel, ServerInfo

_BOX = (0.0, 0.0, 64.0, 64.0)


def add_info(subcommands: Any) -> None:
    """Add `info`."""
    parser = subcommands.add_parser("info", help="what the server serves")
    parser.add_argument("--json", action="store_true", help="as JSON")
    arguments.add_connection(parser)
    parser.set_defaults(run=run_info)


def add_check(subcommands: Any) -> None:
    """Add `check`."""
    parser = subcommands.add_parser(
        "check",
        help="one picture through every ensemble",
        description="Send one picture through every ensemble; the status is 0 only if all of them answer. For probes: "
        "a server can report that it is ready while one of its processes is dead.",
    )
    parser.add_argument("picture", nargs="?", metavar="PICTURE", help="default: a grey one of 64 x 64 pixels")
    parser.add_argument(
        "--alive",
        action="store_true",
        help="for liveness probes: only --model is asked, nothing is tried again, and a busy server (late answers, "
        "full queue) is alive",
    )
    arguments.add_connection(parser)
    parser.set_defaults(run=run_check)


def run_info(args: argparse.Namespace) -> int:
    """Run `info` and return the exit status."""
    with arguments.connect(args) as client:
        info = client.info()
    print(json.dumps(dataclasses.asdict(info), indent=2) if args.json else "\n".join(_lines(args.url, info)))
    _note_gaps(info)
    return 0


def run_check(args: argparse.Namespace) -> int:
    """Run `check` and return the exit status."""
    image = args.picture or np.full((64, 64, 3), 128, np.uint8)
    try:
        with arguments.connect(args, retry=not args.alive) as client:
            info = client.info()
    except PoseClientError as error:
        if not args.alive or not is_busy(error):
            raise
        print(f"busy    {error.problem}")
        return 0
    own = [model for model in info.models if model.name == client.ensemble]
    models = own if args.alive else info.models
    if not models:
        raise ValueError("no pose ensemble is served")
    _note_gaps(info)
    # a list, so that every ensemble is asked, also after a failure
    return 0 if all([_answers(args, model, image) for model in models]) else 1


def is_busy(error: PoseClientError) -> bool:
    """Return whether the error may come from a server that is alive and overloaded.

    A restart of such a server would lose its running requests and move the load to the other servers. A connection that
    breaks or is slow counts as busy, too; a refused one does not, because no process listens there.
    """
    if isinstance(error, ServerUnavailable):
        return "refused" not in str(error).lower()
    return isinstance(error, DeadlineExceeded | Overloaded)


def _note_gaps(info: ServerInfo) -> None:
    if not info.complete:
        print("This server does not list its models; use --model to choose one.", file=sys.stderr)


def _answers(args: argparse.Namespace, model: ServedModel, image: Image) -> bool:
    """Ask for people, and for one given box where that is offered, so that the pose network runs in any case."""
    name = model.name
    with arguments.connect(args, name, retry=not args.alive) as client:
        start_s = time.perf_counter()
        try:
            client.estimate(image)
            if model.takes_boxes:
                client.estimate_boxes(image, [_BOX])
        except PoseClientError as error:
            busy = args.alive and is_busy(error)
            print(f"{'busy  ' if busy else 'FAILED'}  {name}: {error.problem}")
            return busy
    print(f"ok      {name}: {(time.perf_counter() - start_s) * 1000:.0f} ms")
    return True


def _lines(url: str, info: ServerInfo) -> Iterator[str]:
    yield f"{info.name} {info.version} at {url}"
    for model in info.models:
        yield f"  --model {model.name}: {_description(model)}"
    if not info.models:
        yield "  no pose ensemble is served"


def _description(model: ServedModel) -> str:
    facts = [f"{model.keypoints} keypoints ({model.keypoint_set or 'unknown set'})"]
    if model.network:
        facts.insert(0, model.network)
    if model.max_persons:
        facts.append(f"at most {model.max_persons} people a request")
    return ", ".join(facts)
