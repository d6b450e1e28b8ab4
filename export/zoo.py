"""The published weights, read from the data file beside this module."""

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources

_NPM = "npm:"


@dataclass(frozen=True)
class Entry:
    """One published file.

    Attributes:
        name: name of the downloaded file.
        publisher: name of the publisher.
        address: https address; for a file on Google Drive, its page; `npm:NAME@VERSION` for files of an npm package.
        licence: licence of the weights, as stated by the publisher.
        accuracy: published accuracy; not measured here.
        input: width x height of the network's input.
        keypoints: number of keypoints; None for detectors.
        member: name inside the zip file at the address; None when the address is the file itself.
        sha256: published checksum; None: the checksum of the first download is recorded.
        files: paths inside an npm package, with their sha256.
    """

    name: str
    publisher: str
    address: str
    licence: str
    accuracy: str
    input: str
    keypoints: int | None = None
    member: str | None = None
    sha256: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def package(self) -> str:
        """The npm package, or an empty text."""
        return self.address.removeprefix(_NPM) if self.address.startswith(_NPM) else ""


@functools.cache
def zoo() -> dict[str, Entry]:
    """Return every published file by name."""
    text = (resources.files(__package__) / "zoo.json").read_text(encoding="utf-8")
    return {name: Entry(name, **fields) for name, fields in json.loads(text).items()}


def entry(name: str) -> Entry:
    """Return the published file called `name`. The ending may be left out when only one file has that stem.

    Raises:
        ValueError: there is no such file, or more than one (the message lists them).
    """
    if name in zoo():
        return zoo()[name]
    alike = [known for known in zoo() if known.rpartition(".")[0] == name]
    if len(alike) == 1:
        return zoo()[alike[0]]
    if alike:
        offers = ", ".join(f"{known} ({zoo()[known].publisher})" for known in alike)
        raise ValueError(f"{name} is published as {offers}; choose one")
    raise ValueError(f"unknown file {name!r}; known: {', '.join(zoo())}")
