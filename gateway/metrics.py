"""The gateway's Prometheus metrics."""

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.limits import Places
from gateway.problems import GONE

_ROUTES = ("/v1/poses", "/v1/models")
_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """Counters of one gateway.

    Args:
        requests: requests at present.
        streams: streams at present.
    """

    def __init__(self, requests: Places, streams: Places):
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "cigpose_gateway_requests",
            "HTTP requests by status; 499: the caller has hung up",
            ["route", "status"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "cigpose_gateway_request_seconds",
            "From the request's head to the end of the answer",
            ["route"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._frames = Counter(
            "cigpose_gateway_frames", "Frames of streams by outcome", ["outcome"], registry=self._registry
        )
        self._detections = Counter(
            "cigpose_gateway_frames_detected",
            "Answered frames of streams for which the detector ran",
            registry=self._registry,
        )
        self._add_gauge("requests", requests)
        self._add_gauge("streams", streams)

    def _add_gauge(self, name: str, places: Places) -> None:
        gauge = Gauge(f"cigpose_gateway_{name}_in_progress", f"{name} at present", registry=self._registry)
        gauge.set_function(lambda: places.taken)

    def frame(self, outcome: str, count: int = 1) -> None:
        """Count frames of a stream: `answered`, `replaced` by a newer one, or `failed`."""
        self._frames.labels(outcome).inc(count)

    def detection(self) -> None:
        """Count an answered frame of a stream for which the detector ran."""
        self._detections.inc()

    async def page(self, _: Request) -> Response:
        """Answer in Prometheus' text format."""
        return Response(generate_latest(self._registry), media_type="text/plain; version=0.0.4; charset=utf-8")

    def observe(self, path: str, status: int, seconds: float) -> None:
        """Count one request of the API."""
        route = path if path in _ROUTES else "other"
        self._requests.labels(route, status).inc()
        self._seconds.labels(route).observe(seconds)


class Measured:
    """ASGI middleware that counts the requests of `/v1/`."""

    def __init__(self, app: ASGIApp, metrics: Metrics, prefix: str):
        self._app = app
        self._metrics = metrics
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and count it when it ends."""
        if scope["type"] != "http" or not scope["path"].startswith(self._prefix):
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), GONE

        async def noted(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._app(scope, receive, noted)
        except Exception:
            status = 500
            raise
        finally:
            self._metrics.observe(scope["path"], status, time.perf_counter() - started)
