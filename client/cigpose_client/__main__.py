"""The command `cigpose-client`: results on stdout, messages on stderr, exit status 0 only for complete success."""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from cigpose_client import __version__
from cigpose_client._cli import arguments, cameras, evaluate, parquet, pictures, server, video
from cigpose_client._cli.files import UsageError
from cigpose_client._cli.run import INTERRUPTED, RunEnded, end_process, flush, reason
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
        flush()  # here, so that a closed pipe is handled below
        return status
    except SystemExit as stop:  # argparse: 0 after --help, 2 for wrong usage
        return int(stop.code or 0)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the flush at exit fails again
        return 1
    except (OutputRefused, UsageError) as error:
        print(f"cigpose-client: {error}", file=sys.stderr)
        return 2
    except (RunEnded, PoseClientError, OSError, ValueError, ModuleNotFoundError) as error:
        print(f"cigpose-client: {explain(error)}", file=sys.stderr)
        return 1


def _import_grpc_quietly() -> None:
    """Import gRPC with its log turned off, unless GRPC_VERBOSITY is set.

    The core of gRPC logs each failed handshake to stderr, beside this command's one sentence. It reads the variable at
    import only, so the variable is set during the import, and child processes do not inherit it.
    """
    if "GRPC_VERBOSITY" in os.environ:
        return
    os.environ["GRPC_VERBOSITY"] = "NONE"
    try:
        importlib.import_module("tritonclient.grpc")
    finally:
        del os.environ["GRPC_VERBOSITY"]


def explain(error: BaseException) -> str:
    """Return one sentence about the error and, on a second line, the remedy if one is known."""
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
    parquet.add_parquet(subcommands)
    video.add_video(subcommands)
    video.add_camera(subcommands)
    cameras.add_cameras(subcommands)
    evaluate.add_evaluate(subcommands)
    server.add_info(subcommands)
    server.add_check(subcommands)
    return parser


if __name__ == "__main__":
    run()
