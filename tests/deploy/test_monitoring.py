"""Rules and dashboard against a real Prometheus that scrapes a real server."""

import asyncio
import json
import re
import subprocess

import numpy as np
import pytest
from cigpose_client import Options, PoseClient, RequestRejected

from server.health import Health
from server.process import free_port
from tests.deploy import plain_folder, tools
from tests.deploy.manifests import rules_text
from tests.deploy.prometheus import watching
from tests.server.test_exposition import page_of
from tests.triton import page_of_failures

pytestmark = pytest.mark.server
_MONITORING = plain_folder.CHECKOUT / "deploy" / "components" / "monitoring"
_METRIC = re.compile(r"\b(?:nv|cigpose|kube|container)_\w+|\bup\b")

# Metrics of other programs, or of machines with a GPU (source: Triton's documentation of its metrics).
_ELSEWHERE = {
    "cigpose_gateway_frames_detected_total": "the gateway",
    "cigpose_gateway_frames_total": "the gateway",
    "cigpose_gateway_request_seconds_bucket": "the gateway",
    "cigpose_gateway_requests_total": "the gateway",
    "cigpose_gateway_streams_in_progress": "the gateway",
    "cigpose_server_healthy": "the launcher's watchdog",
    "container_memory_working_set_bytes": "cAdvisor",
    "kube_horizontalpodautoscaler_spec_max_replicas": "kube-state-metrics",
    "kube_horizontalpodautoscaler_status_current_replicas": "kube-state-metrics",
    "kube_pod_container_resource_limits": "kube-state-metrics",
    "kube_pod_container_status_restarts_total": "kube-state-metrics",
    "nv_gpu_memory_total_bytes": "a GPU",
    "nv_gpu_memory_used_bytes": "a GPU",
    "nv_gpu_utilization": "a GPU",
    "up": "Prometheus",
}


def dashboard():
    return json.loads((_MONITORING / "dashboard.json").read_text(encoding="utf-8"))


def queries():
    targets = [(panel["title"], target) for panel in dashboard()["panels"] for target in panel.get("targets", [])]
    return [(title, target["expr"].replace("$namespace", "cigpose")) for title, target in targets]


@pytest.fixture(scope="module")
def watched(tmp_path_factory, repository, tritonserver):
    """A server under light load with some invalid pictures, and a Prometheus that scrapes it."""
    if not tools.find("prometheus"):
        pytest.skip("no prometheus here; `python -m tests.deploy.tools` fetches it")
    image = plain_folder.build(tmp_path_factory.mktemp("image"), repository)
    folder, port, metrics_port = tmp_path_factory.mktemp("prometheus"), free_port(), free_port()
    metrics = [f"--metrics-port={metrics_port}", "--metrics-config=summary_latencies=true"]
    with (
        plain_folder.running(image, port, folder / "server.log", metrics),
        watching([metrics_port], folder) as prometheus,
        PoseClient(f"127.0.0.1:{port}", timeout_s=30) as client,
    ):
        prometheus.wait_for('nv_inference_request_success{model="pose"} == 0')  # a counter needs its first sample
        prometheus.wait_for("cigpose_pictures_refused_total == 0")
        for _ in range(60):
            _ask(client)
        prometheus.wait_for("rate(cigpose_pictures_refused_total[2m]) > 0")
        prometheus.wait_for("cigpose:queue_ms:max2m_times_pods")
        prometheus.wait_for("cigpose:fault_ratio:rate5m")
        yield prometheus, page_of_failures(metrics_port)


def _ask(client):
    red = np.zeros((64, 64, 3), np.uint8)
    red[:, :, 2] = 255
    client.estimate(red)
    client.estimate_boxes(red, [(0, 0, 64, 64)])
    with pytest.raises(RequestRejected):
        client.estimate(b"no picture")
    with pytest.raises(RequestRejected):
        client.estimate(red, Options(bbox_threshold=2))


@pytest.mark.parametrize(("title", "expression"), queries())
def test_every_query_of_the_dashboard_has_an_answer(watched, title, expression):
    prometheus, _ = watched
    samples = prometheus.query(expression)
    elsewhere = {"a GPU", "the gateway"} & {_ELSEWHERE.get(name) for name in _METRIC.findall(expression)}
    if not elsewhere and "detector_share" not in expression:  # recorded from the gateway's metrics
        assert samples, title
        assert all(np.isfinite(value) for _, value in samples), samples


def test_every_metric_of_rules_and_dashboard_exists(watched):
    _, scrape = watched
    exposed = set(re.findall(r"^(\w+)(?:\{| )", scrape, re.M))
    text = re.sub(r"summary: .*|#.*", "", rules_text()) + " ".join(expression for _, expression in queries())
    assert set(_METRIC.findall(text)) - exposed == set(_ELSEWHERE)


def test_the_gateway_exposes_its_metrics():
    pytest.importorskip("fastapi", reason="the gateway's packages are not installed; run `make install-gateway`")
    from gateway.limits import Places
    from gateway.metrics import Metrics

    metrics = Metrics(Places(1, "requests"), Places(1, "streams"))
    metrics.frame("answered")
    metrics.detection()
    metrics.observe("/v1/poses", 200, 0.1)
    page = asyncio.run(metrics.page(None)).body.decode()
    exposed = set(re.findall(r"^(\w+)(?:\{| )", page, re.M))
    wanted = {name for name, place in _ELSEWHERE.items() if place == "the gateway"}
    assert wanted <= exposed


def test_rejected_pictures_do_not_burn_the_budget(watched):
    prometheus, scrape = watched
    assert re.search(r'^nv_inference_request_failure{model="pose",reason="OTHER".*} [1-9]', scrape, re.M)
    assert prometheus.query("cigpose:fault_ratio:rate5m")[0][1] == pytest.approx(0, abs=0.001)


def test_rejected_pictures_do_not_count_as_overload(watched):
    prometheus, _ = watched
    assert prometheus.query("cigpose:unserved:rate5m")[0][1] == pytest.approx(0, abs=0.01)


def test_a_rejected_picture_counts_twice_on_its_ensemble(watched):
    """Therefore the rules halve the failures of ensembles. A server that counts once needs another rule."""
    _, scrape = watched
    (failures,) = re.findall(r'^nv_inference_request_failure{model="pose",reason="OTHER".*} (\d+)', scrape, re.M)
    refused = re.findall(r"^cigpose_pictures_refused_total{.*} (\d+)", scrape, re.M)
    assert int(failures) == 2 * sum(map(int, refused))


def test_no_alert_fires_on_a_healthy_server(watched):
    prometheus, _ = watched
    assert prometheus.query('ALERTS{alertstate="firing"}') == []


def test_prometheus_reads_the_watchdogs_page():
    if not tools.find("promtool"):
        pytest.skip("no promtool here; `python -m tests.deploy.tools` fetches it")
    name = 'a "network" of C:\\'
    page = page_of(Health(ready=True, models=("detector", name), broken={name: "dead"}, recoveries={"detector": 2}))
    done = subprocess.run([tools.need("promtool"), "check", "metrics"], input=page, capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_dashboard_is_well_formed():
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    sources = {panel["datasource"]["uid"] for panel in panels if panel["type"] != "row"}
    assert sources == {"${datasource}"}
    boxes = [panel["gridPos"] for panel in panels]
    cells = [
        (x, y)
        for box in boxes
        for x in range(box["x"], box["x"] + box["w"])
        for y in range(box["y"], box["y"] + box["h"])
    ]
    assert len(set(cells)) == len(cells), "panels overlap"
    assert max(x for x, _ in cells) < 24
