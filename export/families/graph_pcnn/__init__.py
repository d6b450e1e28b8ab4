"""Graph-PCNN in plain PyTorch: a heat-map network, and a second stage that refines its peaks on the skeleton's graph.

Paper: Graph-PCNN, arXiv 2007.10599 (ECCV 2020). Its authors published neither code nor weights: stage 1 is the official
HRNet or SimpleBaseline, exactly; stage 2 is written from the paper, and what the paper leaves open is chosen here
(`variants.Variant`). It has to be trained to be of any use.

`variants` needs no PyTorch; the others do.
"""

from pathlib import Path

import onnx

from ensemble.networks import Coordinates
from ensemble.tensors import COARSE_KEYPOINTS, GRID_KEYPOINTS, GRID_SCORES
from export import graph_edit
from export.families import Family, PoseOptions, Served, facts
from export.families.graph_pcnn.variants import NO_WEIGHTS, OUTPUTS, SOURCE, VARIANTS, Variant
from export.families.hrnet.variants import BENCHMARK, STRIDE
from export.families.top_down import check_metadata, read_crop_file, serve_crop_file


def serve(path: Path, model: onnx.ModelProto, options: PoseOptions) -> Served:
    """Serve a file whose input is crops and whose outputs are keypoints in cells of the heat maps, and their scores.

    Raises:
        ValueError: the file is no such network (the message lists its outputs), contradicts its metadata, or the
            flip test is asked for.
    """
    if options.flip_test:
        raise ValueError(
            f"{path}: stage 2 of Graph-PCNN reads the mirrored crop's features, so the flip test cannot be added to a "
            "file; use `python -m export onnx --flip-test`, and leave --flip-test out here"
        )
    file = read_crop_file(path, model, options)
    if file.answers.keys() != {*OUTPUTS}:
        raise ValueError(f"{path}: {graph_edit.signature(model)}; Graph-PCNN has the outputs {', '.join(OUTPUTS)}")
    grid = file.size[0] // STRIDE, file.size[1] // STRIDE
    check_metadata(file, {"heatmap_w": grid[0], "heatmap_h": grid[1]})
    served = (GRID_KEYPOINTS.name, COARSE_KEYPOINTS.name, GRID_SCORES.name)
    outputs, count = dict(zip(served, OUTPUTS, strict=True)), len(file.answers[OUTPUTS[0]])
    return serve_crop_file(file, Coordinates(grid, coarse=True), count, options, outputs=outputs)


def _facts(variant: Variant) -> str:
    figure = variant.average_precision
    accuracy = f"AP {figure} on {BENCHMARK} ({SOURCE})" if figure else "no accuracy published"
    return facts(variant.keypoints, variant.baseline.input_size, None, f"{accuracy}; {NO_WEIGHTS}")


FAMILY = Family(
    "graph_pcnn",
    serve,
    variants={name: _facts(variant) for name, variant in VARIANTS.items()},
    checkpoints="export.families.graph_pcnn.export",
)
