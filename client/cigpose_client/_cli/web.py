"""Pictures from the web, by the standard library: http and https, limited in size and time."""

import time
from http.client import HTTPException, HTTPResponse
from pathlib import PurePosixPath
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    UnknownHandler,
)

LIMIT = 32_000_000
"""Bytes of the largest picture that the server takes."""

_LONGEST_NAME = 100
_HANDLERS = (  # of the library's, those for the web alone: a redirection cannot lead to a file
    ProxyHandler,
    HTTPHandler,
    HTTPSHandler,
    HTTPDefaultErrorHandler,
    HTTPRedirectHandler,
    HTTPErrorProcessor,
    UnknownHandler,
)


def is_address(text: str) -> bool:
    """Return whether `text` is a web address."""
    return text.lower().startswith(("http://", "https://"))


def file_name(address: str) -> str:
    """Return the name of the file that an address ends with, `picture` where it names none."""
    try:
        name = PurePosixPath(unquote(urlsplit(address).path)).name
    except ValueError:  # no address at all; asking for it says so
        return "picture"
    name = "".join(letter for letter in name if letter.isprintable())[-_LONGEST_NAME:]
    return "picture" if name in ("", "..") else name


def fetch(address: str, timeout_s: float) -> bytes:
    """Return what is at the address.

    Raises:
        OSError: it is not available, larger than `LIMIT` or not complete within `timeout_s` seconds; the text says
            which, without the address.
    """
    opener = OpenerDirector()
    for handler in _HANDLERS:
        opener.add_handler(handler())
    end_s = time.monotonic() + timeout_s
    try:
        with opener.open(Request(address, headers={"User-Agent": "cigpose-client"}), timeout=timeout_s) as response:
            return _body(response, end_s)
    except HTTPError as error:
        error.close()
        raise OSError(f"the web server answers {error.code} {error.reason}") from error
    except (URLError, TimeoutError, HTTPException) as error:
        cause = getattr(error, "reason", error)
        if isinstance(cause, TimeoutError):
            raise OSError(f"not complete within {timeout_s:g} s; raise --timeout") from error
        raise OSError(f"cannot be fetched: {getattr(cause, 'strerror', None) or cause}") from error


def _body(response: HTTPResponse, end_s: float) -> bytes:
    data = bytearray()
    while chunk := response.read1(1 << 16):
        data += chunk
        if len(data) > LIMIT:
            raise OSError(f"larger than {LIMIT} bytes, the most that the server takes")
        if time.monotonic() > end_s:
            raise TimeoutError
    if response.length:
        raise OSError(f"cut: {response.length} of {len(data) + response.length} bytes are missing")
    return bytes(data)
