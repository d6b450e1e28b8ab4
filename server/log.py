"""What tritonserver says: written to a file or passed on to stderr, and searched for the reason of a failed start."""

import contextlib
import os
import re
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO

_KEPT_BYTES = 1 << 18
_LAST_WORDS_S = 1.0
_FAILURES = (  # where Triton names a model and why it is not served
    re.compile(r"failed to load model '(?P<model>[^']+)': (?P<reason>.+)"),
    re.compile(r"failed to load '(?P<model>[^']+)' version \d+: (?P<reason>.+)"),
    re.compile(r"Poll failed for model directory '(?P<model>[^']+)': (?P<reason>.+)"),
)
_ERROR = re.compile(r"E\d{4} .*?\] \"?(?P<reason>.+)")  # glog's form: E1120 19:24:46 ...
_HARMLESS = re.compile(r"CudaDriverHelper|CUDA driver version is insufficient")  # said on every machine without a GPU
_REMEDIES = (  # in the reason; in plain words, with the remedy
    (r"KIND_GPU but no GPUs", "there is no GPU that the server can use; choose another profile: {cpu_profiles}"),
    (r"accelerator openvino needs", "the package openvino is missing; pip install openvino, or choose the profile cpu"),
    (
        r"No module named '([\w.]+)'",
        "the Python package {0} is missing; `make install` brings all that the models need into .venv",
    ),
    (
        r"INVALID_PROTOBUF|Protobuf parsing failed|No graph was found",
        "its ONNX file is damaged or cut short; build the repository again with `python -m export repository`",
    ),
    (
        r"failed to read text proto",
        "its config.pbtxt cannot be read; build the repository again with `python -m export repository`",
    ),
    (r"unrecognized option '([^']+)'", "tritonserver does not know the flag {0}; `tritonserver --help` lists them"),
)


class ServerLog:
    """The output of one tritonserver.

    Args:
        path: the file for it; None passes it on to our stderr.
    """

    def __init__(self, path: Path | None):
        self.path = path
        self._file: IO[bytes] | None = path.open("wb") if path else None
        self._kept = b""
        self._keeps = True
        self._thread: threading.Thread | None = None

    @property
    def target(self) -> IO[bytes] | int:
        """Where the process writes."""
        return self._file or subprocess.PIPE

    def follow(self, process: "subprocess.Popen[bytes]") -> None:
        """Read what the process writes to the pipe, if that is its target."""
        if process.stdout is not None:
            self._thread = threading.Thread(target=self._pass_on, args=(process.stdout,), daemon=True)
            self._thread.start()

    def forget(self) -> None:
        """Keep no more of what is passed on: the server has started."""
        self._keeps, self._kept = False, b""

    def close(self) -> None:
        """Wait for the last words of a process that has ended."""
        if self._thread:
            self._thread.join(_LAST_WORDS_S)
        if self._file:
            self._file.close()

    def explanation(self, cpu_profiles: Sequence[str]) -> str:
        """Return why the server failed, to be put behind a sentence: errors and end of a file, and the reason last."""
        if self._thread:
            self._thread.join(_LAST_WORDS_S)
        content = self.path.read_bytes() if self.path else self._kept
        text = content.decode("utf-8", errors="replace")
        why = reason(text, cpu_profiles)
        if self.path:
            return f"; its errors and the end of its log:\n{_tail(text)}\n{why}".rstrip()
        return f": {why}" if why else ""

    def _pass_on(self, stream: IO[bytes]) -> None:
        with stream:
            while chunk := os.read(stream.fileno(), 1 << 16):
                if self._keeps:
                    self._kept = (self._kept + chunk)[-_KEPT_BYTES:]
                with contextlib.suppress(OSError):  # nobody reads our stderr any more; the server must go on
                    while chunk:
                        chunk = chunk[os.write(2, chunk) :]


def reason(text: str, cpu_profiles: Sequence[str]) -> str:
    """Return in one line which models cannot load, why, and what to do; empty when the log does not say.

    Args:
        text: the log.
        cpu_profiles: what to offer where there is no GPU.
    """
    found = {match["model"]: match["reason"] for pattern in _FAILURES for match in pattern.finditer(text)}
    if not found:
        return _explained(_last_error(text), cpu_profiles)
    sentences = {model: _explained(said, cpu_profiles, model) for model, said in found.items()}
    first = next(iter(sentences.values()))
    names = ", ".join(model for model, sentence in sentences.items() if sentence == first)
    return f"{names} cannot load: {first}"


def _explained(said: str, cpu_profiles: Sequence[str], model: str = "") -> str:
    for pattern, words in _REMEDIES:
        if match := re.search(pattern, said):
            return words.format(*match.groups(), cpu_profiles=", ".join(cpu_profiles) or "none is left")
    said = re.split(r"\\n|\"\s*$", said)[0]  # newer servers quote the message
    return re.sub(rf"^((Internal|Invalid argument|TritonModelException|{re.escape(model)}): )+", "", said).strip()


def _last_error(text: str) -> str:
    option = re.search(r"unrecognized option '.*'", text)
    errors = [match["reason"] for match in _ERROR.finditer(text) if not _HARMLESS.search(match["reason"])]
    return option[0] if option else errors[-1] if errors else ""


def _tail(text: str, count: int = 20) -> str:
    """Return a log's errors and its end, without Triton's tables."""
    lines = [line for line in text.splitlines() if line and not line.startswith(("|", "+-"))]
    return "\n".join([line for line in lines[:-count] if _ERROR.match(line)] + lines[-count:])
