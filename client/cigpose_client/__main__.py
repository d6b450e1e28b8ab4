"""The command `cigpose-client`: results to stdout, messages to stderr, 0 only when all went well."""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from cigpose_client import __version__
from cigpose_client._cli import arguments, evaluate, pictures, server, video
from cigpose_client._cli.files import UsageError
from cigpose_client._cli.run import INTERRUPTED, RunEnded, end_process, reason
from cigpose_client._errors import PoseClientError
from cigpose_client.outputs import OutputRefused


def run() -> NoReturn:
    """Run the command as a process of its own."""
    end_process(main())


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    try:
        args = _parser().parse_args(argv)
        _import_grpc_quietly()
        status = int(args.run(args))
        sys.stdout.flush()  # here, where a reader that has gone away is no surprise
        return status
    except SystemExit as stop:  # argparse: 0 after --help, 2 after a mistake
        return int(stop.code or 0)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it flushes at exit
        return 1
    except (OutputRefused, UsageError) as error:
        print(f"cigpose-client: {error}", file=sys.stderr)
        return 2
    except (RunEnded, PoseClientError, OSError, ValueError, ModuleNotFoundError) as error:
        print(f"cigpose-client: {explain(error)}", file=sys.stderr)
        return 1


def _import_grpc_quietly() -> None:
    """Import gRPC with its own log off; whoever has set GRPC_VERBOSITY keeps that setting.

    The core of gRPC writes each failed handshake to stderr, beside our one sentence. It reads the variable when it is
    imported and never again, so the variable is set for that moment alone and not handed to child processes.
    """
    if "GRPC_VERBOSITY" in os.environ:
        return
    os.environ["GRPC_VERBOSITY"] = "NONE"
    try:
        importlib.import_module("tritonclient.grpc")
    finally:
        del os.environ["GRPC_VERBOSITY"]


def explain(error: BaseException) -> str:
    """Return the error's sentence, and what to do about it where that is known."""
    name, cause = (f"{error}: ", error.__cause__) if isinstance(error, RunEnded) and error.__cause__ else ("", error)
    if isinstance(cause, PoseClientError):
        return f"{name}{cause.problem}" + (f"\n  {arguments.in_options(cause.remedy)}" if cause.remedy else "")
    if isinstance(cause, OSError) and cause.filename and not name:
        name = f"{cause.filename}: "
    return f"{name}{reason(cause)}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("cigpose-client", description="People and their keypoints, from a CIGPose server.")
    parser.add_argument("--version", action="version", version=__version__)
    subcommands = parser.add_subparsers(required=True, metavar="COMMAND")
    pictures.add_image(subcommands)
    pictures.add_folder(subcommands)
    video.add_video(subcommands)
    video.add_camera(subcommands)
    evaluate.add_evaluate(subcommands)
    server.add_info(subcommands)
    server.add_check(subcommands)
    return parser


if __name__ == "__main__":
    run()
