"""One member of a zip file at an address, by byte ranges; a broken transfer continues where it broke.

remotezip reads the archive's directory. The member's bytes, still compressed, arrive in a file beside the target, named
by the member's CRC, so that only the same member continues it.
"""

import shutil
import struct
import zipfile
import zlib
from pathlib import Path

import remotezip  # type: ignore[import-untyped]
import requests
import tqdm  # type: ignore[import-untyped]
import urllib3

TRANSFER_FAILURES = (remotezip.RemoteZipError, requests.RequestException, urllib3.exceptions.HTTPError)
_CHUNK = 1 << 16  # what a broken transfer loses at most
_HEADER = struct.Struct("<26xHH")  # before a member's data: 26 bytes, the lengths of its name and of further fields


def fetch_member(address: str, member: str, path: Path, *, timeout_s: tuple[float, float], tries: int) -> None:
    """Write the member to `path`; the next call continues a broken transfer.

    Args:
        address: address of the zip file.
        member: name of the member.
        path: path of the file to write.
        timeout_s: timeouts for connecting and between bytes, in seconds.
        tries: number of transfers before the failure is raised.

    Raises:
        OSError: the archive does not hold the member, or only a part of it.
        RemoteZipError: the server cannot be reached, or does not serve byte ranges.
        RequestException: the connection broke, every time.
        urllib3.exceptions.HTTPError: it broke while the directory was read.
    """
    for left in reversed(range(tries)):
        try:
            info, part = _transfer(address, member, path, timeout_s)
            break
        except (KeyError, zipfile.BadZipFile) as error:
            raise OSError(f"{address} does not hold {member} whole: {error}") from error
        except TRANSFER_FAILURES:
            if not left:
                raise
    try:
        _unpack(part, info, path)
    except (zipfile.BadZipFile, zlib.error, EOFError, struct.error) as error:
        raise OSError(f"{address} does not hold {member} whole: {error}") from error
    finally:
        part.unlink()


def _transfer(address: str, member: str, path: Path, timeout_s: tuple[float, float]) -> tuple[zipfile.ZipInfo, Path]:
    """Fetch what is missing of the member; return its entry in the directory and the file of its bytes."""
    with remotezip.RemoteZip(address, timeout=timeout_s) as archive:
        info = archive.getinfo(member)
        begins = [*(other.header_offset for other in archive.infolist()), archive.start_dir]
    end = min(begin for begin in begins if begin > info.header_offset)
    part = path.with_name(f"{path.stem}.{info.CRC:08x}.part")
    have = part.stat().st_size if part.exists() else 0
    first = info.header_offset + have
    if first >= end:
        return info, part
    wanted = {"Range": f"bytes={first}-{end - 1}"}
    with (
        requests.get(address, headers=wanted, stream=True, timeout=timeout_s) as answer,
        part.open("ab") as sink,
        tqdm.tqdm(total=have + end - first, initial=have, unit="B", unit_scale=True, desc=path.stem) as progress,
    ):
        answer.raise_for_status()
        for chunk in answer.iter_content(_CHUNK):
            progress.update(sink.write(chunk))
    return info, part


def _unpack(part: Path, info: zipfile.ZipInfo, path: Path) -> None:
    """Write the member; zipfile checks its length and CRC at the end."""
    with part.open("rb") as source, path.open("wb") as sink:
        source.seek(_HEADER.size + sum(_HEADER.unpack(source.read(_HEADER.size))))
        shutil.copyfileobj(zipfile.ZipExtFile(source, "r", info), sink)
