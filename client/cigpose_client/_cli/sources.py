"""Sources of frames: files, addresses and cameras, as OpenCV opens them."""

import argparse
import json
import os
import re
import subprocess
import sys
import threading
import urllib.parse
import urllib.request
from typing import Any

from cigpose_client._cli.files import PIPE
from cigpose_client._extras import opencv

_SILENCE_MS = 10_000  # after which a connection counts as broken
_POLL_S = 0.05
_PASSWORD = re.compile(r"(?<=://)([^/:@\s]*):[^/\s]*@")
_TRIAL = """
import json, sys
sys.path, source, limits = json.loads(sys.argv[1])
import cv2
sys.exit(not cv2.VideoCapture(source, cv2.CAP_ANY, limits).isOpened())
"""


def given_source(text: str) -> str:
    """Return a source as given; a file that is named by an address becomes its path.

    Raises:
        argparse.ArgumentTypeError: the source is stdin.
    """
    if text == PIPE:
        raise argparse.ArgumentTypeError("films are not read from stdin; give a file or an address")
    is_path = text.lower().startswith("file:")
    return urllib.request.url2pathname(urllib.parse.urlsplit(text).path) if is_path else text


def is_address(source: str) -> bool:
    """Return whether a source is on the network."""
    return "://" in source


def is_file(source: str) -> bool:
    """Return whether a source is a path: neither an address nor the number of a camera."""
    return not (source.isdecimal() or is_address(source))


def masked(text: str) -> str:
    """Return the text with *** for the passwords of addresses in it."""
    return _PASSWORD.sub(r"\1:***@", text)


def open_capture(source: str) -> Any:
    """Return OpenCV's capture of a source, open or not. It turns pictures upright, as the film says."""
    cv2 = opencv("reading video")
    if source.isdecimal():
        capture = cv2.VideoCapture(int(source))
    elif is_address(source):
        capture = cv2.VideoCapture(source, cv2.CAP_ANY, _limits(cv2))
    else:
        capture = cv2.VideoCapture(os.path.abspath(source))  # FFmpeg takes what is before a colon for a protocol
    capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
    return capture


def can_be_opened(address: str, over: threading.Event) -> bool:
    """Return whether a process of its own can open an address; False if `over` is set before.

    Within a process, OpenCV opens one video at a time, for reading and for writing, and in no order: an address that
    hangs would delay all others.
    """
    given = json.dumps([sys.path, address, _limits(opencv("reading video"))])
    command, quiet = [sys.executable, "-I", "-c", _TRIAL, given], subprocess.DEVNULL
    # in a session of its own, which Ctrl-C does not reach
    with subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True) as trial:
        while trial.poll() is None and not over.wait(_POLL_S):
            pass
        trial.kill()
    return trial.returncode == 0


def _limits(cv2: Any) -> list[int]:
    return [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _SILENCE_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, _SILENCE_MS]
