"""Networks with constructed weights, which have the cost of the published ones. Their answers mean nothing.

The published weights cannot be shipped here, and speed does not depend on their values. So speed is measured with these
networks, and accuracy with the trained demo weights only. Where the speed depends on the answers, as that of a stream
does, `answering` gives a network of that cost one answer for everybody.
"""

import importlib
from pathlib import Path

import numpy as np
from onnx import helper

from ensemble.steps import Arrays
from export import graph_edit

NAME = "cigpose-m_coco-wholebody_256x192"
GRAPH_PCNN = "graphpcnn_resnet_50_256x192"
LOGOCAP = "logocap-hrnet-w32-coco"
LIFTER = "capf_hrnet_32"
_SHARE = 1e-6  # of the costly network's outputs; factor 0 might be optimised away
_FAMILIES = {
    NAME: ("cigpose", "build"),
    GRAPH_PCNN: ("graph_pcnn", "new"),
    LOGOCAP: ("logocap", "build"),
    LIFTER: ("poseformer", "build"),
}


def constructed_network(folder: Path, name: str = NAME) -> Path:
    """Return the ONNX file of one of these networks, written on first use.

    Raises:
        ValueError: PyTorch is missing.
    """
    path = folder / f"{name}.onnx"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        _write(name, path)
    return path


def answering(answers: Arrays, costly: Path, output: Path) -> Path:
    """Write a network that computes another one, and gives the same answers to every item.

    To the answers, a millionth of the other network's outputs is added, so that no optimiser can leave that network
    out.

    Args:
        answers: output name -> the answer to one item, (1, ...) float32.
        costly: network whose cost counts, and whose metadata is kept.
        output: file to write.

    Raises:
        ValueError: names or shapes of the outputs differ.
    """
    model = graph_edit.load(costly)
    names = [value.name for value in model.graph.output]
    outputs = {name: tuple(shape[1:]) for name, shape in zip(names, graph_edit.shapes(model.graph.output), strict=True)}
    if outputs != {name: answer.shape[1:] for name, answer in answers.items()}:
        raise ValueError(f"{costly.name} answers other arrays: {graph_edit.signature(model)}")
    share = graph_edit.constant(model, "share", np.array(_SHARE, np.float32))
    for node in model.graph.node:
        for values in (node.input, node.output):
            values[:] = [f"costly/{name}" if name in outputs else name for name in values]
    for name, answer in answers.items():
        rest, one = f"costly/{name}/share", graph_edit.constant(model, f"{name}/answer", answer)
        model.graph.node.append(helper.make_node("Mul", [f"costly/{name}", share], [rest]))
        model.graph.node.append(helper.make_node("Add", [one, rest], [name]))
    graph_edit.save(model, output)
    return output


def _write(name: str, path: Path) -> None:
    try:
        import torch
    except ImportError as error:
        raise ValueError(
            f"{path} is built with PyTorch; run `pip install -r requirements/torch.txt`, or name your file with --pose"
        ) from error
    from export.onnx_export import ExportOptions

    folder, make = _FAMILIES[name]
    export, networks, variants = (
        importlib.import_module(f"export.families.{folder}.{module}") for module in ("export", "network", "variants")
    )
    generator = torch.Generator().manual_seed(0)
    network = getattr(networks, make)(variants.VARIANTS[name]).eval()
    with torch.no_grad():
        for entry, value in network.state_dict().items():
            if not value.is_floating_point():
                continue
            noise = torch.rand(value.shape, generator=generator)
            if value.ndim > 1:
                value.copy_((2 * noise - 1) * (3 / value[0].numel()) ** 0.5)
            else:  # scales and variances near 1, biases near 0: signals keep their size, and none becomes denormal
                value.copy_(0.1 * (noise - 0.5) if entry.endswith(("bias", "mean", "beta")) else 0.9 + 0.2 * noise)
    export.export_onnx(network, path, ExportOptions(max_difference=1.0))
