"""Prometheus metrics of the watchdog, on a port of the launcher.

Triton's own metrics end when tritonserver does. The launcher outlives it.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from typing import TypeVar

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from server.health import Health

_Family = TypeVar("_Family", CounterMetricFamily, GaugeMetricFamily)


class _Watchdog(Collector):
    """Metrics of the latest health. Every counter of every model exists from the start."""

    def __init__(self, health: Health):
        self.health = health

    def collect(self) -> Iterator[Metric]:
        """Yield the metric families."""
        health, models = self.health, dict.fromkeys(self.health.models, 0)
        broken, failed = dict.fromkeys(health.broken, 1), dict.fromkeys(health.failed_updates, 1)
        yield GaugeMetricFamily("cigpose_server_healthy", "1 while every model answers.", int(health.is_well))
        yield CounterMetricFamily("cigpose_server_restarts", "Restarts of tritonserver.", health.restarts)
        yield from (
            _by_model(GaugeMetricFamily, "model_broken", "1 from a model's fault to its recovery.", models | broken),
            _by_model(CounterMetricFamily, "model_recoveries", "Broken models healed.", models | health.recoveries),
            _by_model(CounterMetricFamily, "network_updates", "Changed networks served.", models | health.updates),
            _by_model(GaugeMetricFamily, "network_update_failed", "1 after an update that failed.", models | failed),
        )


def _by_model(kind: type[_Family], name: str, text: str, values: Mapping[str, int]) -> _Family:
    metric = kind(f"cigpose_{name}", text, labels=["model"])
    for model, value in values.items():
        metric.add_metric([model], value)
    return metric


@contextlib.contextmanager
def exposition(address: str, port: int) -> Iterator[Callable[[Health], None]]:
    """Serve /metrics during the block; yield the function that updates the health. A port of 0 serves nothing.

    Raises:
        ValueError: the port is in use.
    """
    if not port:
        yield lambda health: None
        return
    watchdog, registry = _Watchdog(Health()), CollectorRegistry()
    registry.register(watchdog)
    try:
        server, thread = start_http_server(port, address, registry)
    except OSError as error:
        raise ValueError(f"port {port} of {address}: {error.strerror}; choose another for --watchdog-port") from error

    def show(health: Health) -> None:
        watchdog.health = deepcopy(health)  # another thread answers scrapes

    try:
        yield show
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
