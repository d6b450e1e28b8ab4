"""`python -m export quantize`: a network in eight bits, calibrated and measured on your pictures."""

import argparse
import importlib
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from cigpose_client.outputs import OutputRefused, check_outputs, write_file

from export import graph_edit, metadata
from export.commands.repository import add_overrides, detector_options, pose_options
from export.half_weights import store_half
from export.quantization import graph
from export.quantization.loss import AP, Loss, loss, with_people
from export.quantization.pictures import read_pictures
from export.quantization.search import Found, TooMuchLost, search
from export.quantization.trial import Run, Trial, detector_trial, pose_trial
from server.usage import UsageError, input_path, need, output_path

MAY_LOSE = {AP: 0.005, "": 0.03}  # measure -> allowed loss; without truth, the mean dissimilarity to float32
_CALIBRATION = 300  # crops or pictures; NNCF's own default
_CALIBRATION_PICTURES = 100  # one in two of fewer; the rest of them is held out
_LISTED = 8
_EXCERPT = 60  # characters of a wrong file that messages show
_BF16 = "bf16"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the network, the pictures and the bound."""
    parser.add_argument("--pose", type=input_path, help="pose network to quantise")
    parser.add_argument(
        "--detector", type=input_path, help="with --pose: finds the people; without --pose: the network to quantise"
    )
    parser.add_argument(
        "--pictures", type=input_path, required=True, metavar="DIR", help="pictures like those to be served"
    )
    parser.add_argument(
        "--boxes",
        type=input_path,
        metavar="FILE",
        help="COCO annotations of these pictures: boxes of people and, for a measured AP, keypoints",
    )
    parser.add_argument("--output", type=output_path, required=True, help="the ONNX file to write")
    parser.add_argument(
        "--may-lose",
        type=float,
        help=f"largest allowed loss on the pictures that are held out (default: {MAY_LOSE[AP]} AP; without "
        f"annotated keypoints {MAY_LOSE['']}, where identical people lose 0 and lost people 1)",
    )
    parser.add_argument(
        "--report",
        type=output_path,
        metavar="FILE",
        help="also write the figures to this JSON file, beside others",
    )
    add_overrides(parser)


def run(arguments: argparse.Namespace) -> int:
    """Quantise, print what stays in higher precision and the loss, and write the file."""
    path: Path | None = arguments.pose or arguments.detector
    if path is None:
        raise UsageError("name a network: --pose FILE or --detector FILE")
    _check_outputs(arguments.output, arguments.report)
    need("install-test", "nncf", "openvino", "pycocotools")
    original = _readied(path)
    trial = _trial(arguments)
    if trial.given_boxes and not arguments.boxes:
        raise UsageError(f"{path} takes crops of single persons; add --boxes FILE, or --detector FILE to find them")
    pictures = read_pictures(arguments.pictures, arguments.boxes, trial)
    allowed = arguments.may_lose if arguments.may_lose is not None else MAY_LOSE[AP if pictures.truth else ""]
    every = max(2, len(pictures.paths) // _CALIBRATION_PICTURES)
    rest = [picture for number, picture in enumerate(pictures.paths) if number % every]
    calibration, held_out = (pictures.samples(trial, paths) for paths in (pictures.paths[::every], rest))
    ids = [pictures.ids.get(picture.name) for picture in rest]
    with_people(trial, held_out, ids, pictures.truth)
    bottom_up = trial.network.max_batch_size == 0  # OpenVINO cannot read LOGO-CAP, so it is served by ONNX Runtime
    served_by = "ONNX Runtime" if bottom_up else "OpenVINO"

    def measure(model: onnx.ModelProto, runtime: str = served_by) -> Loss:
        found = loss(trial, held_out, _run(model, path, trial, runtime), ids, pictures.truth)
        count = len(graph.in_eight_bits(model))
        print(f"{count} layers in eight bits, {runtime}: {found}; allowed {allowed:g}", file=sys.stderr, flush=True)
        return found

    feeds = trial.inner_inputs(calibration)[:_CALIBRATION]
    facts = {"calibrated_on": len(feeds), "measured_on": len(held_out), "served_by": served_by, "may_lose": allowed}
    try:
        if _precision(trial, served_by) == _BF16 and (alone := measure(original)).bound > allowed:
            raise TooMuchLost(alone, f"all of it from {_BF16}", allowed, "; cpu-openvino serves in float32")
        found = search(original, feeds, measure, allowed)
    except ValueError as error:
        if isinstance(error, TooMuchLost):
            _report(arguments.report, path, facts | _figures(error.loss) | {"eight_bits": 0})
        raise ValueError(f"{arguments.output} not written: {error}") from None
    if not bottom_up:
        measure(found.model, "ONNX Runtime")
    _write(found, path, arguments.output)
    _report(arguments.report, path, facts | _figures(found.loss) | _layers(original, found))
    print(f"calibrated on {len(feeds)} inputs, measured on {len(held_out)} other pictures")
    print("\n".join(_reasons(original, found)))
    print(f"{served_by}: {found.loss}; allowed {allowed:g}")
    return 0


def _trial(arguments: argparse.Namespace) -> Trial:
    of_pose, of_detector = pose_options(arguments), detector_options(arguments)
    if arguments.pose:
        return pose_trial(arguments.pose, arguments.detector, of_pose, of_detector)
    return detector_trial(arguments.detector, of_detector)


def _check_outputs(output: Path, report: Path | None) -> None:
    """Refuse outputs that cannot be written, before the work of minutes."""
    outputs = [output, report] if report else [output]
    check_outputs(outputs)
    for path in outputs:
        if path.is_dir():
            raise OutputRefused(f"{path} is a folder; give the name of a file")
    if report:
        _known(report)


def _readied(path: Path) -> onnx.ModelProto:
    model = graph_edit.load(path)
    try:
        return graph.readied(model)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _write(found: Found, path: Path, output: Path) -> None:
    graph_edit.save(_described(found.model, graph_edit.load(path), path), output)
    sizes = (each.stat().st_size / 1e6 for each in (output, path))
    print("{}: {:.1f} MB, from {:.1f} MB".format(output, *sizes))


def _run(model: onnx.ModelProto, path: Path, trial: Trial, runtime: str) -> Run:
    """Return a function that runs a version of a file in served form, as the server's backend would."""
    with tempfile.TemporaryDirectory() as folder:
        exported, served = Path(folder) / path.name, Path(folder) / "served.onnx"
        graph_edit.save(model, exported)
        graph_edit.save(trial.serve(exported), served)
        outputs = [tensor.name for tensor in trial.network.outputs]
        if runtime == "OpenVINO":
            backend: Any = importlib.import_module("server.backends.onnxruntime.openvino_session")
            session = backend.OpenVinoSession(served, 0, _precision(trial, runtime))
        else:
            session = graph_edit.cpu_session(onnx.load(served))
    return lambda inputs: dict(
        zip(outputs, (np.array(each) for each in session.run(outputs, dict(inputs))), strict=True)
    )


def _precision(trial: Trial, runtime: str) -> str:
    """Return the precision of what is not in eight bits, as the profile cpu-int8 chooses it."""
    exact = any(tensor.exact for tensor in trial.network.outputs)
    return _BF16 if runtime == "OpenVINO" and trial.network.per_person and not exact else "f32"


def _described(model: onnx.ModelProto, exported: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """Return the model with the file's metadata, its other large weights stored as the file stores them."""
    meta = metadata.read(exported)
    if meta.get("precision") == "fp16-weights":
        scales = {name for node in model.graph.node if node.op_type.endswith("quantizeLinear") for name in node.input}
        scales |= {name for node in model.graph.node if node.op_type == "QuantizeLinear" for name in node.input}
        model = store_half(model, scales)
    metadata.write(model, meta | {"precision": "int8", "quantised_from": graph_edit.sha256(path)})
    return model


def _figures(loss: Loss) -> dict[str, Any]:
    values = {"float32": loss.float32, "in_eight_bits": loss.other, "loss": loss.lost, "standard_error": loss.error}
    return {"measure": loss.measure} | {name: round(value, 4) for name, value in values.items()}


def _report(report: Path | None, network: Path, facts: dict[str, Any]) -> None:
    """Write the figures of a network into a file of such figures."""
    if report:
        known = _known(report) | {network.stem: facts}
        write_file(report, json.dumps(dict(sorted(known.items())), indent=2) + "\n")


def _known(report: Path) -> dict[str, Any]:
    """Return the figures that a report holds.

    Raises:
        OutputRefused: it is another file.
    """
    if not report.is_file():
        return {}
    content = report.read_bytes()
    try:
        known = json.loads(content)
    except ValueError:
        known = None
    if not isinstance(known, dict):
        raise OutputRefused(f"--report {report} holds {content[:_EXCERPT]!r}, no JSON object; choose another file")
    return known


def _layers(original: onnx.ModelProto, found: Found) -> dict[str, Any]:
    """Return how many layers are in eight bits, of how many, and their share of the work that can be."""
    possible = graph.multiplications(original, graph.candidates(original))
    share = round(sum(possible[name] for name in found.eight_bits), 3)
    return {"eight_bits": len(found.eight_bits), "layers": len(graph.reasons(original)), "share_of_work": share}


def _reasons(original: onnx.ModelProto, found: Found) -> list[str]:
    """Return a line for the layers in eight bits, and one for each reason why others are not."""
    kinds: dict[str, list[str]] = {}
    for name, why in graph.reasons(original).items():
        if why:
            kinds.setdefault(why, []).append(name)
    facts = _layers(original, found)
    lines = ["{eight_bits} of {layers} layers are in eight bits, {share_of_work:.0%} of what can be".format(**facts)]
    lines += [f"  {len(names)} are not: {why} ({_some(names)})" for why, names in kinds.items()]
    returned = found.returned.items()
    return lines + [f"  {name} is not: alone it errs by {error:.2g} deviations" for name, error in returned]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_LISTED]) + (", ..." if len(names) > _LISTED else "")
