"""ONNX files of the example families, with exactly known answers."""

import numpy as np

from tests.networks import save_graph

RED = {"red_weight": np.array([-0.5, -0.5, 0.5], np.float32).reshape(1, 3, 1, 1), "red_bias": np.float32([-120])}


def save_people_network(path):
    """Write a file that reports the 200 reddest 8x8 cells as people, best first, with keypoints at fixed offsets."""
    text = """
    <ir_version: 8, opset_import: ["": 17]>
    red (float[1,3,height,width] input) => (float[200,17,2] people, float[200] people_scores) {
        cells = AveragePool<kernel_shape=[8,8], strides=[8,8]>(input)
        redness = Conv(cells, red_weight, red_bias)
        probability = Sigmoid(redness)
        shape = Shape(probability)
        columns = Gather<axis=0>(shape, three)
        flat = Reshape(probability, all)
        people_scores, indices = TopK<axis=0>(flat, count)
        row = Div(indices, columns)
        column = Mod(indices, columns)
        y = Unsqueeze(row, last)
        x = Unsqueeze(column, last)
        places = Concat<axis=1>(x, y)
        numbers = Cast<to=1>(places)
        centers = Mul(numbers, eight)
        persons = Unsqueeze(centers, last)
        people = Add(persons, offsets)
    }"""
    constants = {
        "three": np.array(3),
        "all": np.array([-1]),
        "count": np.array([200]),
        "last": np.array([1]),
        "eight": np.float32(8),
        "offsets": np.random.default_rng(2).uniform(-20, 20, (17, 2)).astype(np.float32),
    }
    return save_graph(text, RED | constants, path)


def save_lifter(path):
    """Write a file whose z is the crop's brightness times x in the crop."""
    text = """
    <ir_version: 8, opset_import: ["": 17]>
    lift (float[batch,3,64,48] crop, float[batch,17,2] keypoints_image, float[batch,17,2] keypoints_crop)
        => (float[batch,17,3] keypoints_3d) {
        brightness = ReduceMean<axes=[1,2,3], keepdims=0>(crop)
        each = Unsqueeze(brightness, axes)
        x = Slice(keypoints_crop, first, end, last)
        z = Mul(x, each)
        xy = Mul(keypoints_image, share)
        keypoints_3d = Concat<axis=2>(xy, z)
    }"""
    constants = {
        "axes": np.array([1, 2]),
        "first": np.array([0]),
        "end": np.array([1]),
        "last": np.array([2]),
        "share": np.float32(0.01),
    }
    return save_graph(text, constants, path)
