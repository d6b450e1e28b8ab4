"""Small hand-made networks with exactly known answers, so that server tests need no downloaded weights.

The detector reports a person in every 8x8 cell of pure red. The pose network weights the colours differently for each
keypoint, and returns the column and the row in which the picture is brightest under these weights.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper, parser

STRIDES = (8, 16, 32)


def save_detector(path: Path, size: tuple[int, int] = (416, 416), box: tuple[float, float] = (6.0, 6.0)) -> Path:
    """Write a raw YOLOX file: every 8x8 cell of pure red (BGR 0, 0, 255) is a person with a box of (w, h) pixels."""
    width, height = size
    shapes = [(height // stride, width // stride) for stride in STRIDES]
    candidates = sum(h * w for h, w in shapes)
    text = f"""
    <ir_version: 8, opset_import: ["": 17]>
    red_cells (float[1,3,{height},{width}] images) => (float[1,{candidates},6] output) {{
        cells = AveragePool<kernel_shape=[8,8], strides=[8,8]>(images)
        redness = Conv(cells, red_weight, red_bias)
        probability = Sigmoid(redness)
        rows = Reshape(probability, column)
        some_rows = Slice(rows, start, coarse, axis)
        nobody = Mul(some_rows, zero)
        objectness = Concat<axis=1>(rows, nobody)
        nothing = Mul(objectness, zero)
        geometry = Add(nothing, offsets)
        certain = Add(nothing, one)
        output = Concat<axis=2>(geometry, objectness, certain)
    }}"""
    fine = shapes[0][0] * shapes[0][1]
    constants = {
        "red_weight": np.array([-0.5, -0.5, 0.5], np.float32).reshape(1, 3, 1, 1),
        "red_bias": np.array([-120.0], np.float32),  # logit 7.5 at pure red, far below 0 elsewhere
        "column": np.array([1, -1, 1]),
        "start": np.array([0]),
        "coarse": np.array([candidates - fine]),
        "axis": np.array([1]),
        "zero": np.array(0.0, np.float32),
        "one": np.array(1.0, np.float32),
        "offsets": np.tile(
            np.array([0.5, 0.5, np.log(box[0] / 8), np.log(box[1] / 8)], np.float32), (1, candidates, 1)
        ),
    }
    return save_graph(text, constants, path)


def save_pose_network(
    path: Path,
    keypoints: int = 17,
    size: tuple[int, int] = (192, 256),
    seed: int = 0,
    batch: str = "batch",
    idle_channels: int = 0,
    idle_rounds: int = 1,
) -> Path:
    """Write a CIGPose ONNX file that returns the brightest column and row for each keypoint.

    `idle_channels` of a convolution are computed besides, `idle_rounds` times one after the other, and change nothing,
    so that the network takes its time.
    """
    width, height = size
    rounds = range(1, idle_rounds + 1 if idle_channels else 1)
    crops = ["input", *(f"crop{n}" for n in rounds)]
    effort = "".join(
        f"""
        effort{n} = Conv<strides=[8, 8]>({crops[n - 1]}, heavy)
        most{n} = ReduceMax<keepdims=1>(effort{n})
        nothing{n} = Mul(most{n}, zero)
        {crops[n]} = Add({crops[n - 1]}, nothing{n})"""
        for n in rounds
    )
    text = f"""
    <ir_version: 8, opset_import: ["": 17]>
    bright_spots (float[{batch},3,{height},{width}] input)
        => (float[{batch},{keypoints},{2 * width}] simcc_x, float[{batch},{keypoints},{2 * height}] simcc_y) {{
        {effort}
        mixed = Conv({crops[-1]}, colours)
        columns = ReduceMax<axes=[2], keepdims=0>(mixed)
        simcc_x = Gather<axis=2>(columns, twice_x)
        rows = ReduceMax<axes=[3], keepdims=0>(mixed)
        simcc_y = Gather<axis=2>(rows, twice_y)
    }}"""
    colours = np.random.default_rng(seed).normal(size=(keypoints, 3, 1, 1)).astype(np.float32)
    constants = {"colours": colours, "twice_x": np.arange(2 * width) // 2, "twice_y": np.arange(2 * height) // 2}
    if idle_channels:
        constants |= {"heavy": np.ones((idle_channels, 3, 31, 31), np.float32), "zero": np.array(0.0, np.float32)}
    return save_graph(text, constants, path)


def save_bottom_up_network(path: Path, short_side: int = 128) -> Path:
    """Write a LOGO-CAP file: the 30 reddest 8x8 cells of the fitted picture are people, best first.

    Their keypoints lie at fixed offsets. Cells of pure red score nearly 1, all others nearly 0.
    """
    text = """
    <ir_version: 8, opset_import: ["": 17]>
    red_cells (float[1,3,height,width] input) => (float[30,17,2] keypoints, float[30,17] keypoint_scores,
                                                  float[30] person_scores, float[30] center_scores) {
        cells = AveragePool<kernel_shape=[8,8], strides=[8,8]>(input)
        redness = Conv(cells, red_weight, red_bias)
        probability = Sigmoid(redness)
        shape = Shape(probability)
        columns = Gather<axis=0>(shape, three)
        flat = Reshape(probability, all)
        center_scores, indices = TopK<axis=0>(flat, count)
        row = Div(indices, columns)
        column = Mod(indices, columns)
        y = Unsqueeze(row, last)
        x = Unsqueeze(column, last)
        places = Concat<axis=1>(x, y)
        numbers = Cast<to=1>(places)
        centers = Mul(numbers, eight)
        persons = Unsqueeze(centers, last)
        keypoints = Add(persons, offsets)
        scores = Unsqueeze(center_scores, last)
        keypoint_scores = Mul(scores, heights)
        person_scores = ReduceMean<axes=[1], keepdims=0>(keypoint_scores)
    }"""
    generator, std = np.random.default_rng(2), np.float32([58.395, 57.12, 57.375])
    weight = np.float32([0.5, -0.5, -0.5])  # of R, G, B; logit 7.5 at pure red
    constants = {
        "red_weight": (weight * std).reshape(1, 3, 1, 1),
        "red_bias": np.float32([weight @ np.float32([123.675, 116.28, 103.53]) - 120]),
        "three": np.array(3),
        "all": np.array([-1]),
        "count": np.array([30]),
        "last": np.array([1]),
        "eight": np.float32(8),
        "offsets": generator.uniform(-20, 20, (17, 2)).astype(np.float32),
        "heights": generator.uniform(0.01, 0.2, (1, 17)).astype(np.float32),
    }
    save_graph(text, constants, path)
    model = onnx.load(path)
    onnx.helper.set_model_props(model, {"cigpose_meta": f'{{"family": "logocap", "short_side": {short_side}}}'})
    onnx.save(model, path)
    return path


def save_heatmap_network(
    path: Path, keypoints: int = 17, size: tuple[int, int] = (192, 256), batch: str = "batch"
) -> Path:
    """Write a file whose heat maps are weighted sums of the colours, at a quarter of the crop's size."""
    width, height = size
    text = f"""
    <ir_version: 8, opset_import: ["": 17]>
    warm (float[{batch},3,{height},{width}] input)
        => (float[{batch},{keypoints},{height // 4},{width // 4}] output) {{
        mixed = Conv(input, colours)
        output = MaxPool<kernel_shape=[4,4], strides=[4,4]>(mixed)
    }}"""
    colours = np.random.default_rng(1).normal(size=(keypoints, 3, 1, 1)).astype(np.float32)
    return save_graph(text, {"colours": colours}, path)


def graph_of(served):
    """Return the only graph of a served pose file."""
    (graph,) = served.graphs.values()
    return graph


def save_graph(text: str, constants: dict[str, np.ndarray], path: Path) -> Path:
    model = parser.parse_model(text)
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path
