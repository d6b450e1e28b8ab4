import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
from prometheus_client.parser import text_string_to_metric_families

from client.tests import fake_server
from client.tests.fake_server import FakeServer, start
from gateway import networks
from gateway.limits import Rate, _caller
from gateway.settings import Settings
from tests.gateway.conftest import problem, running, until

PICTURE = b"2"


def test_models_list_networks_and_their_keypoint_sets(gateway):
    answer = gateway().get("/v1/models").json()
    models = {model["name"]: model for model in answer["models"]}
    assert list(models) == ["pose", "pose_a", "pose_body"]
    assert models["pose_body"]["kind"] == "bottom_up" and not models["pose_body"]["takes_boxes"]
    known = answer["keypoint_sets"]["coco"]
    assert len(known["keypoint_names"]) == len(known["sides"]) == 17
    assert {"part": "body", "side": "left", "rows": [13, 15]} in [
        {**stroke, "rows": sorted(stroke["rows"])} for stroke in known["strokes"]
    ]


def test_chosen_models_are_offered_alone(gateway):
    client = gateway(models=("body",))
    assert [model["name"] for model in client.get("/v1/models").json()["models"]] == ["pose_body"]
    assert client.post("/v1/poses?model=body", content=PICTURE).status_code == 200
    assert client.post("/v1/poses", content=PICTURE).status_code == 404


def test_the_first_lifter_is_also_offered_as_pose_3d(gateway, fake, monkeypatch):
    monkeypatch.setitem(fake_server.POINTS, "pose_x3d", 17)
    fake.networks = "body,a,x3d"
    for settings in ({}, {"models": ("body", "x3d", "pose_3d")}):
        answer = gateway(**settings).get("/v1/models").json()
        models = {model["name"]: model for model in answer["models"]}
        assert models["pose_3d"] == models["pose_x3d"] | {"name": "pose_3d"}
        assert models["pose_3d"]["kind"] == "lifted" and models["pose_3d"]["takes_boxes"]
        assert "human36m" in answer["keypoint_sets"]


def test_a_chosen_model_that_the_server_lacks_is_named(gateway):
    answer = gateway(models=("nope",)).get("/v1/models")
    assert answer.status_code == 404
    assert (
        problem(answer) == "model 'nope', which this gateway is to offer, is not served; known: pose, pose_a, pose_body"
    )


def test_new_networks_of_the_server_are_noticed(gateway, fake):
    client = gateway()
    assert client.post("/v1/poses?model=crowd", content=PICTURE).status_code == 404
    fake.networks = "a,crowd"
    client.get("/v1/models")
    assert client.post("/v1/poses?model=crowd", content=PICTURE).status_code == 200
    assert client.post("/v1/poses?model=body", content=PICTURE).status_code == 404


def test_readiness_follows_the_server(gateway):
    client = gateway()
    assert client.get("/readyz").status_code == 200
    assert client.get("/healthz").json() == {"status": "ok"}


def test_callers_share_one_question_for_readiness(monkeypatch):
    monkeypatch.setattr(networks, "_READY_TIMEOUT_S", 30)

    class Counting(FakeServer):
        def ModelReady(self, message, context):
            asked.append(message.name)
            time.sleep(0.5)
            return super().ModelReady(message, context)

    asked, fake = [], Counting()
    handle = start(fake)
    with running(Settings(url=fake.url)) as client, ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: client.get("/readyz").status_code, range(10)))
        assert answers == [200] * 10 and 1 <= len(asked) < 5
        assert client.get("/readyz").status_code == 200
    handle.stop(None).wait()


def test_a_token_is_needed_for_the_api_only(gateway):
    client = gateway(token="secret")
    for headers in ({}, {"authorization": "Bearer other"}, {"authorization": "Basic secret"}):
        answer = client.post("/v1/poses", content=PICTURE, headers=headers)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert "Authorization: Bearer" in problem(answer)
    assert client.post("/v1/poses", content=PICTURE, headers={"authorization": "bearer secret"}).status_code == 200
    assert {client.get(path).status_code for path in ("/", "/docs", "/healthz", "/readyz", "/metrics")} == {200}


def test_a_caller_beyond_its_rate_waits(gateway):
    client = gateway(rate=1)
    answers = [client.post("/v1/poses", content=PICTURE) for _ in range(20)]
    assert [answer.status_code for answer in answers[:2]] == [200, 200]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused and refused[0].headers["retry-after"] == "1" and "1 requests a second" in problem(refused[0])
    assert client.get("/healthz").status_code == 200


def test_the_rate_is_exact_and_each_caller_has_its_own():
    now = [0.0]
    rate = Rate(2, lambda: now[0])
    assert [rate.wait_s("a") for _ in range(5)] == [0, 0, 0, 0, 0.5]
    assert rate.wait_s("b") == 0
    now[0] = 0.5
    assert [rate.wait_s("a") for _ in range(2)] == [0, 0.5]
    now[0] = 100
    assert [rate.wait_s("a") for _ in range(5)] == [0, 0, 0, 0, 0.5]


def test_callers_of_one_ipv6_network_share_a_rate():
    class Call:
        def __init__(self, host):
            self.client = type("Client", (), {"host": host})

    assert _caller(Call("2001:db8::1")) == _caller(Call("2001:db8::2")) != _caller(Call("2001:db8:1::1"))
    assert _caller(Call("10.0.0.1")) != _caller(Call("10.0.0.2"))


def test_requests_beyond_the_limit_are_refused(gateway, fake):
    client = gateway(max_requests=1)
    assert client.post("/v1/poses", content=PICTURE).status_code == 200
    fake.delay_s, before = threading.Event(), len(fake.requests)
    running = threading.Thread(target=client.post, args=("/v1/poses",), kwargs={"content": PICTURE})
    running.start()
    until(lambda: len(fake.requests) > before)
    answer = client.post("/v1/poses", content=PICTURE)
    fake.delay_s.set()
    running.join()
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert "limit of 1 concurrent requests" in problem(answer)
    assert client.post("/v1/poses", content=PICTURE).status_code == 200


def test_bodies_together_are_limited(gateway, fake):
    client = gateway(max_body_bytes=1500)
    fake.delay_s = threading.Event()
    running = threading.Thread(target=client.post, args=("/v1/poses",), kwargs={"content": bytes(1000)})
    running.start()
    until(lambda: fake.requests)
    assert "too many pictures" in problem(client.post("/v1/poses", content=bytes(1000)))
    fake.delay_s.set()
    running.join()
    fake.delay_s = 0
    assert client.post("/v1/poses", content=bytes(1000)).status_code == 200


def test_foreign_pages_may_not_call_unless_asked_for(gateway):
    origin, asked = {"origin": "https://a.example"}, {"access-control-request-method": "POST"}
    closed, opened = gateway(), gateway(cors=("https://a.example",), token="secret")
    assert "access-control-allow-origin" not in closed.post("/v1/poses", content=PICTURE, headers=origin).headers
    assert closed.options("/v1/poses", headers=origin | asked).status_code == 405
    answer = opened.options("/v1/poses", headers=origin | asked)
    assert answer.headers["access-control-allow-origin"] == "https://a.example"
    other = opened.options("/v1/poses", headers={"origin": "https://b.example"} | asked)
    assert "access-control-allow-origin" not in other.headers


def test_metrics_count_requests(gateway):
    client = gateway()
    client.post("/v1/poses", content=PICTURE)
    client.post("/v1/poses", content=PICTURE, headers={"content-type": "text/html"})
    client.get("/v1/nothing")
    page = client.get("/metrics").text
    samples = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }
    assert samples["cigpose_gateway_requests_total", "/v1/poses", "200"] == 1
    assert samples["cigpose_gateway_requests_total", "/v1/poses", "415"] == 1
    assert samples["cigpose_gateway_requests_total", "404", "other"] == 1
    assert samples[("cigpose_gateway_requests_in_progress",)] == 0
    assert samples["cigpose_gateway_request_seconds_count", "/v1/poses"] == 2


def test_wrong_methods_and_paths_are_refused_in_words(gateway):
    client = gateway()
    for method, path, status in (
        ("GET", "/v1/poses", 405),
        ("PUT", "/v1/models", 405),
        ("POST", "/", 405),
        ("GET", "/v1/", 404),
        ("GET", "/nothing.js", 404),
        ("GET", "/%00", 404),
        ("GET", "/..%2fsettings.py", 404),
    ):
        answer = client.request(method, path)
        assert (answer.status_code, problem(answer) != "") == (status, True), path
    assert client.get("/v1/poses").headers["allow"] == "POST"


def test_the_description_of_the_api_is_complete(gateway):
    client = gateway()
    described = client.get("/openapi.json").json()
    post = described["paths"]["/v1/poses"]["post"]
    assert {parameter["name"] for parameter in post["parameters"]} >= {"model", "bbox_threshold", "timeout_s"}
    assert {"image/jpeg", "multipart/form-data", "application/json"} <= post["requestBody"]["content"].keys()
    documented = {"200", "400", "401", "404", "408", "413", "415", "422", "429", "500", "502", "503", "504"}
    assert post["responses"].keys() == documented


def test_pages_ask_no_third_party(gateway):
    client = gateway()
    for path in ("/", "/docs"):
        answer = client.get(path)
        assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/html")
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "http://" not in answer.text.replace("http://localhost", "") and "https://" not in answer.text


def test_a_gateway_that_stops_answers_its_requests(fake):
    fake.delay_s = 0.5
    answers = []
    with running(Settings(url=fake.url)) as client:
        url = client.base_url.join("/v1/poses")
        caller = threading.Thread(target=lambda: answers.append(httpx.post(url, content=PICTURE).status_code))
        caller.start()
        until(lambda: fake.requests)
    caller.join()
    assert answers == [200]
