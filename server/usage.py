"""Command lines of the checkout: input and output paths as types, errors as one line and an exit status."""

import argparse
import functools
import importlib.util
import os
import ssl
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ParamSpec

from cigpose_client import PoseClientError
from cigpose_client.outputs import OutputRefused, check_apart, check_outputs, is_special

_P = ParamSpec("_P")
_LAST_PORT = 65535


class UsageError(ValueError):
    """The command line names something that does not exist, or combines options that exclude each other."""


def input_path(text: str) -> Path:
    """Return the path. The type of options that name a file or folder to read."""
    return Path(text)


def output_path(text: str) -> Path:
    """Return the path. The type of options that name a file or folder to write."""
    return Path(text)


def port(text: str) -> int:
    """Return the port, from 0 to 65535. The type of options that name a port to listen on."""
    if not text.isdecimal() or int(text) > _LAST_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; choose one from 0 to {_LAST_PORT}")
    return int(text)


def number(kind: type[int] | type[float], least: float, most: float) -> Callable[[str], float]:
    """Return the type of options that take a number from `least` to `most`."""

    def within(text: str) -> float:
        value = kind(text)
        if not least <= value <= most:  # also NaN
            raise argparse.ArgumentTypeError(f"{text} is not from {least:g} to {most:g}")
        return value

    within.__name__ = kind.__name__  # argparse names the type in its message
    return within


def pem_problems(certificate: Path, key: Path, authority: Path | None = None) -> list[str]:
    """Return what is wrong with files of TLS. The errors of a server that reads them do not name them."""
    files = [path for path in (certificate, key, authority) if path]
    if unreadable := [f"{path} cannot be read" for path in files if not os.access(path, os.R_OK)]:
        return unreadable
    context, found = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), []
    try:
        context.load_cert_chain(certificate, key, password="")
    except OSError:
        found = [f"{certificate} and {key} are no certificate and its key without a password, both PEM"]
    try:
        if authority:
            context.load_verify_locations(authority)
    except OSError:
        found += [f"{authority} holds no certificate, PEM"]
    return found


class CommandLine(argparse.ArgumentParser):
    """A parser that rejects outputs which would overwrite an input, before any file is opened."""

    def parse_args(self, args: Sequence[str] | None = None) -> argparse.Namespace:  # type: ignore[override]
        """Return the options.

        Raises:
            OutputRefused: an output is, holds or lies in one of the inputs.
        """
        options = super().parse_args(args)
        self.check(options)
        return options

    def check(self, options: argparse.Namespace) -> None:
        """Check that outputs and inputs are separate. Raises: see `parse_args`."""
        inputs = self.inputs(options)
        for option, output in self.paths(output_path, options):
            if is_special(output):
                continue
            for path in inputs:
                check_outputs([output], [path])
                try:
                    check_apart(output, path)
                except OutputRefused as error:
                    sentence = f"one of {output} and the input {path} is inside the other; choose another {option}"
                    raise OutputRefused(sentence) from error

    def inputs(self, options: argparse.Namespace) -> list[Path]:
        """Return the files and folders that the command reads."""
        return [path for _, path in self.paths(input_path, options)]

    def paths(self, kind: Callable[[str], Path], options: argparse.Namespace) -> list[tuple[str, Path]]:
        """Return the option and the path of every value whose type is `kind`."""
        paths = []
        for action in self._actions:
            if action.type is kind:
                value = getattr(options, action.dest)
                values = [] if value is None else value if isinstance(value, (list, tuple)) else [value]
                paths += [("/".join(action.option_strings) or action.dest, path) for path in values]
        return paths


def command(main: Callable[_P, int]) -> Callable[_P, int]:
    """Make a command's `main` print errors as one line and return 2 for wrong usage, 1 for a failure."""

    @functools.wraps(main)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> int:
        try:
            code = main(*args, **kwargs)
            sys.stdout.flush()  # here, where a closed pipe is handled
            return code
        except BrokenPipeError:  # the reader has closed the pipe
            os.dup2(
                os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
            )  # otherwise Python reports an error when it flushes at exit
            return 1
        except KeyboardInterrupt:
            return 130
        except (OutputRefused, UsageError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        except (ValueError, OSError, RuntimeError, PoseClientError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 1

    return run


def need(target: str, *modules: str) -> None:
    """Check that optional modules are installed.

    Raises:
        ValueError: some are missing; the message names them and the make target that installs them.
    """
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise ValueError(f"not installed: {', '.join(missing)}; run `make {target}`")
