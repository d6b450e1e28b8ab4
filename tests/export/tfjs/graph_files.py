"""Writes TensorFlow.js graph models."""

import base64
import json

import numpy as np


def _attribute(value):
    if isinstance(value, bool):
        return {"b": value}
    if isinstance(value, int):
        return {"i": str(value)}
    if isinstance(value, float):
        return {"f": value}
    if isinstance(value, str):
        return {"s": base64.b64encode(value.encode()).decode()}
    kind = "s" if isinstance(value[0], str) else "i"
    return {"list": {kind: [_attribute(item)[kind] for item in value]}}


def node(name, op, *inputs, **attributes):
    """Return one node."""
    return {
        "name": name,
        "op": op,
        "input": list(inputs),
        "attr": {key: _attribute(value) for key, value in attributes.items()},
    }


def save_graph_model(path, shape, nodes, weights, quantization=None):
    """Write NAME.json and NAME.bin: a graph with the input `pixels`, and weights by name.

    `quantization` is the manifest's entry for float weights; with it, `weights` hold the stored numbers.
    """
    dims = {"shape": {"dim": [{"size": str(size)} for size in shape]}}
    placeholder = {"name": "pixels", "op": "Placeholder", "attr": {"shape": dims["shape"]}}
    constants = [{"name": name, "op": "Const", "attr": {}} for name in weights]
    entries, data = [], b""
    for name, values in weights.items():
        entry = {"name": name, "shape": list(values.shape), "dtype": "int32" if values.dtype == np.int32 else "float32"}
        if quantization and values.dtype != np.int32:
            entry["quantization"] = quantization
        entries.append(entry)
        data += values.tobytes()
    content = {
        "format": "graph-model",
        "modelTopology": {"node": [placeholder, *constants, *nodes]},
        "weightsManifest": [{"paths": [path.with_suffix(".bin").name], "weights": entries}],
    }
    path.write_text(json.dumps(content))
    path.with_suffix(".bin").write_bytes(data)
    return path
