"""Damaged pictures and malformed HTTP are refused in words, and leave gateway and server unchanged."""

import os
import random
import socket
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from gateway.settings import Settings
from tests.gateway.conftest import problem, running
from tests.pictures import encode, noise_picture, picture_with_persons
from tests.reliability.test_hostile_input import WORDS, mutate

pytestmark = pytest.mark.server
ANSWERED = {200, 400, 413, 415, 422}
_NIGHTLY = pytest.mark.skipif(not os.environ.get("NIGHTLY"), reason="takes many minutes; set NIGHTLY=1")


@pytest.fixture(scope="module")
def client(server):
    with running(Settings(url=server.grpc_url, rate=0)) as client:
        yield client


def memory_mb():
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmRSS"))


@pytest.mark.parametrize("cases", [1000, pytest.param(20_000, marks=[pytest.mark.slow, _NIGHTLY])])
def test_damaged_bodies(client, cases):
    chance = random.Random(cases)
    seeds = [encode(noise_picture(48, 32), kind) for kind in (".jpg", ".png", ".webp", ".bmp")]
    seeds.append(encode(picture_with_persons([(1, 1)], size=64)))

    def send(number):
        encoded = mutate(chance.choice(seeds), chance)
        form = chance.choice(["raw", "form", "json", "damaged"])
        if form == "raw":
            return client.post("/v1/poses", content=encoded)
        if form == "form":
            return client.post("/v1/poses", files={"image": ("a.jpg", encoded)})
        whole = client.build_request("POST", "/v1/poses", files={"image": ("a.jpg", encoded)})
        kind = "application/json" if form == "json" else whole.headers["content-type"]
        text = b'{"image": "AAAA", "boxes": [[0, 0, 9, 9]]}' if form == "json" else whole.read()
        return client.post("/v1/poses", content=mutate(text, chance), headers={"content-type": kind})

    good = client.post("/v1/poses", content=seeds[-1]).json()
    assert good["people"]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(send, range(100)))
        before = memory_mb()
        answers = list(pool.map(send, range(cases)))
    kinds = Counter(answer.status_code for answer in answers)
    assert kinds.keys() <= ANSWERED, kinds
    assert len(kinds) > 3, "several outcomes occur"
    texts = {problem(answer) for answer in answers if answer.status_code != 200}
    assert not [text for text in texts if any(word in text.lower() for word in WORDS)]
    assert memory_mb() - before < 100
    assert client.post("/v1/poses", content=seeds[-1]).json() == good


HEADS = {
    "no HTTP": b"\x16\x03\x01\x02\x00",
    "endless header": b"GET / HTTP/1.1\r\nHost: a\r\nA: " + b"x" * 200_000,
    "two lengths": b"POST /v1/poses HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "length and chunks": b"POST /v1/poses HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: x\r\n\r\na",
    "negative length": b"POST /v1/poses HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    "path out of the folder": b"GET /../settings.py HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "encoded path out of the folder": b"GET /%2e%2e/settings.py HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
}


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_malformed_heads_are_refused(client, name):
    with socket.create_connection((client.base_url.host, client.base_url.port), timeout=10) as caller:
        caller.sendall(HEADS[name])
        answer = caller.recv(1000)
    assert answer.split(b" ")[1] in (b"400", b"404", b"431", b"501")
    assert b"dataclass" not in answer
    assert client.get("/healthz").status_code == 200
