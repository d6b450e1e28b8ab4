"""`python -m export onnx`: exports an official checkpoint to a verified ONNX file, without MMPose or TensorFlow."""

import argparse
import resource
import time

from export import graph_edit
from export.comparison import BOUNDS, PRECISIONS
from export.families import families
from export.flip import FACTS
from export.tfjs.networks import convert_file
from server.usage import UsageError, input_path, output_path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the files and the form of the export."""
    parser.add_argument(
        "--checkpoint",
        type=input_path,
        required=True,
        help="official checkpoint (.pth, .pth.tar), or .json of a TensorFlow.js graph model",
    )
    parser.add_argument("--output", type=output_path, required=True, help="the ONNX file to write")
    parser.add_argument(
        "--variant",
        choices=[name for family in families().values() for name in family.variants],
        metavar="NAME",
        help="expected network (see `variants`; default: recognised from the checkpoint). A graphpcnn_... starts a "
        "Graph-PCNN from a baseline's checkpoint",
    )
    parser.add_argument("--flip-test", action="store_true", help="average with the mirrored crop; doubles the work")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32", help="default: fp32")
    parser.add_argument("--max-difference", type=float, metavar="RMS", help=BOUNDS)


def run(arguments: argparse.Namespace) -> int:
    """Export the checkpoint and print how far ONNX Runtime and PyTorch differ."""
    if arguments.checkpoint.suffix == ".json":
        return _convert(arguments)
    try:  # imported here: the command line and its help need no PyTorch
        import torch

        from export.checkpoint import exporter_of, read_checkpoint
        from export.onnx_export import ExportOptions
    except ModuleNotFoundError as error:
        raise ValueError(f"{error}; PyTorch reads checkpoints: pip install -r requirements/torch.txt") from error
    torch.set_num_threads(1)  # takes seconds on one core; more threads gain little, and lose much on a busy machine
    started = time.perf_counter()
    checkpoint = read_checkpoint(arguments.checkpoint)
    digest = graph_edit.sha256(arguments.checkpoint)
    options = ExportOptions(
        arguments.variant, arguments.precision, arguments.flip_test, arguments.max_difference, digest
    )
    if arguments.flip_test:
        print(FACTS)
    report = exporter_of(checkpoint, arguments.variant).export(checkpoint, arguments.output, options)
    size_mb = arguments.output.stat().st_size / 1e6
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000  # Linux counts in kB
    print(f"{arguments.checkpoint}: {report.network}")
    print(f"ONNX Runtime against float32 PyTorch: {report}")
    print(f"{arguments.output}: {size_mb:.1f} MB, {time.perf_counter() - started:.1f} s, peak memory {peak_mb:.0f} MB")
    return 0


def _convert(arguments: argparse.Namespace) -> int:
    """Convert a graph model and print which one it is."""
    for option, usual in (("variant", None), ("flip_test", False), ("precision", "fp32"), ("max_difference", None)):
        if getattr(arguments, option) != usual:
            raise UsageError(f"--{option.replace('_', '-')} is for PyTorch checkpoints, not for {arguments.checkpoint}")
    name, model = convert_file(arguments.checkpoint)
    graph_edit.save(model, arguments.output)
    size_mb = arguments.output.stat().st_size / 1e6
    print(f"{arguments.checkpoint}: {name}; {arguments.output}: {size_mb:.1f} MB")
    return 0
