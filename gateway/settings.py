"""What one gateway serves, for whom, and its limits."""

import re
from dataclasses import dataclass
from pathlib import Path

from cigpose_client import MAX_PICTURE_BYTES, Tls

_TOKEN = re.compile(r"[A-Za-z0-9._~-]+")  # also the characters of a WebSocket's subprotocol


@dataclass(frozen=True)
class Settings:
    """Settings of a gateway.

    Attributes:
        url: gRPC address of the pose server, as for `PoseClient`.
        tls: certificates of the connection to it; None for an unencrypted one.
        models: offered networks; empty for all that the server lists.
        timeout_s: longest deadline of a request in seconds, and the default one.
        upload_s: longest time in seconds in which a body must arrive.
        max_bytes: limit of an encoded picture.
        max_body_bytes: limit of all bodies and frames together that are in memory at one time.
        max_frame_bytes: limit of an encoded frame of a stream.
        max_requests: limit of concurrent requests.
        max_streams: limit of concurrent streams.
        spare_connections: limit of open connections, in addition to `max_requests` and `max_streams`.
        stream_requests: limit of concurrent requests that the streams send to the server.
        rate: requests a second of one caller; 0 for no limit. Short bursts of twice that number are accepted.
        token: callers must send it as `Authorization: Bearer`; empty for none.
        cors: origins whose pages may call; `*` for every origin.
        forward_trace: whether callers' `traceparent` is passed on. The server then traces each such request.
        samples: folder of the page's sample pictures; None for none.
        note: sentence that the page shows about its networks.

    Raises:
        ValueError: `token` holds other characters than letters, digits and `._~-`.
    """

    url: str = "localhost:8001"
    tls: Tls | None = None
    models: tuple[str, ...] = ()
    timeout_s: float = 30.0
    upload_s: float = 30.0
    max_bytes: int = MAX_PICTURE_BYTES
    max_body_bytes: int = 8 * MAX_PICTURE_BYTES
    max_frame_bytes: int = 2_000_000
    max_requests: int = 256
    max_streams: int = 256
    spare_connections: int = 256
    stream_requests: int = 32
    rate: float = 100.0
    token: str = ""
    cors: tuple[str, ...] = ()
    forward_trace: bool = False
    samples: Path | None = None
    note: str = ""

    def __post_init__(self) -> None:
        if self.token and not _TOKEN.fullmatch(self.token):
            raise ValueError("the token must consist of letters, digits and ._~-")
