"""Options that several subcommands share, and the client that they describe."""

import argparse
import math
import re
import sys
from collections.abc import Callable
from typing import Literal, TypeAlias, get_args

from cigpose_client._base import DEFAULT_TIMEOUT_S
from cigpose_client._client import PoseClient
from cigpose_client._connection import DEFAULT_URL, Tls, check_url
from cigpose_client._draw import BOTTOM_UP_THRESHOLD, DEFAULT_THRESHOLD, LABELS, PARTS, DrawOptions, Labels
from cigpose_client._errors import PoseClientError, ServerUnavailable
from cigpose_client._protocol import Options
from cigpose_client._retry import Retry

Format: TypeAlias = Literal["json", "jsonl", "coco"]
FORMATS: tuple[Format, ...] = get_args(Format)

_OPTION_OF = {  # parameter of the library, as its remedies name it -> option of the command
    "timeout_s": "--timeout",
    "in_flight": "--concurrency",
    "url": "--url",
    "model": "--model",
    "tls=Tls()": "--tls",
    "tls": "--tls",
    "root_certificates": "--tls-ca",
    "private_key": "--tls-key",
    "certificate_chain": "--tls-cert",
    "info()": "`cigpose-client info`",
}
_PARAMETER = re.compile("|".join(rf"(?<!\w){re.escape(name)}(?!\w)" for name in _OPTION_OF))


def add_connection(parser: argparse.ArgumentParser) -> None:
    """Add the options of the server, which `connect` reads."""
    add = parser.add_argument_group("server").add_argument
    add("--url", type=_url, default=DEFAULT_URL, help="gRPC address, host:port (default: %(default)s)")
    add("--model", default="pose", help="a network, or pose for the server's default network (default: %(default)s)")
    text = "seconds for each request, retries included (default: %(default)g)"
    add("--timeout", type=above_zero(float), default=DEFAULT_TIMEOUT_S, metavar="S", help=text)
    add("--header", action="append", default=[], type=_header, metavar="NAME=VALUE", help="sent with every request")
    add("--tls", action="store_true", help="encrypt the connection")
    add("--tls-ca", metavar="PEM", help="trusted root certificates (implies --tls)")
    add("--tls-key", metavar="PEM", help="this client's key, for mutual TLS (implies --tls)")
    add("--tls-cert", metavar="PEM", help="this client's certificate (implies --tls)")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the request options, which `connect` reads. Their defaults are the server's; the help repeats them."""
    add = parser.add_argument_group("detector").add_argument
    text = "drop people with a lower score; 0.3 with NanoDet, 0 with bottom-up networks (server's default: 0.5)"
    add("--bbox-threshold", type=float, metavar="SCORE", help=text)
    text = "overlap above which two boxes are one person (server's default: 0.45); not for bottom-up networks"
    add("--nms-threshold", type=float, metavar="IOU", help=text)
    add("--max-persons", type=int, metavar="N", help="keep the N people with the best scores (server's default: 32)")


def add_run(parser: argparse.ArgumentParser, form: Format, concurrency: int | None = 8) -> None:
    """Add the options that `image`, `folder`, `video`, `camera` and `cameras` share.

    Args:
        parser: of the subcommand.
        form: default of --format.
        concurrency: default of --concurrency; None for no such option.
    """
    parser.add_argument(
        "--format", choices=FORMATS, default=form, help="of the people; coco has no 3-D points (default: %(default)s)"
    )
    parser.add_argument("--continue-on-error", action="store_true", help="continue after a picture or frame that fails")
    _add_drawing(parser)
    if concurrency is not None:
        add_concurrency(parser, concurrency)
    add_options(parser)
    add_connection(parser)


def _add_drawing(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("drawing").add_argument
    text = (
        f"draw keypoints from this score on (default: {DEFAULT_THRESHOLD}); bottom-up networks: {BOTTOM_UP_THRESHOLD}"
    )
    add("--threshold", type=float, metavar="SCORE", help=text)
    add("--parts", type=_parts, default=PARTS, metavar="PART,...", help=f"to draw (default: {','.join(PARTS)})")
    add("--draw-boxes", action="store_true", help="draw the boxes, too")
    text = "text at the box: the person's number in the results, the box's score, or the id (default: id with --track)"
    add("--labels", choices=LABELS, help=text)
    text = "width of the body's lines in pixels (default: grows with the person)"
    add("--line-width", type=above_zero(float), metavar="PX", help=text)


def drawing(args: argparse.Namespace) -> DrawOptions:
    """Return the options of drawing that `add_run` added."""
    labels: Labels = args.labels or ("id" if getattr(args, "track", False) else "none")
    return DrawOptions(args.threshold, args.parts, args.draw_boxes, labels, args.line_width)


def add_boxes(parser: argparse.ArgumentParser) -> None:
    """Add --boxes."""
    text = "boxes that replace the detector's: this command's JSON, or COCO detection results"
    parser.add_argument("--boxes", metavar="FILE", help=text)


def add_plot_3d(parser: argparse.ArgumentParser, metavar: str, kind: str) -> None:
    """Add --plot-3d."""
    text = f"draw the people in 3-D beside the picture, from two sides; {kind}; needs a network that lifts"
    parser.add_argument("--plot-3d", metavar=metavar, help=text)


def add_concurrency(parser: argparse.ArgumentParser, default: int = 8) -> None:
    """Add --concurrency."""
    text = "concurrent requests, which the server batches (default: %(default)s)"
    parser.add_argument("--concurrency", type=above_zero(int), default=default, metavar="N", help=text)


def connect(args: argparse.Namespace, model: str | None = None, *, retry: bool = True) -> PoseClient:
    """Return the client that the options describe.

    Args:
        args: options of `add_connection` and, if present, of `add_options`.
        model: replaces --model.
        retry: False for a single try.
    """
    files = (args.tls_ca, args.tls_key, args.tls_cert)
    return PoseClient(
        args.url,
        model=model or args.model,
        timeout_s=args.timeout,
        options=Options(*(getattr(args, name, None) for name in ("bbox_threshold", "nms_threshold", "max_persons"))),
        headers=dict(args.header),
        array_format=getattr(args, "array_format", "auto"),
        tls=Tls(*files) if args.tls or any(files) else None,
        retry=Retry() if retry else None,
        on_retry=_report_waiting(args.url),
    )


def in_options(remedy: str) -> str:
    """Return a remedy with the command's options for the library's parameters: `raise --timeout`, not `timeout_s`."""
    return _PARAMETER.sub(lambda name: _OPTION_OF[name[0]], remedy)


def _report_waiting(url: str) -> Callable[[PoseClientError], None]:
    """Return a function that reports on stderr, once for each cause, that the server is unavailable and retried."""
    reported: set[str] = set()

    def report(error: PoseClientError) -> None:
        if not isinstance(error, ServerUnavailable):
            return
        text = f"waiting for {url}; no server listens there yet"
        if "refused" not in error.problem:
            text = f"waiting: {error.problem} ({in_options(error.remedy)})"
        if text not in reported:  # without a lock: two threads may both report it
            reported.add(text)
            print(text, file=sys.stderr, flush=True)

    return report


def above_zero(kind: type[int] | type[float]) -> Callable[[str], float]:
    """Return an argument type for finite numbers above 0."""

    def number(text: str) -> float:
        value = kind(text)
        if not 0 < value < math.inf:
            raise argparse.ArgumentTypeError(f"{text} is not a finite number above 0")
        return value

    number.__name__ = kind.__name__  # argparse names the type in its message
    return number


def _header(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def _url(text: str) -> str:
    try:
        check_url(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def _parts(text: str) -> tuple[str, ...]:
    parts = tuple(part.strip() for part in text.split(","))
    try:
        return tuple(DrawOptions(parts=parts).parts)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
