"""What a server serves, as far as it tells: production servers close the calls that tell more."""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeAlias

from cigpose_client._errors import PoseClientError
from cigpose_client._keypoints import find_keypoint_set
from cigpose_client._protocol import DEFAULT, is_pose_ensemble, pose_ensembles
from cigpose_client._retry import Call

Ask: TypeAlias = Callable[[str, dict[str, Any]], Call]


@dataclass(frozen=True)
class ServedModel:
    """One ensemble that turns pictures into poses.

    Attributes:
        name: to be given as `PoseClient(model=...)`.
        network: the pose network behind it; None when the server does not tell.
        keypoints: K, the number of keypoints of each person.
        keypoint_set: name of the keypoint set; None when no known set has K points.
        max_persons: the most people, or given boxes, of one request; None when the server does not tell.
        kind: `top_down`, `bottom_up` or `lifted`; None when the server does not tell.
    """

    name: str
    network: str | None
    keypoints: int
    keypoint_set: str | None
    max_persons: int | None
    kind: str | None = None

    @property
    def takes_boxes(self) -> bool:
        """Whether `estimate_boxes` works: a bottom-up network finds keypoints without boxes."""
        return self.kind != "bottom_up"


@dataclass(frozen=True)
class ServerInfo:
    """A server and what it serves.

    Attributes:
        name: the server's own name for itself.
        version: its version.
        models: what it serves, the default first.
        complete: False when the server keeps its list to itself; `models` is then the client's own alone.
    """

    name: str
    version: str
    models: tuple[ServedModel, ...]
    complete: bool


def info_call(ask: Ask, own: str) -> Call:
    """Ask the server what it serves.

    Args:
        ask: makes the call of one of the transport's methods.
        own: the client's ensemble, asked for when the server keeps its list to itself.
    """
    server = yield from ask("get_server_metadata", {})
    names = yield from _names(ask)
    models = []
    for name in (own,) if names is None else names:
        metadata = yield from ask("get_model_metadata", {"model_name": name})
        parameters = yield from _parameters(ask, name)
        models.append(_model(metadata, parameters))
    return ServerInfo(server.name, server.version, tuple(models), complete=names is not None)


def _names(ask: Ask) -> Generator[Any, Any, tuple[str, ...] | None]:
    """Return the ensembles that find people, as the default one's configuration or else the server lists them.

    None when neither is shown.
    """
    networks = (yield from _parameters(ask, DEFAULT)).get("networks")
    if networks:
        return pose_ensembles(networks)
    index = yield from _if_allowed(ask("get_model_repository_index", {}))
    if index is None:
        return None
    return tuple(filter(is_pose_ensemble, (model.name for model in index.models if model.state == "READY")))


def _parameters(ask: Ask, name: str) -> Generator[Any, Any, dict[str, str]]:
    """Return what the configuration of a model tells in its parameters; nothing when the server keeps it to itself."""
    config = yield from _if_allowed(ask("get_model_config", {"model_name": name}))
    return {} if config is None else {key: value.string_value for key, value in config.config.parameters.items()}


def _if_allowed(call: Call) -> Generator[Any, Any, Any]:
    try:
        return (yield from call)
    except PoseClientError:
        return None


def _model(metadata: Any, told: dict[str, str]) -> ServedModel:
    count = next(int(output.shape[1]) for output in metadata.outputs if output.name == "keypoint_scores")
    known = find_keypoint_set(count)
    return ServedModel(
        name=metadata.name,
        network=told.get("network"),
        keypoints=count,
        keypoint_set=told.get("keypoint_set", known.name if known else None),
        max_persons=int(told["max_persons"]) if "max_persons" in told else None,
        kind=told.get("kind"),
    )
