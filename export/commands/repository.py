"""`python -m export repository`: builds a complete Triton model repository from ONNX files."""

import argparse
import re
from dataclasses import replace

from ensemble.tensors import Tensor
from ensemble.triton.model import Model
from export.detectors import DetectorOptions, forms
from export.families import PoseOptions
from export.flip import FACTS
from export.repository import build_repository, seal
from server.usage import UsageError, input_path, output_path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the network files, the target folder and the overrides."""
    parser.add_argument(
        "--pose",
        type=input_path,
        action="append",
        required=True,
        help="pose network: CIGPose, HRNet, SimpleBaseline, Graph-PCNN, LOGO-CAP, any SimCC or heat-map file of "
        "MMPose's form; may be repeated, the first is the default",
    )
    parser.add_argument(
        "--lifter",
        type=input_path,
        action="append",
        default=[],
        help="network that lifts a pose network's keypoints to 3-D: Context-Aware PoseFormer; may be repeated",
    )
    parser.add_argument(
        "--lift-from",
        default="",
        metavar="NETWORK",
        help="pose network below the lifters, of COCO's or COCO-WholeBody's points (default: the first one that fits)",
    )
    parser.add_argument(
        "--detector",
        type=input_path,
        help="person detector: YOLOX, RT-DETR or NanoDet; every top-down network needs one",
    )
    parser.add_argument("--output", type=output_path, required=True, help="the repository's folder")
    parser.add_argument(
        "--flip-test",
        action="store_true",
        help="average every pose with that of the mirrored crop; doubles the work (Graph-PCNN and lifters: at "
        "`export onnx` only)",
    )
    add_overrides(parser)


def add_overrides(parser: argparse.ArgumentParser) -> None:
    """Add what `pose_options` and `detector_options` read."""
    overrides = parser.add_argument_group(
        "overrides for files without this metadata (an error names the missing values)"
    )
    overrides.add_argument(
        "--input-size", type=_size, metavar="WIDTHxHEIGHT", help="crop size, for pose files that leave it open"
    )
    overrides.add_argument(
        "--simcc-outputs",
        type=_names,
        metavar="X,Y",
        help="names of the outputs along x and y, for SimCC files whose names and shapes leave it open",
    )
    overrides.add_argument(
        "--detector-size", type=_size, metavar="WIDTHxHEIGHT", help="input size, for detector files that leave it open"
    )
    overrides.add_argument("--detector-form", choices=forms(), help="form of the detector file (default: recognised)")
    overrides.add_argument("--person-class", type=int, default=0, help="the detector's class of people (default: 0)")


def pose_options(arguments: argparse.Namespace) -> PoseOptions:
    """Return the overrides for pose files."""
    return PoseOptions(arguments.input_size, arguments.simcc_outputs)


def detector_options(arguments: argparse.Namespace) -> DetectorOptions:
    """Return the overrides for detector files."""
    return DetectorOptions(arguments.detector_size, arguments.detector_form, arguments.person_class)


def run(arguments: argparse.Namespace) -> int:
    """Build the repository and print its networks."""
    if arguments.lift_from and not arguments.lifter:
        raise UsageError(f"--lift-from {arguments.lift_from} is for a lifter; add --lifter FILE")
    if arguments.flip_test:
        print(FACTS)
    models = build_repository(
        arguments.pose,
        arguments.detector,
        arguments.output,
        replace(pose_options(arguments), flip_test=arguments.flip_test, lift_from=arguments.lift_from),
        detector_options(arguments),
        arguments.lifter,
    )
    seal(arguments.output)
    for model in models:
        if isinstance(model, Model) and model.backend == "onnxruntime":
            print(_line(model))
            if model.max_batch_size == 1:
                print("  a batch of two fails or differs from two single runs, so requests are not batched")
    print(f"{arguments.output}: {len(models)} models")
    return 0


def _line(model: Model) -> str:
    takes = ", ".join(map(_taken, model.inputs))
    source = f"{model.parameters['source_file']} (sha256 {model.parameters['source_sha256'][:12]})"
    form = f", {model.parameters['source_form']}" if "source_form" in model.parameters else ""
    return f"{model.name}: max_batch_size {model.max_batch_size}, {takes}, from {source}{form}"


def _taken(tensor: Tensor) -> str:
    picture = len(tensor.dims) == 3 and tensor.dims[2] == 3 and min(tensor.dims) > 0
    return f"{tensor.dims[1]}x{tensor.dims[0]} pixels" if picture else f"{tensor.name} {list(tensor.dims)}"


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is not WIDTHxHEIGHT, such as 192x256")
    return int(match[1]), int(match[2])


def _names(text: str) -> tuple[str, str]:
    names = text.split(",")
    if len(names) != 2:
        raise argparse.ArgumentTypeError(f"{text!r} is not two names with a comma between them")
    return names[0], names[1]
