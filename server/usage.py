"""Command lines of the checkout: inputs and outputs by their types, errors as one sentence and an exit status."""

import argparse
import functools
import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ParamSpec

from cigpose_client import PoseClientError
from cigpose_client.outputs import OutputRefused, check_apart, check_outputs, is_special

_P = ParamSpec("_P")


class UsageError(ValueError):
    """The command line asks for something that does not exist or does not fit together."""


def input_path(text: str) -> Path:
    """Return a path: the type of options that name a file or folder to read."""
    return Path(text)


def output_path(text: str) -> Path:
    """Return a path: the type of options that name a file or folder to write."""
    return Path(text)


class CommandLine(argparse.ArgumentParser):
    """A parser that refuses outputs which would overwrite an input, before anything is opened."""

    def parse_args(self, args: Sequence[str] | None = None) -> argparse.Namespace:  # type: ignore[override]
        """Return the options.

        Raises:
            OutputRefused: an output is, holds or lies in one of the inputs.
        """
        options = super().parse_args(args)
        self.check(options)
        return options

    def check(self, options: argparse.Namespace) -> None:
        """Hold the outputs against the inputs. Raises: see `parse_args`."""
        inputs = [path for _, path in self.paths(input_path, options)]
        for option, output in self.paths(output_path, options):
            if is_special(output):
                continue
            for path in inputs:
                check_outputs([output], [path])
                try:
                    check_apart(output, path)
                except OutputRefused as error:
                    sentence = f"{output} and the input {path} lie in one another; choose another {option}"
                    raise OutputRefused(sentence) from error

    def paths(self, kind: Callable[[str], Path], options: argparse.Namespace) -> list[tuple[str, Path]]:
        """Return the option and the path of every value whose type is `kind`."""
        found = []
        for action in self._actions:
            if action.type is kind:
                value = getattr(options, action.dest)
                values = [] if value is None else value if isinstance(value, (list, tuple)) else [value]
                found += [("/".join(action.option_strings) or action.dest, path) for path in values]
        return found


def command(main: Callable[_P, int]) -> Callable[_P, int]:
    """Make a command's `main` print its errors as one sentence and return 2 for wrong usage, 1 for a failure."""

    @functools.wraps(main)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> int:
        try:
            code = main(*args, **kwargs)
            sys.stdout.flush()  # here, where a reader that has gone away is no surprise
            return code
        except BrokenPipeError:  # whoever read our output has seen enough
            os.dup2(
                os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
            )  # or Python complains when it flushes at exit
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
    """Refuse to start without optional modules.

    Raises:
        ValueError: names those that are missing, and the make target that installs them.
    """
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise ValueError(f"not installed: {', '.join(missing)}; run `make {target}`")
