"""The in-process runtime: runs a pipeline with ONNX Runtime, without a server."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from ensemble.networks import Network
from ensemble.pipeline import Member, Pipeline
from ensemble.steps import Arrays, Request, Step
from ensemble.tensors import Tensor

OnnxFile: TypeAlias = Path | bytes


class InProcess:
    """A pipeline as a callable object. The ONNX Runtime sessions are created once, here.

    Args:
        pipeline: the pipeline to run.
        graphs: network name -> its ONNX file in served form, or the file's content.
        threads: threads of each session; 0 for one per core.
    """

    def __init__(self, pipeline: Pipeline, graphs: Mapping[str, OnnxFile], threads: int = 1):
        self.pipeline = pipeline
        self._sessions = {
            member.name: _session(graphs[member.name], threads)
            for member in pipeline.members
            if isinstance(member, Network)
        }

    def __call__(
        self, *, wanted: Iterable[str] | None = None, parameters: Mapping[str, Any] | None = None, **inputs: Any
    ) -> dict[str, NDArray[Any]]:
        """Return the wanted outputs by name; all of them by default.

        Args:
            wanted: names of outputs.
            parameters: request parameters.
            inputs: arrays by input name; an encoded picture as bytes.

        Raises:
            ValueError: the request is invalid; the text is the one that the server returns.
        """
        outputs = [tensor.name for tensor in self.pipeline.outputs] if wanted is None else list(wanted)
        tensors = self.tensors(outputs, parameters or {}, inputs)
        return {name: tensors[name] for name in outputs}

    def tensors(
        self, wanted: Iterable[str], parameters: Mapping[str, Any], inputs: Mapping[str, Any]
    ) -> dict[str, NDArray[Any]]:
        """Return the inputs and every tensor that the wanted outputs depend on. Arguments: see `__call__`."""
        needed = self.pipeline.needed(wanted)
        tensors = {name: _array(value) for name, value in inputs.items()}
        for member in self.pipeline.members:
            if member.name in needed:
                tensors |= self._run(member, tensors, parameters, needed[member.name])
        return tensors

    def after(self, network: str, tensors: Arrays, parameters: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
        """Return the tensors, and those of the members that follow a network.

        Args:
            network: name of a network.
            tensors: the tensors before it, and its outputs.
            parameters: request parameters.
        """
        names = [member.name for member in self.pipeline.members]
        answered = dict(tensors)
        for member in self.pipeline.members[names.index(network) + 1 :]:
            answered |= self._run(member, answered, parameters, frozenset(each.name for each in member.outputs))
        return answered

    def _run(self, member: Member, tensors: Arrays, parameters: Mapping[str, Any], wanted: frozenset[str]) -> Arrays:
        if isinstance(member, Step):
            fed = {tensor.name: _single(tensors[tensor.name], tensor) for tensor in member.inputs}
            return member.run(Request(fed, parameters, wanted))
        names = [tensor.name for tensor in member.outputs]
        fed = {tensor.name: tensors[tensor.name] for tensor in member.inputs}
        return dict(zip(names, self._sessions[member.name].run(names, fed), strict=True))


def _session(graph: OnnxFile, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _array(value: Any) -> NDArray[Any]:
    return np.array([value], object) if isinstance(value, bytes) else np.asarray(value)


def _single(array: NDArray[Any], tensor: Tensor) -> NDArray[Any]:
    """Drop the batch axis of a network's output for one item, where a step takes the item itself."""
    return array[0] if array.ndim == len(tensor.dims) + 1 and len(array) == 1 else array
