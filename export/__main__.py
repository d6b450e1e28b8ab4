"""`python -m export COMMAND`: one module of `export.commands` for each command."""

import argparse
import importlib
import os
import sys

COMMANDS = {
    "variants": "list the published networks",
    "download": "published weights, by name, checked",
    "onnx": "official checkpoint to ONNX",
    "repository": "ONNX files to a complete Triton model repository",
    "verify": "every network in PyTorch, ONNX Runtime and a server",
}


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m export", description=__doc__)
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    chosen = next((arg for arg in (sys.argv[1:] if argv is None else argv) if not arg.startswith("-")), None)
    for name, summary in COMMANDS.items():
        subparser = subparsers.add_parser(name, help=summary, description=summary)
        if name == chosen:  # the others need not be imported: some need PyTorch
            command = importlib.import_module(f"export.commands.{name}")
            command.add_arguments(subparser)
            subparser.set_defaults(run=command.run)
    arguments = parser.parse_args(argv)
    try:
        code = int(arguments.run(arguments))
        sys.stdout.flush()  # here, where a reader that has gone away is no surprise
        return code
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it flushes at exit
        return 1
    except (ValueError, OSError) as error:  # the user's mistake: one line, no traceback
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
