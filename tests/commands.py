"""Every command of the checkout with its parser, found in the sources, so that none is missed."""

import argparse
import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]
_PACKAGES = ("benchmarks", "demo", "deploy", "export", "gateway", "server", "synthetic", "tests/client", "tests/deploy")
_PARSER = re.compile(r"\b(?:ArgumentParser|\w*CommandLine)\(")
_LEFT_OUT = ("tests.deploy.checks",)  # it runs in an environment of its own and writes nothing


@dataclass(frozen=True)
class Command:
    """One command: its display name, its main function and its parser."""

    name: str
    main: Callable[[list[str]], int]
    parser: argparse.ArgumentParser

    def options(self, *kinds):
        """Return the options whose type is one of `kinds`."""
        return [action for action in self.parser._actions if action.type in kinds]

    def status(self, arguments: list[str]) -> int:
        """Run the command and return its exit status."""
        try:
            return self.main(arguments)
        except SystemExit as stop:
            return int(stop.code or 0)

    def arguments(self, **chosen: Path) -> list[str]:
        """Return a command line with the chosen options, by `dest`, and placeholders for the other required ones."""
        given, positional = [], []
        for action in self.parser._actions:
            required = action.required if action.option_strings else action.nargs in (None, "+")
            if action.dest in chosen or required:
                something = next(iter(action.choices)) if action.choices else f"some-{action.dest}"
                target = given if action.option_strings else positional
                values = [str(chosen.get(action.dest, something))] * (
                    action.nargs if isinstance(action.nargs, int) else 1
                )
                target += [*action.option_strings[:1], *values]
        return [*given, *positional]


def commands() -> list[Command]:
    """Return the commands of all modules with a parser."""
    paths = [path for package in _PACKAGES for path in sorted((CHECKOUT / package).rglob("*.py"))]
    with_parser = [path for path in paths if _PARSER.search(path.read_text(encoding="utf-8"))]
    names = [".".join(path.relative_to(CHECKOUT).with_suffix("").parts) for path in with_parser]
    return [command for name in names if not name.startswith(_LEFT_OUT) for command in _commands_of(name)]


def _commands_of(module: str) -> list[Command]:
    package, _, name = module.partition(".")
    if module == "server.usage":
        return []
    if module == "server.arguments":
        module, name = "server.__main__", ""
    main = importlib.import_module(module).main
    if package == "export":  # one command for each word
        words = importlib.import_module(module).COMMANDS
        return [Command(f"export {word}", _behind(main, word), _subparser(main, word)) for word in words]
    word = {"everything": "all"}.get(name, name).replace("_", "-")
    dispatcher = importlib.import_module("benchmarks.__main__")
    if package == "benchmarks" and word in dispatcher.COMMANDS:
        return [Command(f"benchmarks {word}", _behind(dispatcher.main, word), _parser(main, []))]
    return [Command(module.removesuffix(".__main__"), main, _parser(main, []))]


def _behind(main, word):
    return lambda arguments: main([word, *arguments])


def _subparser(main, word) -> argparse.ArgumentParser:
    (subparsers,) = _parser(main, [word])._subparsers._group_actions
    return subparsers.choices[word]


class _Seen(BaseException):
    pass


def _parser(main, arguments) -> argparse.ArgumentParser:
    def see(parser, *_):
        raise _Seen(parser)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(_Seen) as seen:
        patch.setattr(argparse.ArgumentParser, "parse_args", see)
        main(arguments)
    return seen.value.args[0]
