"""What a server serves, as far as it tells: production servers close the calls that tell more."""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from cigpose_client._errors import PoseClientError
from cigpose_client._keypoints import find_keypoint_set
from cigpose_client._protocol import is_pose_ensemble
from cigpose_client._retry import Call


@dataclass(frozen=True)
class ServedModel:
    """One ensemble that turns pictures into poses.

    Attributes:
        name: to be given as `PoseClient(model=...)`.
        network: the pose network behind it; None when the server does not tell.
        keypoints: K, the number of keypoints of each person.
        keypoint_set: name of the keypoint set; None when no known set has K points.
        max_persons: the most people, or given boxes, of one request; None when the server does not tell.
    """

    name: str
    network: str | None
    keypoints: int
    keypoint_set: str | None
    max_persons: int | None


@dataclass(frozen=True)
class ServerInfo:
    """A server and what it serves.

    Attributes:
        name: the server's own name for itself.
        version: its version.
        models: what it serves; only the client's own model when the server keeps its list to itself.
    """

    name: str
    version: str
    models: tuple[ServedModel, ...]


def info_call(ask: Callable[[str, dict[str, Any]], Call], own: str) -> Call:
    """Ask the server what it serves.

    Args:
        ask: makes the call of one of the transport's methods.
        own: the client's ensemble, asked for when the server keeps its list to itself.
    """
    server = yield from ask("get_server_metadata", {})
    index = yield from _if_allowed(ask("get_model_repository_index", {}))
    names = [own] if index is None else [model.name for model in index.models if model.state == "READY"]
    models = []
    for name in filter(is_pose_ensemble, names):
        metadata = yield from ask("get_model_metadata", {"model_name": name})
        config = yield from _if_allowed(ask("get_model_config", {"model_name": name}))
        models.append(_model(metadata, config))
    return ServerInfo(server.name, server.version, tuple(models))


def _if_allowed(call: Call) -> Generator[Any, Any, Any]:
    try:
        return (yield from call)
    except PoseClientError:
        return None


def _model(metadata: Any, config: Any) -> ServedModel:
    count = next(int(output.shape[1]) for output in metadata.outputs if output.name == "keypoint_scores")
    known = find_keypoint_set(count)
    told = {} if config is None else {name: value.string_value for name, value in config.config.parameters.items()}
    return ServedModel(
        name=metadata.name,
        network=told.get("network"),
        keypoints=count,
        keypoint_set=told.get("keypoint_set", known.name if known else None),
        max_persons=int(told["max_persons"]) if "max_persons" in told else None,
    )
