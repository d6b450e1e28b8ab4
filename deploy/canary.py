"""`python -m deploy.canary`: one small picture through the whole pipeline; exit code 1 only when the pipeline is dead.

Made for liveness probes. tritonserver goes on saying "ready" after a Python step has died, so only an inference tells.
A server with too much to do answers late or "queue full"; restarting it would lose the work of all others and move the
load to its neighbours. So lateness and refusal count as alive, and an alert watches them instead.
"""

import argparse
import sys
from collections.abc import Sequence

import numpy as np
from cigpose_client import DeadlineExceeded, Overloaded, PoseClient, PoseClientError, ServerUnavailable, Tls

_PICTURE = np.full((64, 64, 3), 128, np.uint8)
_BOX = (0.0, 0.0, 64.0, 64.0)
_BUSY = (DeadlineExceeded, Overloaded)


def main(argv: Sequence[str] | None = None) -> int:
    """Ask each network for people and for the keypoints of one given box, so that every step runs."""
    options = _parse(argv)
    dead = [message for model in options.model for message in _failures(options, model)]
    for message in dead:
        print(f"dead: {message}", file=sys.stderr)
    return 1 if dead else 0


def _failures(options: argparse.Namespace, model: str) -> list[str]:
    with PoseClient(options.url, model=model, timeout_s=options.timeout, retry=None, tls=_tls(options)) as client:
        try:
            client.estimate(_PICTURE)
            client.estimate_boxes(_PICTURE, [_BOX])
        except PoseClientError as error:
            return [] if is_busy(error) else [f"{model}: {error}"]
    return []


def is_busy(error: PoseClientError) -> bool:
    """Return whether the error comes from a living server; a refused connection does not."""
    if isinstance(error, ServerUnavailable):
        return "refused" not in str(error).lower()
    return isinstance(error, _BUSY)


def _tls(options: argparse.Namespace) -> Tls | None:
    files = (options.tls_ca, options.tls_key, options.tls_cert)
    return Tls(*files) if any(files) else None


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m deploy.canary", description=__doc__)
    parser.add_argument("--url", default="localhost:8001", help="gRPC address (default: %(default)s)")
    parser.add_argument("--model", action="append", help="network, as in the client; may be repeated (default: pose)")
    parser.add_argument("--timeout", type=float, default=4.0, metavar="S", help="seconds for each of two requests")
    parser.add_argument("--tls-ca", metavar="PEM", help="trust these roots")
    parser.add_argument("--tls-key", metavar="PEM", help="this client's key")
    parser.add_argument("--tls-cert", metavar="PEM", help="this client's certificate")
    options = parser.parse_args(argv)
    options.model = options.model or ["pose"]
    return options


if __name__ == "__main__":
    sys.exit(main())
