"""TensorFlow's operators in numpy, for one picture [1, height, width, channels], written from their definitions."""

import math

import numpy as np


def _windows(source, size, strides, dilations, padding, fill=0.0):
    """Yield (row, column, window (h, w, channels)) of a moving window; SAME adds the odd pixel at the end."""
    picture, places = source[0], []
    around = []
    for side, extent, stride, dilation in zip(picture.shape[:2], size, strides, dilations, strict=True):
        covered = (extent - 1) * dilation + 1
        if padding == "SAME":
            count = math.ceil(side / stride)
            lacking = max((count - 1) * stride + covered - side, 0)
            around.append((lacking // 2, lacking - lacking // 2))
        else:
            count = (side - covered) // stride + 1
            around.append((0, 0))
        places.append(count)
    padded = np.pad(picture, [*around, (0, 0)], constant_values=fill)
    for row in range(places[0]):
        for column in range(places[1]):
            rows = row * strides[0] + np.arange(size[0]) * dilations[0]
            columns = column * strides[1] + np.arange(size[1]) * dilations[1]
            yield row, column, padded[np.ix_(rows, columns)]


def _collected(cells):
    cells = list(cells)
    height, width = (max(place[axis] for place in cells) + 1 for axis in (0, 1))
    result = np.zeros((1, height, width, len(cells[0][2])))
    for row, column, values in cells:
        result[0, row, column] = values
    return result


def convolution(source, kernel, strides=(1, 1), dilations=(1, 1), padding="SAME"):
    """Conv2D with a kernel [height, width, inputs, outputs]."""
    cells = _windows(source, kernel.shape[:2], strides, dilations, padding)
    return _collected((row, column, np.tensordot(window, kernel, 3)) for row, column, window in cells)


def depthwise(source, kernel, strides=(1, 1), dilations=(1, 1), padding="SAME"):
    """DepthwiseConv2dNative with a kernel [height, width, channels, multiplier]; output c * multiplier + m."""
    cells = _windows(source, kernel.shape[:2], strides, dilations, padding)
    return _collected((row, column, np.einsum("hwc,hwcm->cm", window, kernel).ravel()) for row, column, window in cells)


def max_pool(source, size, strides, padding):
    """MaxPool."""
    cells = _windows(source, size, strides, (1, 1), padding, -np.inf)
    return _collected((row, column, window.max((0, 1))) for row, column, window in cells)


def resize(source, size, corners=False, half=False):
    """ResizeBilinear."""
    result = source[0]
    for axis in (0, 1):
        before, after = result.shape[axis], size[axis]
        scale = (before - 1) / (after - 1) if corners else before / after
        places = [max((place + 0.5) * scale - 0.5 if half else place * scale, 0) for place in range(after)]
        low = np.minimum(np.floor(places).astype(int), before - 1)
        share = (np.array(places) - low).reshape([-1, 1, 1] if axis == 0 else [1, -1, 1])
        high = np.minimum(low + 1, before - 1)
        result = np.take(result, low, axis) * (1 - share) + np.take(result, high, axis) * share
    return result[None]
