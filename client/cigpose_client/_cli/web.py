"""Pictures from web addresses, with limits of size and time."""

import time
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import PurePosixPath
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from cigpose_client._protocol import MAX_PICTURE_BYTES

_LONGEST_NAME = 100


class _WebRedirects(HTTPRedirectHandler):
    """Follows redirections to web addresses only; urllib's own handler also allows FTP."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        if not is_address(newurl):
            raise HTTPError(req.full_url, code, f"{msg}, a redirection to {newurl}", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def is_address(text: str) -> bool:
    """Return whether `text` is a web address."""
    return text.lower().startswith(("http://", "https://"))


def file_name(address: str) -> str:
    """Return the file name at the end of an address, or `picture` if there is none."""
    try:
        name = PurePosixPath(unquote(urlsplit(address).path)).name
    except ValueError:  # not a valid address; `fetch` reports it
        return "picture"
    name = "".join(letter for letter in name if letter.isprintable())[-_LONGEST_NAME:]
    return "picture" if name in ("", "..") else name


def fetch(address: str, timeout_s: float) -> bytes:
    """Return the content of a web address.

    Raises:
        OSError: it is unavailable, exceeds the server's limit, or is not complete within `timeout_s` seconds; the text
            names the cause without the address.
    """
    end_s = time.monotonic() + timeout_s
    request = Request(address, headers={"User-Agent": "cigpose-client"})
    try:
        with build_opener(_WebRedirects).open(request, timeout=timeout_s) as response:
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
        if len(data) > MAX_PICTURE_BYTES:
            raise OSError(f"larger than {MAX_PICTURE_BYTES} bytes, the most that the server takes")
        if time.monotonic() > end_s:
            raise TimeoutError
    if response.length:
        raise OSError(f"cut: {response.length} of {len(data) + response.length} bytes are missing")
    return bytes(data)
