"""Small RT-DETR files in both published forms, with exactly known answers: every red 8x8 cell is a person."""

import numpy as np
import onnx
from onnx import numpy_helper, parser

_LEVEL = """
        cells = AveragePool<kernel_shape=[8,8], strides=[8,8]>(pixel_values)
        redness = Conv(cells, red_weight, red_bias)
        person = Reshape(redness, column)
        nobody = Sub(zero, person)
        logits = Concat<axis=2>(person, nobody)
        nothing = Mul(person, zero)
        pred_boxes = Add(nothing, where)"""
_POST = """
        scores_all = Sigmoid(logits)
        best = ReduceMax<axes=[2], keepdims=0>(scores_all)
        labels = ArgMax<axis=2, keepdims=0>(logits)
        center = Slice(pred_boxes, at0, at2, last)
        extent = Slice(pred_boxes, at2, at4, last)
        half = Mul(extent, one_half)
        low = Sub(center, half)
        high = Add(center, half)
        shares = Concat<axis=2>(low, high)
        sizes = Cast<to=1>(orig_target_sizes)
        pair = Concat<axis=1>(sizes, sizes)
        factors = Unsqueeze(pair, at1)
        boxes = Mul(shares, factors)
        scores = Identity(best)"""


def save_detr(path, size=(96, 64), form="heads", box=(6.0, 10.0)):
    """Write a file for RGB pictures of (w, h), values 0 to 1. Boxes are (w, h) pixels around the cell's centre."""
    width, height = size
    columns, rows = width // 8, height // 8
    count, image = columns * rows, f"float[batch,3,{height},{width}] pixel_values"
    if form == "heads":
        ends = f"({image}) => (float[batch,{count},2] logits, float[batch,{count},4] pred_boxes)"
    else:
        answers = f"int64[batch,{count}] labels, float[batch,{count},4] boxes, float[batch,{count}] scores"
        ends = f"({image}, int64[batch,2] orig_target_sizes) => ({answers})"
    body = _LEVEL + (_POST if form != "heads" else "")
    model = parser.parse_model(f'<ir_version: 8, opset_import: ["": 17]>\nred_cells {ends} {{{body}\n}}')
    x, y = np.meshgrid(np.arange(columns), np.arange(rows))
    places = np.stack([(x + 0.5) / columns, (y + 0.5) / rows], 2).reshape(1, count, 2)
    extent = np.broadcast_to(np.array(box) / size, places.shape)
    constants = {
        "red_weight": np.array([127.5, -127.5, -127.5], np.float32).reshape(1, 3, 1, 1),  # red is the first channel
        "red_bias": np.array([-120.0], np.float32),
        "column": np.array([0, -1, 1]),
        "zero": np.array(0.0, np.float32),
        "where": np.concatenate([places, extent], 2).astype(np.float32),
    }
    if form != "heads":
        constants |= {f"at{i}": np.array([i]) for i in (0, 1, 2, 4)}
        constants |= {"last": np.array([2]), "one_half": np.array(0.5, np.float32)}
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path
