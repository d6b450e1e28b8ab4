"""What a server serves, as far as its open APIs show it: in production some of them are closed."""

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
        name: the value for `PoseClient(model=...)`.
        network: the ensemble's pose network; None when the server does not report it.
        keypoints: K, the number of keypoints of each person.
        keypoint_set: name of the keypoint set; None when no known set has K keypoints.
        max_persons: limit of people, or given boxes, in one request; None when the server does not report it.
        kind: `top_down`, `bottom_up` or `lifted`; None when the server does not report it.
        keypoint_set_3d: name of the keypoint set of `keypoints_3d`; None without them.
        lifts_from: the 2-D network below a lifter; None for other networks.
    """

    name: str
    network: str | None
    keypoints: int
    keypoint_set: str | None
    max_persons: int | None
    kind: str | None = None
    keypoint_set_3d: str | None = None
    lifts_from: str | None = None

    @property
    def takes_boxes(self) -> bool:
        """Whether `estimate_boxes` works: a bottom-up network finds keypoints without boxes."""
        return self.kind != "bottom_up"


@dataclass(frozen=True)
class ServerInfo:
    """A server and its pose ensembles.

    Attributes:
        name: the server's name, as it reports it.
        version: the server's version.
        models: the pose ensembles, the default first.
        complete: False when the server does not list its models; `models` then holds only the client's own.
    """

    name: str
    version: str
    models: tuple[ServedModel, ...]
    complete: bool


def info_call(ask: Ask, own: str) -> Call:
    """Return the steps of `info`; the result is a `ServerInfo`.

    Args:
        ask: returns the call of a method of the transport.
        own: the client's ensemble, described alone when the server does not list its models.
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
    """Return the pose ensembles that the default one's configuration lists, or else the repository index.

    None when both are closed.
    """
    networks = (yield from _parameters(ask, DEFAULT)).get("networks")
    if networks:
        return pose_ensembles(networks)
    index = yield from _if_allowed(ask("get_model_repository_index", {}))
    if index is None:
        return None
    return tuple(filter(is_pose_ensemble, (model.name for model in index.models if model.state == "READY")))


def _parameters(ask: Ask, name: str) -> Generator[Any, Any, dict[str, str]]:
    """Return the parameters in a model's configuration; empty when the server does not show it."""
    config = yield from _if_allowed(ask("get_model_config", {"model_name": name}))
    return {} if config is None else {key: value.string_value for key, value in config.config.parameters.items()}


def _if_allowed(call: Call) -> Generator[Any, Any, Any]:
    try:
        return (yield from call)
    except PoseClientError:
        return None


def _model(metadata: Any, parameters: dict[str, str]) -> ServedModel:
    count = next(int(output.shape[1]) for output in metadata.outputs if output.name == "keypoint_scores")
    known = find_keypoint_set(count)
    return ServedModel(
        name=metadata.name,
        network=parameters.get("network"),
        keypoints=count,
        keypoint_set=parameters.get("keypoint_set", known.name if known else None),
        max_persons=int(parameters["max_persons"]) if "max_persons" in parameters else None,
        kind=parameters.get("kind"),
        keypoint_set_3d=parameters.get("keypoint_set_3d"),
        lifts_from=parameters.get("lifts_from"),
    )
