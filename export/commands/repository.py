"""`python -m export repository`: ONNX files in, a complete Triton model repository out."""

import argparse
from pathlib import Path

from ensemble.graph.model import Model
from export.repository import build_repository


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument(
        "--pose",
        type=Path,
        action="append",
        required=True,
        help="pose network; may be repeated, the first is the default",
    )
    parser.add_argument("--detector", type=Path, required=True, help="YOLOX person detector")
    parser.add_argument("--output", type=Path, required=True, help="the repository's folder")


def run(arguments: argparse.Namespace) -> int:
    """Build the repository and say what is in it."""
    models = build_repository(arguments.pose, arguments.detector, arguments.output)
    for model in models:
        if isinstance(model, Model) and model.backend == "onnxruntime":
            print(f"{model.name}: max_batch_size {model.max_batch_size}")
            if model.max_batch_size == 1:
                print("  a batch of two differs from two single runs, so requests are not merged")
    print(f"{arguments.output}: {len(models)} models")
    return 0
