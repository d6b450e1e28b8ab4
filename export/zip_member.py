"""Downloads one member of a remote zip file by byte ranges, and resumes broken transfers.

remotezip reads the archive's directory and the member. The bytes of the member that have arrived, still compressed, are
kept in a file beside the target. Its name holds the member's CRC, so it is only continued with the same member.
"""

import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import remotezip  # type: ignore[import-untyped]
import tqdm  # type: ignore[import-untyped]
import urllib3

TRANSFER_FAILURES = (remotezip.RemoteZipError, urllib3.exceptions.HTTPError)
_CHUNK = 1 << 16  # a broken transfer loses no more than this


def fetch_member(address: str, member: str, path: Path, *, timeout_s: tuple[float, float], tries: int) -> None:
    """Write the member to `path`. A broken transfer leaves its bytes beside it, and the next one continues there.

    Args:
        address: address of the zip file.
        member: name of the member.
        path: path of the file to write.
        timeout_s: timeouts for connecting and between bytes, in seconds.
        tries: number of transfers before the failure is raised.

    Raises:
        OSError: the archive does not hold the member, or only a part of it.
        RemoteZipError: the server cannot be reached, or does not serve byte ranges.
        urllib3.exceptions.HTTPError: the connection broke in the last try.
    """
    fetcher = _Keeping(address, timeout=timeout_s)
    for left in reversed(range(tries)):
        try:
            with remotezip.RemoteZip(address, fetcher=lambda *_, **__: fetcher) as archive:
                fetcher.part = _part(path, archive.getinfo(member))
                _copy(archive, member, path)
            fetcher.part.unlink(missing_ok=True)  # a member in the archive's last bytes arrives with the directory
            return
        except (KeyError, zipfile.BadZipFile, zlib.error, EOFError) as error:
            if fetcher.part:
                fetcher.part.unlink(missing_ok=True)
            raise OSError(f"{address} does not hold {member} whole: {error}") from error
        except TRANSFER_FAILURES:
            if not left or not fetcher.part:
                raise


def _part(path: Path, info: zipfile.ZipInfo) -> Path:
    return path.with_name(f"{path.stem}.{info.CRC:08x}.part")


def _copy(archive: zipfile.ZipFile, member: str, path: Path) -> None:
    size = archive.getinfo(member).file_size
    with (
        archive.open(member) as source,
        path.open("wb") as sink,
        tqdm.tqdm(total=size, unit="B", unit_scale=True, desc=path.stem) as progress,
    ):
        while chunk := source.read(_CHUNK):  # zipfile checks length and CRC at the end
            sink.write(chunk)
            progress.update(len(chunk))


class _Keeping(remotezip.RemoteFetcher):  # type: ignore[misc]
    """Fetches ranges as remotezip does, except those bytes of a member that the file `part` already holds."""

    part: Path | None = None

    def fetch(self, data_range: tuple[int, int | None], stream: bool = False) -> Any:
        """Return remotezip's buffer of a range; only members are streamed."""
        if not stream or self.part is None:
            return super().fetch(data_range, stream)
        first, last = data_range
        assert last is not None  # for the type checker: a member has an end
        kept = _Kept(self.part, lambda have: super(_Keeping, self).fetch((first + have, last), stream=True))
        return remotezip.PartialBuffer(kept, first, last - first + 1, stream=True)


class _Kept:
    """A stream of the bytes of a file, then of those from the network, which are appended to the file."""

    def __init__(self, part: Path, fetch_from: Callable[[int], Any]):
        self._file = part.open("a+b")
        self._have = self._file.seek(0, 2)
        self._position = 0
        self._fetch_from = fetch_from
        self._rest: Any = None

    @property
    def closed(self) -> bool:
        return self._file.closed

    def tell(self) -> int:
        return self._position

    def read(self, size: int) -> bytes:
        data = b""
        while len(data) < size and (chunk := self._some(size - len(data))):
            data += chunk
            self._position += len(chunk)
        return data

    def close(self) -> None:
        self._file.close()
        if self._rest is not None:
            self._rest.close()

    def _some(self, size: int) -> bytes:
        if self._position < self._have:
            self._file.seek(self._position)
            return self._file.read(min(size, self._have - self._position))
        if self._rest is None:
            self._rest = self._fetch_from(self._have)
        chunk: bytes = self._rest.read(min(size, _CHUNK))
        self._file.write(chunk)
        return chunk
