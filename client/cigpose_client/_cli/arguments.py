"""Arguments that several subcommands share, and the client they ask for."""

import argparse
import re
import sys
from collections.abc import Callable

from cigpose_client._base import DEFAULT_TIMEOUT_S
from cigpose_client._client import PoseClient
from cigpose_client._connection import DEFAULT_URL, Tls, check_url
from cigpose_client._draw import DEFAULT_THRESHOLD, LABELS, PARTS, DrawOptions
from cigpose_client._errors import PoseClientError, ServerUnavailable
from cigpose_client._protocol import Options
from cigpose_client._retry import Retry

_OPTION_OF = {  # parameters of the library that its remedies name -> options of the command
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
    """Add what `connect` reads."""
    group = parser.add_argument_group("server")
    group.add_argument("--url", type=_url, default=DEFAULT_URL, help="gRPC address, host:port (default: %(default)s)")
    group.add_argument(
        "--model", default="pose", help="pose (the server's default network) or a network's name (default: %(default)s)"
    )
    group.add_argument(
        "--timeout",
        type=above_zero(float),
        default=DEFAULT_TIMEOUT_S,
        metavar="S",
        help="seconds for each request, with its retries (default: %(default)g)",
    )
    group.add_argument("--header", action="append", default=[], type=_header, metavar="NAME=VALUE")
    group.add_argument("--tls", action="store_true", help="encrypted connection")
    group.add_argument("--tls-ca", metavar="PEM", help="trust these roots (implies --tls)")
    group.add_argument("--tls-key", metavar="PEM", help="this client's key, for mutual TLS (implies --tls)")
    group.add_argument("--tls-cert", metavar="PEM", help="this client's certificate (implies --tls)")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the request options that `connect` reads; the server has the defaults, which the help repeats."""
    group = parser.add_argument_group("detector")
    group.add_argument(
        "--bbox-threshold",
        type=float,
        metavar="SCORE",
        help="leave out people below this box score (server's default: 0.5)",
    )
    group.add_argument(
        "--nms-threshold",
        type=float,
        metavar="IOU",
        help="overlap above which two boxes are one person (server's default: 0.45)",
    )
    group.add_argument(
        "--max-persons", type=int, metavar="N", help="answer the N best-scored people (server's default: 32)"
    )


def add_drawing(parser: argparse.ArgumentParser) -> None:
    """Add what `drawing` reads."""
    group = parser.add_argument_group("drawing")
    group.add_argument(
        "--threshold",
        type=float,
        default=DEFAULT_THRESHOLD,
        metavar="SCORE",
        help="draw keypoints from this score on (default: %(default)s)",
    )
    group.add_argument(
        "--parts",
        type=_parts,
        default=PARTS,
        metavar="PART,...",
        help=f"draw these keypoints only (default: {','.join(PARTS)})",
    )
    group.add_argument("--draw-boxes", action="store_true", help="draw the boxes, too")
    group.add_argument(
        "--labels",
        choices=LABELS,
        default="none",
        help="write the person's number in the results, or the box's score, at the box (default: %(default)s)",
    )
    group.add_argument(
        "--line-width",
        type=above_zero(float),
        metavar="PX",
        help="width of the body's lines in pixels (default: grows with the person)",
    )


def drawing(args: argparse.Namespace) -> DrawOptions:
    """Return what `add_drawing` read."""
    return DrawOptions(args.threshold, args.parts, args.draw_boxes, args.labels, args.line_width)


def add_boxes(parser: argparse.ArgumentParser) -> None:
    """Add --boxes."""
    parser.add_argument(
        "--boxes",
        metavar="FILE",
        help="people to look at, instead of the detector's: this command's JSON, or COCO detection results",
    )


def add_lossless(parser: argparse.ArgumentParser) -> None:
    """Add --lossless, which `connect` reads."""
    parser.add_argument(
        "--lossless",
        dest="array_format",
        action="store_const",
        const="bmp",
        default="jpeg",
        help="send frames uncompressed: slower, nothing is lost (default: JPEG of quality 95)",
    )


def add_concurrency(parser: argparse.ArgumentParser, default: int = 8) -> None:
    """Add --concurrency."""
    parser.add_argument(
        "--concurrency",
        type=above_zero(int),
        default=default,
        metavar="N",
        help="requests under way at a time; the server merges them (default: %(default)s)",
    )


def connect(args: argparse.Namespace, model: str | None = None, *, retry: bool = True) -> PoseClient:
    """Return the client that the arguments describe, for another `model` if one is given."""
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
        on_retry=_Waiting(args.url),
    )


def in_options(remedy: str) -> str:
    """Return a remedy of the library in the words of the command: `raise timeout_s` as `raise --timeout`."""
    return _PARAMETER.sub(lambda name: _OPTION_OF[name[0]], remedy)


class _Waiting:
    """Says on stderr, once for each reason, that the server is not there yet and is tried again."""

    def __init__(self, url: str):
        self._url = url
        self._said: set[str] = set()

    def __call__(self, error: PoseClientError) -> None:
        if not isinstance(error, ServerUnavailable):
            return
        text = f"waiting for {self._url}; nobody listens there yet"
        if "refused" not in error.problem:
            text = f"waiting: {error.problem} ({in_options(error.remedy)})"
        if text not in self._said:  # without a lock: two workers may both say it
            self._said.add(text)
            print(text, file=sys.stderr, flush=True)


def above_zero(kind: type[int] | type[float]) -> Callable[[str], float]:
    """Return an argument type: a number of this kind above 0."""

    def number(text: str) -> float:
        value = kind(text)
        if value <= 0:
            raise argparse.ArgumentTypeError(f"{text} is not above 0")
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
