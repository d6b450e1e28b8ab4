"""Options of streams, and the stream that they describe."""

import argparse

from cigpose_client._cli.arguments import above_zero
from cigpose_client._cli.files import UsageError
from cigpose_client._client import PoseClient
from cigpose_client.streams import PoseStream
from cigpose_client.streams.options import StreamOptions


def add_tracking(parser: argparse.ArgumentParser, track: bool) -> None:
    """Add the options of streams; `track` is the default of --track."""
    add = parser.add_argument_group("streams").add_argument
    text = "give people ids that last, one request at a time; needs the extra `track`"
    add("--track", action=argparse.BooleanOptionalAction, default=track, help=text)
    text = "run the detector in every N-th frame only; between, look for people where they were (default: 1)"
    add("--detect-every", type=above_zero(int), metavar="N", help=text)
    add("--smooth", action="store_true", help="smooth the keypoints over time")
    text = f"keep the id of a lost person for this time (default: {StreamOptions.max_lost_s:g})"
    add("--max-lost", type=above_zero(float), metavar="S", help=text)


def check_tracking(args: argparse.Namespace) -> None:
    """Refuse options that do not fit together.

    Raises:
        UsageError: an option needs --track, or does not work with it.
    """
    unfit = ("boxes", "resume") if args.track else ("detect_every", "smooth", "max_lost")
    for name in unfit:
        if getattr(args, name, None):
            option = f"--{name.replace('_', '-')}"
            remedy = f"leave out {option} or --track" if args.track else f"{option} needs --track"
            raise UsageError(f"--track follows people from the first frame on: {remedy}" if args.track else remedy)


def open_stream(args: argparse.Namespace, client: PoseClient) -> PoseStream | None:
    """Return a new stream that the options describe; None without --track."""
    if not args.track:
        return None
    lost_s = StreamOptions.max_lost_s if args.max_lost is None else args.max_lost
    return client.stream(detect_every=args.detect_every or 1, smooth=args.smooth, max_lost_s=lost_s)
