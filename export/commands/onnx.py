"""`python -m export onnx`: an official checkpoint in, a checked ONNX file out, without MMPose."""

import argparse
import resource
from pathlib import Path
from typing import TYPE_CHECKING

from export import graph_edit
from export.comparison import PRECISIONS
from export.families.cigpose.variants import variant
from export.flip import FACTS

if TYPE_CHECKING:
    from export.families.cigpose.export import ExportReport


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("--checkpoint", type=Path, required=True, help="official .pth file, of any flavour")
    parser.add_argument("--output", type=Path, required=True, help="the ONNX file to write")
    parser.add_argument("--variant", help="what the checkpoint must be (see `variants`); otherwise it is recognised")
    parser.add_argument("--flip-test", action="store_true", help="average with the mirrored crop: twice the work")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32", help="default: fp32")
    parser.add_argument(
        "--max-difference",
        type=float,
        metavar="RMS",
        help="accept this rms difference from PyTorch, in standard deviations of the logits, instead of "
        + ", ".join(f"{bound:g} ({name})" for name, bound in PRECISIONS.items()),
    )


def run(arguments: argparse.Namespace) -> int:
    """Export, and print what was measured."""
    try:  # not above: the command line and its help need no PyTorch
        import torch

        from export.checkpoint import load_network
        from export.families.cigpose.export import export_onnx
    except ModuleNotFoundError as error:
        raise ValueError(f"{error}; PyTorch reads checkpoints: pip install -r requirements/torch.txt") from error
    torch.set_num_threads(1)  # seconds on one core; more threads win little, and lose much where others use the cores
    network = load_network(arguments.checkpoint, variant(arguments.variant) if arguments.variant else None)
    print(f"{arguments.checkpoint}: {network.variant.name}")
    if arguments.flip_test:
        print(FACTS)
    report = export_onnx(
        network,
        arguments.output,
        precision=arguments.precision,
        flip_test=arguments.flip_test,
        max_difference=arguments.max_difference,
        checkpoint_sha256=graph_edit.sha256(arguments.checkpoint),
    )
    print("\n".join(_lines(report, arguments.output)))
    return 0


def _lines(report: "ExportReport", output: Path) -> list[str]:
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000  # Linux counts in kB
    return [
        f"ONNX Runtime against float32 PyTorch: {report.comparison}; allowed rms: {report.bound:g}",
        f"{output}: {report.size_bytes / 1e6:.1f} MB, {report.seconds:.1f} s, peak memory {peak_mb:.0f} MB",
    ]
