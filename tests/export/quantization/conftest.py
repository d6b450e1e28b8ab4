"""A small network with every kind of layer."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from export.quantization import graph

TEXT = """
<ir_version: 8, opset_import: ["": 17]>
net (float[batch,4,8,8] input) => (float[batch,4,8,8] output, float[batch,4] answer) {
    shared = Identity(w)
    a = Conv<kernel_shape=[3,3], pads=[1,1,1,1]>(input, shared)
    b = Conv<kernel_shape=[3,3], pads=[1,1,1,1], group=4>(a, depthwise)
    output = Conv(b, pointwise)
    mean = GlobalAveragePool(output)
    gate = Conv(mean, pointwise)
    chosen = ArgMax<axis=1>(gate)
    number = Cast<to=1>(chosen)
    late = Conv(number, single)
    flat = Flatten(late)
    answer = MatMul(flat, last)
}"""


@pytest.fixture(scope="module")
def network():
    chance = np.random.default_rng(0)
    shapes = {
        **{"w": (4, 4, 3, 3), "depthwise": (4, 1, 3, 3), "pointwise": (4, 4, 1, 1)},
        **{"single": (4, 1, 1, 1), "last": (4, 4)},
    }
    model = parser.parse_model(TEXT)
    weights = {name: chance.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    model.graph.initializer.extend(numpy_helper.from_array(values, name) for name, values in weights.items())
    onnx.checker.check_model(model)
    return graph.readied(model)
