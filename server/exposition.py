"""What the watchdog has seen and done, for Prometheus: a page of text on a port of the launcher's own.

Triton's metrics end with tritonserver, and a model in it cannot know what happens outside; the launcher outlives both.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from server.health import Health

_REQUEST_S = 5.0
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})  # of label values, in Prometheus' text format


def render(health: Health) -> str:
    """Return the page in Prometheus' text format; every counter of every model is there from the beginning."""
    models = dict.fromkeys(health.models, 0)
    broken = {model: 1 for model in health.broken}
    failed = {model: 1 for model in health.failed_updates}
    return "".join(
        (
            _metric("cigpose_server_healthy", "gauge", "1 while every model answers.", {"": int(health.is_well)}),
            _metric("cigpose_server_restarts_total", "counter", "Restarts of tritonserver.", {"": health.restarts}),
            _metric("cigpose_model_broken", "gauge", "1 from a model's fault to its recovery.", models | broken),
            _metric("cigpose_model_recoveries_total", "counter", "Broken models healed.", models | health.recoveries),
            _metric("cigpose_network_updates_total", "counter", "Changed networks served.", models | health.updates),
            _metric("cigpose_network_update_failed", "gauge", "1 after an update that failed.", models | failed),
        )
    )


@contextlib.contextmanager
def exposition(address: str, port: int) -> Iterator[Callable[[Health], None]]:
    """Serve the page at /metrics during the block; yields what renews it. A port of 0 serves nothing.

    Raises:
        ValueError: the port is taken.
    """
    if not port:
        yield lambda health: None
        return
    page = [render(Health())]

    class Handler(BaseHTTPRequestHandler):
        timeout = _REQUEST_S

        def do_GET(self) -> None:
            content = page[0].encode() if self.path == "/metrics" else b""
            self.send_response(200 if content else 404)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing: a scrape is no event."""

    try:
        server = ThreadingHTTPServer((address, port), Handler)
    except OSError as error:
        raise ValueError(f"port {port} of {address}: {error.strerror}; choose another for --watchdog-port") from error
    with server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()

        def show(health: Health) -> None:
            page[0] = render(health)

        try:
            yield show
        finally:
            server.shutdown()
            thread.join()


def _metric(name: str, kind: str, text: str, values: Mapping[str, int]) -> str:
    lines = [f"# HELP {name} {text}\n", f"# TYPE {name} {kind}\n"]
    for model, value in values.items():
        label = f'{{model="{model.translate(_ESCAPES)}"}}' if model else ""
        lines.append(f"{name}{label} {value}\n")
    return "".join(lines)
