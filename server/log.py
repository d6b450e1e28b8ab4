"""The output of tritonserver: kept in a file or passed on to stderr, and searched for the cause of a failed start."""

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
_FAILURES = (  # lines in which Triton names a model and the reason why it is not served
    re.compile(r"failed to load model '(?P<model>[^']+)': (?P<reason>.+)"),
    re.compile(r"failed to load '(?P<model>[^']+)' version \d+: (?P<reason>.+)"),
    re.compile(r"Poll failed for model directory '(?P<model>[^']+)': (?P<reason>.+)"),
)
_ERROR = re.compile(r"E\d{4} .*?\] \"?(?P<reason>.+)")  # glog's form: E1120 19:24:46 ...
_HARMLESS = re.compile(r"CudaDriverHelper|CUDA driver version is insufficient")  # logged on every machine without a GPU
_REMEDIES = (  # pattern in the reason -> explanation with a remedy
    (r"KIND_GPU but no GPUs", "there is no GPU that the server can use; choose another profile: {cpu_profiles}"),
    (r"accelerator openvino needs", "the package openvino is missing; pip install openvino, or choose the profile cpu"),
    (
        r"No module named '([\w.]+)'",
        "the Python package {0} is missing; `make install` installs all packages of the models into .venv",
    ),
    (
        r"INVALID_PROTOBUF|Protobuf parsing failed|No graph was found",
        "its ONNX file is damaged or truncated; build the repository again with `python -m export repository`",
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
        path: file for the output; None passes it on to stderr.
    """

    def __init__(self, path: Path | None):
        self.path = path
        self._file: IO[bytes] | None = path.open("wb") if path else None
        self._kept = b""
        self._keeps = True
        self._thread: threading.Thread | None = None

    @property
    def target(self) -> IO[bytes] | int:
        """The process's stdout: the file or a pipe."""
        return self._file or subprocess.PIPE

    def follow(self, process: "subprocess.Popen[bytes]") -> None:
        """Pass on the output of the process, if it goes to a pipe."""
        if process.stdout is not None:
            self._thread = threading.Thread(target=self._pass_on, args=(process.stdout,), daemon=True)
            self._thread.start()

    def forget(self) -> None:
        """Stop keeping output for `explanation`. Called once the server has started."""
        self._keeps, self._kept = False, b""

    def close(self) -> None:
        """Wait for the remaining output of an ended process, then close the file."""
        if self._thread:
            self._thread.join(_LAST_WORDS_S)
        if self._file:
            self._file.close()

    def explanation(self, cpu_profiles: Sequence[str]) -> str:
        """Return the rest of an error message: errors and end of the log file, if there is one, then the cause."""
        text = self._text()
        why = reason(text, cpu_profiles)
        if self.path:
            return f"; its errors and the end of its log:\n{_tail(text)}\n{why}".rstrip()
        return f": {why}" if why else ""

    def names_a_model(self) -> bool:
        """Return whether the log names a model that cannot be loaded."""
        return bool(_models(self._text()))

    def _text(self) -> str:
        if self._thread:
            self._thread.join(_LAST_WORDS_S)
        content = self.path.read_bytes() if self.path else self._kept
        return content.decode("utf-8", errors="replace")

    def _pass_on(self, stream: IO[bytes]) -> None:
        with stream:
            while chunk := os.read(stream.fileno(), 1 << 16):
                if self._keeps:
                    self._kept = (self._kept + chunk)[-_KEPT_BYTES:]
                with contextlib.suppress(OSError):  # stderr is closed; the server must go on
                    while chunk:
                        chunk = chunk[os.write(2, chunk) :]


def reason(text: str, cpu_profiles: Sequence[str]) -> str:
    """Return one line with the models that cannot load, the cause and the remedy; empty when the log has no cause.

    Args:
        text: the log.
        cpu_profiles: profiles to suggest on a machine without a GPU.
    """
    reasons = _models(text)
    if not reasons:
        return _explained(_last_error(text), cpu_profiles)
    sentences = {model: _explained(raw, cpu_profiles, model) for model, raw in reasons.items()}
    first = next(iter(sentences.values()))
    names = ", ".join(model for model, sentence in sentences.items() if sentence == first)
    return f"{names} cannot load: {first}"


def _models(text: str) -> dict[str, str]:
    """Return the reason for each model that cannot be loaded."""
    return {match["model"]: match["reason"] for pattern in _FAILURES for match in pattern.finditer(text)}


def _explained(raw: str, cpu_profiles: Sequence[str], model: str = "") -> str:
    for pattern, words in _REMEDIES:
        if match := re.search(pattern, raw):
            return words.format(*match.groups(), cpu_profiles=", ".join(cpu_profiles) or "none is left")
    raw = re.split(r"\\n|\"\s*$", raw)[0]  # newer servers quote the message
    return re.sub(rf"^((Internal|Invalid argument|TritonModelException|{re.escape(model)}): )+", "", raw).strip()


def _last_error(text: str) -> str:
    option = re.search(r"unrecognized option '.*'", text)
    errors = [match["reason"] for match in _ERROR.finditer(text) if not _HARMLESS.search(match["reason"])]
    return option[0] if option else errors[-1] if errors else ""


def _tail(text: str, count: int = 20) -> str:
    """Return a log's errors and its end, without Triton's tables."""
    lines = [line for line in text.splitlines() if line and not line.startswith(("|", "+-"))]
    return "\n".join([line for line in lines[:-count] if _ERROR.match(line)] + lines[-count:])
