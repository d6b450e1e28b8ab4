"""Locust users that call the pose ensemble over gRPC.

With locust's page: `locust -f benchmarks/locustfile.py --host localhost:8001`. The variable SCENARIO selects the
scenario, and SUSTAINED states the server's sustainable rate in pictures per second.
Without the page, with a verdict and result files: `python -m benchmarks load SCENARIO --url localhost:8001`.
"""

# mypy: disallow-subclassing-any=False, disallow-untyped-decorators=False

import itertools
import json
import os
import time

import gevent
import grpc.experimental.gevent as grpc_gevent
from cigpose_client import Overloaded, PoseClient, PoseClientError, RequestRejected
from cigpose_client.outputs import write_file
from locust import User, constant, events

from benchmarks.samples import Outcome
from benchmarks.scenario import Picture, Pictures, scenarios

grpc_gevent.init_gevent()  # otherwise each call would block all greenlets

_NO_RETRIES = None  # a load test counts failures
_SEEDS = itertools.count()
_STARTED = time.perf_counter()
_SAMPLES: list[tuple[float, float, str, int]] = []


class PoseUser(User):
    """One caller of a closed loop, or the single user of an open loop, which sends all requests on schedule."""

    wait_time = constant(0)

    def on_start(self) -> None:
        """Connect."""
        self.scenario = scenarios()[os.environ.get("SCENARIO", "steady")]
        self.pictures = Pictures(self.scenario, seed=next(_SEEDS))
        self.client = PoseClient(self.host, timeout_s=30, retry=_NO_RETRIES)

    def on_stop(self) -> None:
        """Disconnect."""
        self.client.close()

    def send(self) -> None:
        """Send one picture, or the whole schedule."""
        if self.scenario.callers:
            self._request(self.pictures.draw(), time.perf_counter())
        else:
            self._play()
            self.environment.runner.quit()

    tasks = [send]  # noqa: RUF012

    def _play(self) -> None:
        arrivals = self.scenario.arrivals(float(os.environ.get("SUSTAINED", "20")))
        pictures = [self.pictures.draw() for _ in arrivals]  # rendered before the clock starts
        started = time.perf_counter()
        under_way = []
        for (arrival, phase), picture in zip(arrivals, pictures, strict=True):
            gevent.sleep(max(0.0, started + arrival - time.perf_counter()))
            under_way.append(gevent.spawn(self._request, picture, started + arrival, phase))
        gevent.joinall(under_way)

    def _request(self, picture: Picture, due: float, phase: int = 0) -> None:
        """Send one picture. Its latency is measured from `due`, so that a late start counts as waiting."""
        error: Exception | None = None
        outcome = Outcome.ANSWERED
        try:
            self.client.estimate(picture.encoded)
        except RequestRejected as rejection:
            error, outcome = (None, Outcome.CORRUPT) if picture.corrupt else (rejection, Outcome.FAILED)
        except Overloaded as overload:
            error, outcome = overload, Outcome.REFUSED
        except PoseClientError as failure:
            error, outcome = failure, Outcome.FAILED
        milliseconds = (time.perf_counter() - due) * 1000
        _SAMPLES.append((round(due - _STARTED, 4), round(milliseconds, 2), outcome.value, phase))
        self.environment.events.request.fire(
            request_type="gRPC",
            name="cut-off picture" if picture.corrupt else "pose",
            response_time=milliseconds,
            response_length=len(picture.encoded),
            exception=error,
        )


@events.quit.add_listener
def _write_samples(**_: object) -> None:
    if path := os.environ.get("SAMPLES"):
        write_file(path, json.dumps(_SAMPLES))
