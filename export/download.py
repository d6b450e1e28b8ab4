"""Fetches published files. Interrupted downloads resume; a file gets its name only after its checksum was compared.

gdown fetches from Google Drive and from plain addresses, remotezip fetches single members of zip files.
"""

import socket
import urllib.parse
from pathlib import Path

import gdown
import gdown.exceptions
import requests
from cigpose_client.outputs import write_file

from export import graph_edit
from export.zip_member import TRANSFER_FAILURES, fetch_member
from export.zoo import Entry

RECORD = "SHA256SUMS"  # in the folder of the files; `sha256sum --check SHA256SUMS` reads it, too
_TIMEOUT_S = (10.0, 60.0)  # to connect, and between bytes
_RETRIES = 3
_BROKEN = (gdown.exceptions.DownloadError, requests.exceptions.RequestException, *TRANSFER_FAILURES)


def fetch(entry: Entry, folder: Path) -> str:
    """Fetch a file into `folder` and return one line that states how it was checked.

    An existing file is checked, not fetched. A broken download leaves its bytes beside the file, and the next one
    continues from there.

    Raises:
        ValueError: the checksum is neither the publisher's nor the one recorded at the first download. The downloaded
            file is then removed.
        OSError: the publisher could not be reached, or the connection broke.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target, recorded = folder / entry.name, _recorded(folder)
    if target.exists():
        return f"{target}: already present, {_check(target, entry, recorded)}"
    fetched = folder / f"{entry.name}.unchecked"
    fetched.unlink(missing_ok=True)
    try:
        if entry.member:
            fetch_member(entry.address, entry.member, fetched, timeout_s=_TIMEOUT_S, tries=_RETRIES)
        else:
            _fetch_file(entry, fetched)
    except _BROKEN as error:
        raise OSError(f"{entry.name}: {_explain(entry, error)}") from error
    try:
        checked = _check(fetched, entry, recorded)
    except ValueError:
        fetched.unlink()
        raise
    fetched.replace(target)
    return f"{target}: {checked}"


def _fetch_file(entry: Entry, path: Path) -> None:
    gdown.download(entry.address, str(path), use_cookies=False, resume=True, timeout=_TIMEOUT_S, retries=_RETRIES)


def _check(path: Path, entry: Entry, recorded: dict[str, str]) -> str:
    """Compare with the published checksum, else with the recorded one, else record it. Return what was done."""
    _refuse_web_page(path)
    digest = graph_edit.sha256(path)
    for wanted, whose in ((entry.sha256, "published"), (recorded.get(entry.name), "recorded")):
        if wanted is None:
            continue
        if digest != wanted:
            raise ValueError(
                f"{entry.name}: sha256 is {digest}, {whose} is {wanted}; the file is damaged or not the same"
            )
        return f"sha256 {digest} as {whose}"
    _write_record(path.parent, recorded | {entry.name: digest})
    return f"sha256 {digest}, recorded in {path.parent / RECORD}: none is published; later checks use it"


def _refuse_web_page(path: Path) -> None:
    with path.open("rb") as file:
        start = file.read(512).lstrip().lower()
    if start.startswith((b"<!doctype", b"<html")):
        raise ValueError(f"{path.name}: received a web page instead of the file; try the address in a browser")


def _recorded(folder: Path) -> dict[str, str]:
    path = folder / RECORD
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return {name: digest for digest, name in (line.split("  ", 1) for line in lines)}


def _write_record(folder: Path, digests: dict[str, str]) -> None:
    write_file(folder / RECORD, "".join(f"{digests[name]}  {name}\n" for name in sorted(digests)))


def _explain(entry: Entry, error: Exception) -> str:
    """Return a readable reason, from the chain of the libraries' exceptions."""
    chain: list[BaseException] = [error]
    while inner := chain[-1].__cause__ or chain[-1].__context__:
        chain.append(inner)
    host = urllib.parse.urlsplit(entry.address).netloc
    if any(isinstance(link, requests.exceptions.HTTPError) for link in chain):
        return f"{entry.address} is not available: {error}"
    if any(isinstance(link, socket.gaierror | ConnectionRefusedError) for link in chain):
        return f"{host} cannot be reached; is this machine online? ({chain[-1]})"
    return f"the transfer from {host} failed; try again to continue ({error})"
