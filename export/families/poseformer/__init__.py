"""Context-Aware PoseFormer in plain PyTorch: joints of a picture and a crop of it in, joints in space out.

Paper: arXiv 2311.03312 (NeurIPS 2023). Original code: github.com/QitaoZhao/ContextAware-PoseFormer, commit 31875c9,
which states no licence; nothing of it is copied here, only the facts that the checkpoints fix: names, shapes and the
order of operations. The published *weights* were trained on Human3.6M, whose licence is for academic use.

`variants` needs no PyTorch; the others do.
"""

from pathlib import Path

import onnx
from onnx import compose, helper

from ensemble.keypoints import keypoint_set
from ensemble.networks import MAX_PERSONS
from ensemble.pipelines.lifted import LiftingNetwork
from ensemble.tensors import KEYPOINTS_CROP, KEYPOINTS_IMAGE, LIFT_CROPS, LIFTED
from export import graph_edit, metadata, network_file
from export.families import Family, PoseOptions, Served, facts
from export.families.poseformer.variants import BENCHMARK, INPUTS, KEYPOINTS, OUTPUT, SOURCE, VARIANTS, WEIGHTS, Variant
from export.families.top_down import CropFile, check_metadata, fold_normalisation

_JOINTS = len(keypoint_set(KEYPOINTS))


def is_lifter(model: onnx.ModelProto) -> bool:
    """Return whether the model has a lifter's inputs."""
    return tuple(value.name for value in model.graph.input) == INPUTS


def serve(path: Path, model: onnx.ModelProto, options: PoseOptions) -> Served:
    """Serve a file whose inputs are a crop and its keypoints twice, and whose output is joints in space.

    Raises:
        ValueError: the file is no such network (the message lists its inputs and outputs), contradicts its metadata, or
            the flip test is asked for.
    """
    if options.flip_test:
        raise ValueError(
            f"{path}: the flip test of a lifter also mirrors its keypoints, so it cannot be added to a file; use "
            "`python -m export onnx --flip-test`"
        )
    if not is_lifter(model) or [value.name for value in model.graph.output] != [OUTPUT]:
        form = f"the inputs {', '.join(INPUTS)} and the output {OUTPUT}"
        raise ValueError(f"{path}: {graph_edit.signature(model)}; a lifter has {form}")
    meta = metadata.read(model)
    size = network_file.fix_size(path, model, options.input_size, "--input-size")
    network_file.with_float32_ends(model)
    file = CropFile(path, model, meta, size, {})
    check_metadata(file, {"input_w": size[0], "input_h": size[1], "num_keypoints": _JOINTS})
    served, limit = _fold(file, graph_edit.open_batch_axis(model)), MAX_PERSONS
    if not graph_edit.batches_correctly(served):
        served, limit = _fold(file, model), 1
    network = LiftingNetwork(path.stem, KEYPOINTS, size, options.lift_from, limit, metadata.source(path, meta))
    return Served(network, {network.name: served})


def _fold(file: CropFile, model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with the inputs and the output of the served form."""
    model = compose.add_prefix(model, "network/")
    nodes = fold_normalisation(file, model, LIFT_CROPS.name, model.graph.input[0].name)
    for value, tensor in zip(list(model.graph.input)[1:], (KEYPOINTS_IMAGE, KEYPOINTS_CROP), strict=True):
        nodes.append(helper.make_node("Identity", [tensor.name], [value.name]))
        value.name = tensor.name
    graph_edit.insert_first(model, nodes)
    model.graph.node.append(helper.make_node("Identity", [f"network/{OUTPUT}"], [LIFTED.name]))
    graph_edit.set_outputs(model, {LIFTED.name: (_JOINTS, 3)})
    return model


def _facts(variant: Variant) -> str:
    accuracy = f"joints in space, trained on {BENCHMARK} ({SOURCE}); weights: {WEIGHTS}"
    return facts(_JOINTS, variant.input_size, variant.parameters, accuracy)


FAMILY = Family(
    "poseformer",
    serve,
    f"{', '.join(INPUTS)} -> {OUTPUT} [batch, {_JOINTS}, 3]",
    is_lifter,
    {name: _facts(variant) for name, variant in VARIANTS.items()},
    "export.families.poseformer.export",
)
