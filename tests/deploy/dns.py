"""A DNS server for one name, with which tests let servers join and leave a headless Service."""

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Sequence

_ANSWER, _NO_SUCH_NAME = 0x8580, 0x8583  # authoritative answers
_TTL_S = 1


@contextlib.contextmanager
def running_dns(name: str, addresses: Callable[[], Sequence[str]]) -> Iterator[str]:
    """Answer queries for the IPv4 addresses of `name` during the block; yield the server's host:port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(0.2)
        stop = threading.Event()
        thread = threading.Thread(target=_serve, args=(server, name, addresses, stop))
        thread.start()
        try:
            yield f"127.0.0.1:{server.getsockname()[1]}"
        finally:
            stop.set()
            thread.join()


def _serve(server: socket.socket, name: str, addresses: Callable[[], Sequence[str]], stop: threading.Event) -> None:
    while not stop.is_set():
        with contextlib.suppress(TimeoutError):
            question, sender = server.recvfrom(512)
            server.sendto(answer(question, name, addresses()), sender)


def answer(question: bytes, name: str, addresses: Sequence[str]) -> bytes:
    """Return the reply to one query (RFC 1035, section 4). Other names do not exist."""
    end = question.index(b"\0", 12) + 5  # header, labels, their final zero, type and class
    known = question[12 : end - 4] == _labels(name)
    found = addresses if known else ()
    header = question[:2] + struct.pack(">5H", _ANSWER if known else _NO_SUCH_NAME, 1, len(found), 0, 0)
    records = (struct.pack(">3HIH", 0xC00C, 1, 1, _TTL_S, 4) + socket.inet_aton(address) for address in found)
    return header + question[12:end] + b"".join(records)


def _labels(name: str) -> bytes:
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"
