"""Pipelines -> the models and ensembles of a repository, with admission control around each pipeline."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from ensemble.networks import Network
from ensemble.pipeline import Member, Pipeline
from ensemble.steps import Step
from ensemble.tensors import Tensor
from ensemble.triton import quirks
from ensemble.triton.admission.steps import TICKET, AdmitPicture, AwaitTurn
from ensemble.triton.model import DynamicBatching, Ensemble, Instances, Model, Trait
from ensemble.triton.model import Step as EnsembleStep

_GATE = (AdmitPicture(), AwaitTurn())


def render(pipelines: Iterable[Pipeline]) -> tuple[Model | Ensemble, ...]:
    """Return every model of the repository, then the ensembles.

    Raises:
        ValueError: two different models have one name (the message names what both are), or a pipeline cannot be
            wired in Triton.
    """
    pipelines = tuple(pipelines)
    shared = _Shared(pipelines)
    models: dict[str, Model | Ensemble] = {step.name: _step_model(step, "keep", "gate") for step in _GATE}
    ensembles: dict[str, Model | Ensemble] = {}
    for pipeline in pipelines:
        for model in _models(pipeline, shared):
            _add(models, model)
        _add(ensembles, _ensemble(pipeline, shared))
    for name in models.keys() & ensembles.keys():
        _add(models, ensembles[name])
    return (*models.values(), *ensembles.values())


class _Shared:
    """What the pipelines of a repository must agree on, so that they can share the models of their steps."""

    def __init__(self, pipelines: Iterable[Pipeline]):
        self._copies: dict[str, set[str]] = {}
        self._tickets: dict[str, str] = {}  # name of a step -> its ticket action in the first pipeline that has it
        for pipeline in pipelines:
            copied = quirks.copied(pipeline)
            for member in pipeline.members:
                self._copies.setdefault(member.name, set()).update(copied & {each.name for each in member.outputs})
            self._tickets = {**_tickets(pipeline), **self._tickets}

    def copies(self, step: Step) -> tuple[Tensor, ...]:
        """Return the additional outputs that any of the pipelines needs; unused ones are never computed."""
        return tuple(_inner(tensor) for tensor in step.outputs if tensor.name in self._copies[step.name])

    def model_of(self, member: Member, ticket: str) -> str:
        """Return the name of the model that runs a member. Each ticket action needs a model of its own.

        Pausing is no substitute for the other actions: a ticket that no step resumes keeps its place for too long.
        """
        return member.name if ticket == self._tickets.get(member.name, ticket) else f"{member.name}_{ticket}"


def _add(models: dict[str, Model | Ensemble], model: Model | Ensemble) -> None:
    known = models.setdefault(model.name, model)
    if known != model:
        raise ValueError(
            f"two different models would be called {model.name}: {_described(known)} and {_described(model)}; "
            "give the file another name"
        )


def _described(model: Model | Ensemble) -> str:
    if isinstance(model, Ensemble):
        return "a pipeline"
    what = model.parameters.get("source_file") or model.parameters.get("step") or model.backend
    takes, answers = (
        ", ".join(f"{tensor.name} {list(tensor.dims)}" for tensor in tensors)
        for tensors in (model.inputs, model.outputs)
    )
    return f"{what} ({takes} -> {answers})"


def _models(pipeline: Pipeline, shared: _Shared) -> Iterable[Model]:
    added, tickets = quirks.order_inputs(pipeline.members), _tickets(pipeline)
    for member in pipeline.members:
        if isinstance(member, Network):
            yield _network_model(member)
            continue
        ticket = tickets[member.name]
        inputs = (*((added[member.name],) if member.name in added else ()), TICKET)
        model = _step_model(member, ticket, member.weight, inputs, shared.copies(member))
        yield replace(model, name=shared.model_of(member, ticket))


def _tickets(pipeline: Pipeline) -> Mapping[str, str]:
    """Return what each step does with the ticket: name -> `keep`, `pause`, `resume` or `leave`.

    A step does not know whether others follow. A step whose outputs may be all that a caller requests pauses the
    ticket, and the next one resumes it. The last step returns it.
    """
    steps = [member for member in pipeline.members if isinstance(member, Step)]
    public = {tensor.name for tensor in pipeline.outputs}
    actions, paused = {}, False
    for step in steps:
        ends = bool(public & {tensor.name for tensor in step.outputs})
        actions[step.name] = "leave" if step is steps[-1] else "pause" if ends else "resume" if paused else "keep"
        paused = ends
    return actions


def _step_model(
    step: Step, ticket: str, trait: Trait, inputs: tuple[Tensor, ...] = (), outputs: tuple[Tensor, ...] = ()
) -> Model:
    step_class = type(step)
    return Model(
        name=step.name,
        backend="python",
        inputs=(*step.inputs, *inputs),
        outputs=(*step.outputs, *outputs),
        parameters={"step": f"{step_class.__module__}:{step_class.__qualname__}", "ticket": ticket, **step.settings},
        trait=trait,
    )


def _network_model(network: Network) -> Model:
    return Model(
        name=network.name,
        backend="onnxruntime",
        max_batch_size=network.max_batch_size,
        inputs=network.inputs,
        outputs=network.outputs,
        parameters=network.source,
        instances=Instances("KIND_AUTO"),
        batching=DynamicBatching() if network.max_batch_size else None,
        trait="person_network" if network.per_person else "picture_network",
    )


def _ensemble(pipeline: Pipeline, shared: _Shared) -> Ensemble:
    copied, added = quirks.copied(pipeline), quirks.order_inputs(pipeline.members)
    tickets = _tickets(pipeline)
    needed = {tensor.name for member in pipeline.members for tensor in member.inputs}
    needed |= {tensor.name for tensor in (*pipeline.outputs, *added.values())}

    def step(member: Member) -> EnsembleStep:
        inputs = {
            tensor.name: quirks.inner(tensor.name) if tensor.name in copied else tensor.name for tensor in member.inputs
        }
        outputs = {tensor.name: tensor.name for tensor in member.outputs if tensor.name in needed}
        outputs |= {_inner(tensor).name: _inner(tensor).name for tensor in member.outputs if tensor.name in copied}
        if isinstance(member, Step):
            inputs |= {tensor.name: tensor.name for tensor in (added.get(member.name), TICKET) if tensor}
        return EnsembleStep(shared.model_of(member, tickets.get(member.name, "")), inputs, outputs)

    first, *rest = quirks.listed(pipeline)
    gate = [
        EnsembleStep(
            each.name, *({tensor.name: tensor.name for tensor in ends} for ends in (each.inputs, each.outputs))
        )
        for each in _GATE
    ]
    steps = (
        [*gate, *map(step, (first, *rest))] if first is pipeline.members[0] else [step(first), *gate, *map(step, rest)]
    )
    return Ensemble(pipeline.name, pipeline.inputs, pipeline.outputs, tuple(steps), pipeline.parameters)


def _inner(tensor: Tensor) -> Tensor:
    return Tensor(quirks.inner(tensor.name), tensor.dtype, tensor.dims)
