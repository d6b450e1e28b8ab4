import urllib.error
import urllib.request

import pytest

from server.exposition import exposition
from server.health import Health
from server.process import free_port


def fetch(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        return answer.read().decode()


def page_of(health):
    port = free_port()
    with exposition("127.0.0.1", port) as show:
        show(health)
        return fetch(port)


def test_every_model_has_counters_from_the_start():
    page = page_of(Health(ready=True, models=("a", "b")))
    for name in ("model_broken", "model_recoveries_total", "network_updates_total", "network_update_failed"):
        assert f'cigpose_{name}{{model="a"}} 0.0\n' in page and f'cigpose_{name}{{model="b"}} 0.0\n' in page
    assert "\ncigpose_server_healthy 1.0\n" in page
    assert "\ncigpose_server_restarts_total 0.0\n" in page


def test_the_page_follows_the_health():
    health, port = Health(), free_port()
    with exposition("127.0.0.1", port) as show:
        assert "\ncigpose_server_healthy 0.0\n" in fetch(port)
        health.ready, health.models, health.broken = True, ("a",), {"a": "its process has died"}
        show(health)
        assert "\ncigpose_server_healthy 0.0\n" in fetch(port)
        assert 'cigpose_model_broken{model="a"} 1.0\n' in fetch(port)
        health.broken, health.recoveries, health.restarts = {}, {"a": 2}, 1
        show(health)
        page = fetch(port)
        assert "\ncigpose_server_healthy 1.0\n" in page and "cigpose_server_restarts_total 1.0\n" in page
        assert 'cigpose_model_broken{model="a"} 0.0\n' in page
        assert 'cigpose_model_recoveries_total{model="a"} 2.0\n' in page
        with pytest.raises(ValueError, match=f"port {port} of 127.0.0.1"), exposition("127.0.0.1", port):
            pass
    with pytest.raises(urllib.error.URLError):
        fetch(port)


def test_port_0_serves_no_page():
    with exposition("127.0.0.1", 0) as show:
        show(Health())
