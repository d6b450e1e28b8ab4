"""Reads a written repository back into pipelines, for the in-process runtime."""

from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb

from ensemble.in_process import InProcess
from ensemble.networks import Network
from ensemble.pipeline import Member, Pipeline
from ensemble.steps import load_step
from ensemble.tensors import Tensor
from ensemble.triton.admission.steps import AdmitPicture, AwaitTurn

_GATE = {AdmitPicture.name, AwaitTurn.name}


def read_config(repository: Path, name: str) -> "pb.ModelConfig":
    """Return a model's config.

    Raises:
        OSError: there is no such model.
    """
    text = (repository / name / "config.pbtxt").read_text(encoding="utf-8")
    return text_format.Parse(text, pb.ModelConfig())


def read_pipeline(repository: Path, name: str) -> Pipeline:
    """Return the pipeline that an ensemble was rendered from."""
    config = read_config(repository, name)
    steps = config.ensemble_scheduling.step
    waiting = [_member(repository, step.model_name) for step in steps if step.model_name not in _GATE]
    inputs, outputs = _tensors(config.input), _tensors(config.output)
    made, members = {tensor.name for tensor in inputs}, []
    while waiting:  # the listed order is not always the order of execution
        ready = next(member for member in waiting if {tensor.name for tensor in member.inputs} <= made)
        waiting.remove(ready)
        members.append(ready)
        made |= {tensor.name for tensor in ready.outputs}
    return Pipeline(name, inputs, tuple(members), outputs, _parameters(config))


def read_pipelines(repository: Path) -> list[Pipeline]:
    """Return every pipeline that a repository offers."""
    names = sorted(path.parent.name for path in repository.glob("*/config.pbtxt"))
    ensembles = [name for name in names if read_config(repository, name).platform == "ensemble"]
    return [read_pipeline(repository, name) for name in ensembles]


def run_here(repository: Path, name: str, threads: int = 1) -> InProcess:
    """Return a pipeline of a repository for use in process, with `threads` per session (0: one per core)."""
    pipeline = read_pipeline(repository, name)
    networks = [member.name for member in pipeline.members if isinstance(member, Network)]
    return InProcess(pipeline, {each: repository / each / "1" / "model.onnx" for each in networks}, threads)


def _member(repository: Path, name: str) -> Member:
    config = read_config(repository, name)
    parameters = _parameters(config)
    if config.backend == "python":
        return load_step(name, parameters)
    return Network(name, _tensors(config.input), _tensors(config.output), config.max_batch_size, parameters)


def _parameters(config: "pb.ModelConfig") -> dict[str, str]:
    return {key: value.string_value for key, value in config.parameters.items()}


def _tensors(entries: "list[pb.ModelInput]") -> tuple[Tensor, ...]:
    names = pb.DataType.Name
    return tuple(Tensor(e.name, names(e.data_type).removeprefix("TYPE_"), tuple(e.dims)) for e in entries)
