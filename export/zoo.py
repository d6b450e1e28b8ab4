"""The published weights, from the one data file beside this module."""

import functools
import json
from dataclasses import dataclass
from importlib import resources


@dataclass(frozen=True)
class Entry:
    """One published file.

    Attributes:
        name: file name here.
        publisher: who offers it.
        address: https address; of a Google Drive file, its page.
        licence: of the weights, as far as the publisher says.
        accuracy: as published; not measured here.
        input: width x height of the network's input.
        keypoints: number of them; None for detectors.
        member: name inside the zip file at the address, None where the address is the file itself.
        sha256: where it is known; otherwise that of the first download is recorded.
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


@functools.cache
def zoo() -> dict[str, Entry]:
    """Return every published file by name."""
    text = (resources.files(__package__) / "zoo.json").read_text(encoding="utf-8")
    return {name: Entry(name, **fields) for name, fields in json.loads(text).items()}


def entry(name: str) -> Entry:
    """Return the published file called `name`; without its ending where only one file has that stem.

    Raises:
        ValueError: there is none, or more than one (the message lists those that exist).
    """
    if name in zoo():
        return zoo()[name]
    alike = [known for known in zoo() if known.rpartition(".")[0] == name]
    if len(alike) == 1:
        return zoo()[alike[0]]
    if alike:
        offers = ", ".join(f"{known} ({zoo()[known].publisher})" for known in alike)
        raise ValueError(f"{name} is published as {offers}; say which")
    raise ValueError(f"unknown file {name!r}; known: {', '.join(zoo())}")
