"""OpenVINO's CPU plugin behind the interface of an ONNX Runtime session: same file, same names."""

from collections import namedtuple

import openvino

_ONNX_TYPES = {
    openvino.Type.u8: "tensor(uint8)",
    openvino.Type.f32: "tensor(float)",
    openvino.Type.f16: "tensor(float16)",
    openvino.Type.i32: "tensor(int32)",
    openvino.Type.i64: "tensor(int64)",
}
Value = namedtuple("Value", "name type shape")


class OpenVinoSession:
    """The part of `onnxruntime.InferenceSession` that the backend uses: inputs, outputs, run."""

    def __init__(self, path, threads, precision):
        core = openvino.Core()
        options = {
            "INFERENCE_PRECISION_HINT": precision,
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,  # with pinning, the sessions of several processes would share one core
        }
        if threads:
            options["INFERENCE_NUM_THREADS"] = threads
        self._compiled = core.compile_model(core.read_model(path), "CPU", options)
        self._request = self._compiled.create_infer_request()

    def get_inputs(self):
        return _values(self._compiled.inputs)

    def get_outputs(self):
        return _values(self._compiled.outputs)

    def run(self, names, feeds):
        results = self._request.infer(feeds, share_inputs=True, share_outputs=True)
        return [results[name] for name in names]


def _values(ports):
    """Return every port under each of its names: a port has two where the graph only renames a tensor."""
    return [
        Value(
            name,
            _ONNX_TYPES.get(port.get_element_type(), str(port.get_element_type())),
            [dim.get_length() if dim.is_static else None for dim in port.get_partial_shape()],
        )
        for port in ports
        for name in port.get_names()
    ]
