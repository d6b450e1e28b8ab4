"""The administrative API of a running server: model states, statistics, load and unload."""

import time
from types import TracebackType
from typing import Any

from server.access import headers

_CALL_S = 5.0
_LOAD_S = 60.0


class Control:
    """Calls that are closed to the network. All raise tritonclient's InferenceServerException when they fail."""

    def __init__(self, client: Any, key: str):
        self.client = client
        self.headers = headers(key)

    def __enter__(self) -> "Control":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.client.close()

    def is_ready(self) -> bool:
        """Return whether the server reports that it is ready. It still does when the process of a model has died."""
        return bool(self.client.is_server_ready(client_timeout=1.0))

    def states(self) -> dict[str, str]:
        """Return each model's state: READY (in one version at least), LOADING, UNLOADING or UNAVAILABLE."""
        index = self.client.get_model_repository_index(headers=self.headers, client_timeout=_CALL_S)
        versions: dict[str, set[str]] = {}
        for model in index.models:
            versions.setdefault(model.name, set()).add(model.state or "UNAVAILABLE")
        return {name: "READY" if "READY" in found else max(found) for name, found in versions.items()}

    def missing(self, patience_s: float) -> list[str]:
        """Wait until every model is ready, for `patience_s` at most. Return those that are not."""
        deadline = time.monotonic() + patience_s
        while True:
            missing = [name for name, state in self.states().items() if state != "READY"]
            if not missing or time.monotonic() > deadline:
                return missing
            time.sleep(0.05)

    def config(self, model: str) -> Any:
        """Return a model's configuration as Triton's protobuf message."""
        return self.client.get_model_config(model, client_timeout=_CALL_S).config

    def statistics(self) -> dict[str, Any]:
        """Return each model's statistics since it was loaded, as Triton's ModelStatistics messages."""
        answer = self.client.get_inference_statistics(headers=self.headers, client_timeout=_CALL_S)
        return {model.name: model for model in answer.model_stats}

    def executions(self) -> dict[str, int]:
        """Return the number of successful requests of each model since it was loaded."""
        return {name: model.inference_stats.success.count for name, model in self.statistics().items()}

    def load(self, model: str) -> None:
        """Load a model, or its changed files. The loaded version serves until the new one is ready."""
        self.client.load_model(model, headers=self.headers, client_timeout=_LOAD_S)

    def reload(self, model: str) -> None:
        """Unload a model and load it again. Loading alone would not replace dead processes.

        Triton unloads and loads the ensembles that need the model with it.
        """
        self.unload(model)
        self.load(model)

    def unload(self, model: str) -> None:
        """Take a model out of service. Accepted requests are answered."""
        self.client.unload_model(model, headers=self.headers, client_timeout=_CALL_S)

    def close_ensembles(self, patience_s: float) -> None:
        """Reject new requests, and wait until the accepted ones are answered.

        The steps stay loaded meanwhile. A stopping server would unload steps while ensembles still need them, and
        requests between two steps would fail.
        """
        loaded = [name for name, state in self.states().items() if state == "READY"]
        for name in loaded:
            if self.config(name).platform == "ensemble":
                self.unload(name)
        deadline = time.monotonic() + patience_s
        while "UNLOADING" in self.states().values() and time.monotonic() < deadline:
            time.sleep(0.02)
