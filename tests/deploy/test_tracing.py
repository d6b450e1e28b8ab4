"""A caller's trace id arrives at the collector, with a span for every stage."""

import contextlib
import http.server
import json
import re
import threading
import time

import numpy as np
import pytest
from cigpose_client import PoseClient

from server.process import free_port
from tests.deploy import plain_folder

pytestmark = pytest.mark.server
_COMPONENT = plain_folder.CHECKOUT / "deploy" / "components" / "tracing" / "deployment.yaml"
_TRACE_ID = "0123456789abcdef0123456789abcdef"
_STAGES = {"decode_image", "detector", "select_persons", "crop_persons", "spots", "decode_simcc", "pose"}


@contextlib.contextmanager
def collector():
    """Take OTLP over HTTP as JSON; yield its address and the spans so far."""
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


def wait_for_trace(spans, timeout_s=30):
    """Return the spans of the caller's trace as soon as every stage has one."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        mine = [span for span in spans if span["traceId"].lower() == _TRACE_ID]
        if {span["name"] for span in mine} >= _STAGES | {"InferRequest"}:
            return mine
        time.sleep(0.2)
    raise AssertionError(f"of this trace only {sorted(span['name'] for span in mine)}")


def test_a_callers_trace_id_reaches_the_collector(tmp_path, tritonserver, repository):
    image = plain_folder.build(tmp_path, repository)
    port = free_port()
    red = np.zeros((64, 64, 3), np.uint8)
    red[:, :, 2] = 255
    with collector() as (address, spans), plain_folder.running(image, port, tmp_path / "log", flags(address)):
        headers = {"traceparent": f"00-{_TRACE_ID}-0123456789abcdef-01"}
        with PoseClient(f"127.0.0.1:{port}", timeout_s=30, headers=headers) as client:
            assert len(client.estimate(red).keypoints)
        mine = wait_for_trace(spans)
    services = {
        attribute["value"]["stringValue"]
        for span in mine
        for attribute in span["resource"]["attributes"]
        if attribute["key"] == "service.name"
    }
    assert services == {"cigpose"}
