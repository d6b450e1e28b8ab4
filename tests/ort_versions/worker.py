"""Runs networks in an environment of its own, which holds ONNX Runtime and numpy only.

Each line of stdin is a JSON array of three files: a network, its inputs (.npz), and the file for its outputs (.npz).
A line of stdout answers when the outputs are written.
"""

import json
import sys

import numpy as np
import onnxruntime

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
options.log_severity_level = 3
sessions = {}
for line in sys.stdin:
    network, inputs, outputs = json.loads(line)
    if network not in sessions:
        sessions[network] = onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
    names = [value.name for value in sessions[network].get_outputs()]
    with np.load(inputs) as feeds:
        results = sessions[network].run(names, dict(feeds))
    np.savez(outputs, **dict(zip(names, results, strict=True)))
    print(onnxruntime.__version__, flush=True)
