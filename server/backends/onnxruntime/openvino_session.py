"""OpenVINO's CPU plugin behind the interface of an ONNX Runtime session: same file, same names."""

import contextlib
import hashlib
import os
import socket
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
    """The part of `onnxruntime.InferenceSession` that the backend uses: inputs, outputs, run.

    Args:
        path: the ONNX file.
        threads: threads of a run; 0 means one per core.
        precision: `f32` or `bf16`.
        instances: the model's instances. While the others are idle, a run takes their threads, too. Its results are
            the same.
    """

    def __init__(self, path, threads, precision, instances=None):
        model = openvino.Core().read_model(path)
        # not those of the compiled model, where an input also has the name of a tensor that only renames it
        self._inputs, self._outputs = _values(model.inputs), _values(model.outputs)
        self._request = _request(model, threads, precision)
        self._instances = instances
        self._with_all_threads = _request(model, threads * instances.count, precision) if instances else None

    def get_inputs(self):
        return self._inputs

    def get_outputs(self):
        return self._outputs

    def run(self, names, feeds):
        if self._instances is None:
            return _infer(self._request, names, feeds)
        with self._instances.computing() as alone:
            return _infer(self._with_all_threads if alone else self._request, names, feeds)


class Instances:
    """The instances of a model, each in a process of its own.

    One that computes has a socket in Linux's abstract namespace, which needs no file and vanishes with its process.

    Args:
        model: the model's name.
        own: number of this instance.
        count: number of instances.
    """

    def __init__(self, model, own, count):
        key = hashlib.sha256(model.encode()).hexdigest()[:16]
        addresses = [f"\0cigpose-instance-{os.getppid()}-{key}-{number}" for number in range(count)]
        self.count = count
        self._own = addresses.pop(own)
        self._others = addresses

    @contextlib.contextmanager
    def computing(self):
        """Mark this instance during the block; yield whether the others are idle."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as mark, socket.socket(mark.family, mark.type) as probe:
            try:
                mark.bind(self._own)
            except OSError:  # another version of the model is in work
                yield False
            else:
                yield all(probe.connect_ex(address) for address in self._others)


def _request(model, threads, precision):
    options = {
        "INFERENCE_PRECISION_HINT": precision,
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,  # with pinning, the sessions of several processes would share one core
    }
    if threads:
        options["INFERENCE_NUM_THREADS"] = threads
    return openvino.compile_model(model, "CPU", options).create_infer_request()


def _infer(request, names, feeds):
    results = request.infer(feeds, share_inputs=True, share_outputs=True)
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
