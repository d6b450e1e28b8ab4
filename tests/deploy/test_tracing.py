"""A caller's trace id arrives at the collector, with a span for every stage."""

import contextlib
import http.server
import json
import re
import secrets
import threading
import time

import numpy as np
import pytest
from cigpose_client import PoseClient
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from server.process import free_port
from tests.deploy import plain_folder
from tests.pictures import encode

pytestmark = pytest.mark.server
_COMPONENT = plain_folder.CHECKOUT / "deploy" / "components" / "tracing" / "deployment.yaml"
_RED = np.full((64, 64, 3), (0, 0, 255), np.uint8)
_TIMES = 4  # requests for one trace, because Triton loses the trace context of single requests
_CALLS = {  # ensemble: a request to it that goes through every step
    "pose": lambda client: client.estimate(_RED),
    "pose_from_boxes": lambda client: client.estimate_boxes(_RED, [(0, 0, 64, 64)]),
}


@contextlib.contextmanager
def collector():
    """Receive OTLP over HTTP as JSON; yield the address and the list of received spans."""
    spans = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            for resource in body["resourceSpans"]:
                for scope in resource["scopeSpans"]:
                    spans.extend({**span, "resource": resource["resource"]} for span in scope["spans"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}", spans
        finally:
            server.shutdown()
            thread.join()


def flags(address):
    """Return the component's flags, with this machine's collector in place of the cluster's."""
    found = re.findall(r"value: (--trace-config=\S+)", _COMPONENT.read_text(encoding="utf-8"))
    moved = [flag.replace("otel-collector.monitoring.svc.cluster.local:4318", address) for flag in found]
    assert moved != found
    return moved


def stages(repository, ensemble):
    """Return the models that a request to an ensemble runs, and the ensemble itself."""
    text = (repository / ensemble / "config.pbtxt").read_text(encoding="utf-8")
    config = text_format.Parse(text, model_config_pb2.ModelConfig())
    return {ensemble, *(step.model_name for step in config.ensemble_scheduling.step)}


def wait_for_trace(spans, trace_id, names, log, timeout_s=30):
    """Wait until every name has a span in the caller's trace, and return the spans of the trace.

    The exporter says in the server's log why it could not send spans.
    """
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        mine = [span for span in spans if span["traceId"].lower() == trace_id]
        if {span["name"] for span in mine} >= names:
            return mine
        time.sleep(0.2)
    lacking = names - {span["name"] for span in mine}
    raise AssertionError(f"of {len(spans)} spans, this trace lacks {lacking}; the log ends:\n{log.read_text()[-3000:]}")


@pytest.fixture(scope="module")
def traced(tmp_path_factory, tritonserver, repository):
    """The address of a server with the component's flags, the spans that it has sent, and its log."""
    folder, port = tmp_path_factory.mktemp("traced"), free_port()
    image = plain_folder.build(folder, repository)
    log = folder / "log"
    with collector() as (address, spans), plain_folder.running(image, port, log, flags(address)):
        yield f"127.0.0.1:{port}", spans, log


def test_the_calls_cover_every_stage(repository):
    models = {path.parent.name for path in repository.glob("*/config.pbtxt")}
    of_networks = {name for name in models if name.startswith("pose_") and name not in _CALLS}
    assert set().union(*(stages(repository, ensemble) for ensemble in _CALLS)) == models - of_networks


@pytest.mark.parametrize("forwards", [True, False])
def test_a_trace_of_plain_http_reaches_every_stage(traced, repository, forwards):
    pytest.importorskip("fastapi", reason="the gateway's packages are not installed; run `make install-gateway`")
    from gateway.settings import Settings
    from tests.gateway.conftest import running

    url, spans, log = traced
    trace_id = secrets.token_hex(16)
    with running(Settings(url=url, forward_trace=forwards)) as client:
        headers = {"traceparent": f"00-{trace_id}-0123456789abcdef-01", "content-type": "image/png"}
        for _ in range(_TIMES):
            assert client.post("/v1/poses", content=encode(_RED), headers=headers).status_code == 200
    if forwards:
        wait_for_trace(spans, trace_id, {"InferRequest", *stages(repository, "pose")}, log)
    else:
        time.sleep(2)
        assert not [span for span in spans if span["traceId"].lower() == trace_id]


@pytest.mark.parametrize("ensemble", _CALLS)
def test_every_stage_sends_a_span_with_the_callers_trace_id(traced, repository, ensemble):
    url, spans, log = traced
    trace_id = secrets.token_hex(16)
    headers = {"traceparent": f"00-{trace_id}-0123456789abcdef-01"}
    with PoseClient(url, timeout_s=30, headers=headers) as client:
        for _ in range(_TIMES):
            assert len(_CALLS[ensemble](client).keypoints)
    mine = wait_for_trace(spans, trace_id, {"InferRequest", *stages(repository, ensemble)}, log)
    services = {
        attribute["value"]["stringValue"]
        for span in mine
        for attribute in span["resource"]["attributes"]
        if attribute["key"] == "service.name"
    }
    assert services == {"cigpose"}
