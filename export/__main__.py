"""`python -m export COMMAND`: one module of `export.commands` for each command."""

import argparse
import importlib
import sys
from pathlib import Path

from server.usage import CommandLine, command

COMMANDS = {
    "variants": "list the published networks",
    "download": "published weights, by name, checked",
    "onnx": "official checkpoint to ONNX",
    "quantize": "a network in eight bits, calibrated and measured on your pictures",
    "repository": "ONNX files to a complete Triton model repository",
    "verify": "every network in PyTorch, ONNX Runtime and a server",
}


class NetworkCommandLine(CommandLine):
    """A parser that also counts the files of weights beside a network among the inputs."""

    def inputs(self, options: argparse.Namespace) -> list[Path]:
        """Return the files and folders that the command reads."""
        named = super().inputs(options)
        if not named:
            return named
        from export.network_file import companions  # imported here: help and lists need no ONNX

        return [*named, *(file for path in named if path.is_file() for file in companions(path))]


@command
def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    parser = NetworkCommandLine(prog="python -m export", description=__doc__)
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    chosen = next((arg for arg in (sys.argv[1:] if argv is None else argv) if not arg.startswith("-")), None)
    for name, summary in COMMANDS.items():
        subparser = subparsers.add_parser(name, help=summary, description=summary)
        if name == chosen:  # only the chosen module is imported: some need PyTorch
            module = importlib.import_module(f"export.commands.{name}")
            module.add_arguments(subparser)
            subparser.set_defaults(run=module.run, check=subparser.check)
    arguments = parser.parse_args(argv)
    arguments.check(arguments)
    return int(arguments.run(arguments))


if __name__ == "__main__":
    sys.exit(main())
