"""The administrative side of a running server: what is loaded, what it has done, load and unload."""

import time
from types import TracebackType
from typing import Any

from server.access import headers

_CALL_S = 5.0
_LOAD_S = 60.0


class Control:
    """Calls that the network cannot make; all raise tritonclient's InferenceServerException when they fail."""

    def __init__(self, client: Any, key: str):
        self.client = client
        self.headers = headers(key)

    def __enter__(self) -> "Control":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.client.close()

    def is_ready(self) -> bool:
        """Return whether the server says that it is ready (which it goes on saying when a model has died)."""
        return bool(self.client.is_server_ready(client_timeout=1.0))

    def states(self) -> dict[str, str]:
        """Return each model's state: READY (in one version at least), LOADING, UNLOADING or UNAVAILABLE."""
        index = self.client.get_model_repository_index(headers=self.headers, client_timeout=_CALL_S)
        versions: dict[str, set[str]] = {}
        for model in index.models:
            versions.setdefault(model.name, set()).add(model.state or "UNAVAILABLE")
        return {name: "READY" if "READY" in found else max(found) for name, found in versions.items()}

    def missing(self, patience_s: float) -> list[str]:
        """Return the models that are not ready, as soon as there are none, or when patience ends."""
        deadline = time.monotonic() + patience_s
        while True:
            found = [name for name, state in self.states().items() if state != "READY"]
            if not found or time.monotonic() > deadline:
                return found
            time.sleep(0.05)

    def config(self, model: str) -> Any:
        """Return one model's configuration, Triton's protobuf message."""
        return self.client.get_model_config(model, client_timeout=_CALL_S).config

    def statistics(self) -> dict[str, Any]:
        """Return each model's counts and times since it was loaded, Triton's ModelStatistics messages."""
        answer = self.client.get_inference_statistics(headers=self.headers, client_timeout=_CALL_S)
        return {model.name: model for model in answer.model_stats}

    def executions(self) -> dict[str, int]:
        """Return how many requests each model has answered well since it was loaded."""
        return {name: model.inference_stats.success.count for name, model in self.statistics().items()}

    def load(self, model: str) -> None:
        """Load a model, or what its files have become since; its present form serves until the new one can."""
        self.client.load_model(model, headers=self.headers, client_timeout=_LOAD_S)

    def reload(self, model: str) -> None:
        """Unload one model and load it again; loading alone would leave its dead processes in place.

        Triton takes the ensembles that need the model away with it, and brings them back with it.
        """
        self.unload(model)
        self.load(model)

    def unload(self, model: str) -> None:
        """Take one model out of service; requests that it has accepted are answered."""
        self.client.unload_model(model, headers=self.headers, client_timeout=_CALL_S)

    def close_ensembles(self, patience_s: float) -> None:
        """Refuse new requests, and wait until the accepted ones are answered.

        The steps stay loaded meanwhile. A server that is told to stop would unload them under the ensembles' feet, and
        a request between two steps would fail.
        """
        loaded = [name for name, state in self.states().items() if state == "READY"]
        for name in loaded:
            if self.config(name).platform == "ensemble":
                self.unload(name)
        deadline = time.monotonic() + patience_s
        while "UNLOADING" in self.states().values() and time.monotonic() < deadline:
            time.sleep(0.02)
