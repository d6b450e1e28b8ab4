"""Arguments that several subcommands share, and the client they ask for."""

import argparse
from collections.abc import Callable

from cigpose_client._client import PoseClient
from cigpose_client._connection import Tls
from cigpose_client._draw import DEFAULT_THRESHOLD
from cigpose_client._protocol import Options
from cigpose_client._retry import Retry


def add_connection(parser: argparse.ArgumentParser) -> None:
    """Add what `connect` reads."""
    group = parser.add_argument_group("server")
    group.add_argument("--url", default="localhost:8001", help="gRPC address (default: %(default)s)")
    group.add_argument("--model", default="pose", help="pose (the server's default network) or a network's name")
    group.add_argument("--timeout", type=above_zero(float), default=30.0, metavar="S", help="seconds for each request")
    group.add_argument("--header", action="append", default=[], type=_header, metavar="NAME=VALUE")
    group.add_argument("--tls", action="store_true", help="encrypted connection")
    group.add_argument("--tls-ca", metavar="PEM", help="trust these roots (implies --tls)")
    group.add_argument("--tls-key", metavar="PEM", help="this client's key, for mutual TLS (implies --tls)")
    group.add_argument("--tls-cert", metavar="PEM", help="this client's certificate (implies --tls)")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the request options that `connect` reads."""
    group = parser.add_argument_group("detector")
    group.add_argument("--bbox-threshold", type=float, metavar="SCORE", help="leave out people below this box score")
    group.add_argument(
        "--nms-threshold", type=float, metavar="IOU", help="overlap above which two boxes are one person"
    )
    group.add_argument("--max-persons", type=int, metavar="N", help="answer the N best-scored people")


def add_threshold(parser: argparse.ArgumentParser) -> None:
    """Add --threshold of the drawn keypoints."""
    parser.add_argument(
        "--threshold",
        type=float,
        default=DEFAULT_THRESHOLD,
        metavar="SCORE",
        help="draw keypoints from this score on (default: %(default)s)",
    )


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
        array_format=getattr(args, "array_format", "bmp"),
        tls=Tls(*files) if args.tls or any(files) else None,
        retry=Retry() if retry else None,
    )


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
