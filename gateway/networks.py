"""The networks of the pose server, each with a client; all clients share one connection."""

import asyncio
import contextlib
import dataclasses
from typing import Any

from cigpose_client import AsyncPoseClient, KeypointSet, PoseClientError, ServedModel, keypoint_sets, strokes

from gateway import tracing
from gateway.problems import Problem
from gateway.settings import Settings

_REFRESH_S = 60.0
_INFO_TIMEOUT_S = 5.0
_READY_TIMEOUT_S = 2.0
_DEFAULT, _LIFTED = "pose", "pose_3d"  # the first network and the first lifter, also under their own names


class Networks:
    """Knows what the server serves, and hands out clients after `open`.

    Args:
        settings: of the gateway.
    """

    def __init__(self, settings: Settings):
        self._settings = settings
        self._models: tuple[ServedModel, ...] = ()
        self._clients: dict[str, AsyncPoseClient] = {}
        self._asked: asyncio.Task[bool] | None = None

    def open(self) -> None:
        """Create the connection, inside the running loop."""
        self._own = AsyncPoseClient(
            self._settings.url,
            timeout_s=self._settings.timeout_s,
            tls=self._settings.tls,
            retry=None,  # 503 and Retry-After are better than a wait that the caller does not know of
            headers=tracing.headers if self._settings.forward_trace else None,
        )

    async def client(self, model: str) -> tuple[AsyncPoseClient, ServedModel]:
        """Return the client of a network and the network's description.

        Args:
            model: a network's or an ensemble's name, as for `PoseClient`.

        Raises:
            PoseClientError: the list of networks is not known yet, and the server does not answer.
            Problem: the server does not offer that network.
        """
        if not self._models:
            await self.refresh()
        client = self._clients.get(model) or self._own.with_model(model)
        served = next((known for known in self._models if known.name == client.ensemble), None)
        if served is None:
            known = ", ".join(model.name for model in self._models)
            raise Problem(404, f"model {model[:100]!r} is not served here; known: {known}")
        self._clients[model] = client
        return client, served

    async def refresh(self) -> tuple[ServedModel, ...]:
        """Ask the server for its networks and return them. Raises: as `client`."""
        models = await self._listed()
        if models != self._models:
            self._models = models
            self._clients = {}  # the old ones remember keypoint sets; requests that use them go on
        return models

    async def keep_fresh(self) -> None:
        """Refresh the list every minute: the server may start again with other networks."""
        while True:
            with contextlib.suppress(PoseClientError, Problem):
                await self.refresh()
            await asyncio.sleep(_REFRESH_S)

    async def is_ready(self) -> bool:
        """Return whether the server serves its default network. Callers share a question: their number has no limit."""
        if self._asked is None or self._asked.done():
            self._asked = asyncio.create_task(self._own.is_ready(timeout_s=_READY_TIMEOUT_S))
        return await asyncio.shield(self._asked)

    async def close(self) -> None:
        """Close the connection."""
        await self._own.close()

    async def _listed(self) -> tuple[ServedModel, ...]:
        if self._settings.models:
            return tuple([await self._described(name) for name in self._settings.models])
        models = (await self._own.info(timeout_s=_INFO_TIMEOUT_S)).models
        if any(model.kind == "lifted" for model in models) and all(model.name != _LIFTED for model in models):
            models += (await self._described(_LIFTED),)
        return models

    async def _described(self, name: str) -> ServedModel:
        client = self._own.with_model(name)
        info = await client.info(timeout_s=_INFO_TIMEOUT_S)
        lifters = tuple(model for model in info.models if model.kind == "lifted")
        named = tuple(model for model in info.models if model.name == client.ensemble)
        if chosen := named or {_DEFAULT: info.models, _LIFTED: lifters}.get(client.ensemble):
            return dataclasses.replace(chosen[0], name=client.ensemble)
        known = ", ".join(model.name for model in info.models)
        raise Problem(404, f"model {name[:100]!r}, which this gateway is to offer, is not served; known: {known}")


def described(models: tuple[ServedModel, ...]) -> dict[str, Any]:
    """Return the networks, and the keypoint sets that they use, for JSON."""
    names = {name for model in models for name in (model.keypoint_set, model.keypoint_set_3d) if name}
    return {
        "models": [dataclasses.asdict(model) | {"takes_boxes": model.takes_boxes} for model in models],
        "keypoint_sets": {name: _described_set(known) for name, known in keypoint_sets().items() if name in names},
    }


def _described_set(known: KeypointSet) -> dict[str, Any]:
    return {
        "keypoint_names": known.names,
        "sides": known.sides,
        "edges": known.edges,
        "strokes": [{"part": part, "side": side, "rows": rows} for part, side, rows in strokes(known)],
    }


def skeletons(record: dict[str, Any]) -> dict[str, Any]:
    """Return names and edges of the keypoint sets that a record names: `keypoint_names`, `edges`, and with `_3d`."""
    sets = {suffix: keypoint_sets().get(record.get(f"keypoint_set{suffix}") or "") for suffix in ("", "_3d")}
    found = [(suffix, known) for suffix, known in sets.items() if known]
    return {f"keypoint_names{suffix}": known.names for suffix, known in found} | {
        f"edges{suffix}": known.edges for suffix, known in found
    }
