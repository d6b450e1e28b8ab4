"""Locust users that call the pose ensemble over gRPC.

With locust's page: `locust -f benchmarks/locustfile.py --host localhost:8001`, scenario by the variable SCENARIO.
Headless, with a verdict and result files: `python -m benchmarks.load SCENARIO --url localhost:8001`.
"""

# mypy: disallow-subclassing-any=False

import os
import time

import gevent
import grpc.experimental.gevent as grpc_gevent
from cigpose_client import PoseClient, PoseClientError, RequestRejected
from locust import User, constant

from benchmarks.scenario import Picture, Pictures, scenarios

grpc_gevent.init_gevent()  # or every call would block all other greenlets

_NO_RETRIES = None  # a load test counts what fails


class PoseUser(User):
    """One user of a closed loop is one caller; the one user of an open loop sends everything on schedule."""

    wait_time = constant(0)

    def on_start(self) -> None:
        """Connect, and render the pictures."""
        self.scenario = scenarios()[os.environ.get("SCENARIO", "steady")]
        self.pictures = Pictures(self.scenario, seed=id(self) % 1000)
        self.client = PoseClient(self.host, timeout_s=30, retry=_NO_RETRIES)

    def on_stop(self) -> None:
        """Disconnect."""
        self.client.close()

    def send(self) -> None:
        """Send one picture, or play the whole schedule."""
        if self.scenario.callers:
            self._request(self.pictures.draw(), time.perf_counter())
        else:
            self._play()
            self.environment.runner.quit()

    tasks = [send]  # noqa: RUF012

    def _play(self) -> None:
        started = time.perf_counter()
        under_way = []
        for arrival in self.scenario.arrivals():
            gevent.sleep(max(0.0, started + arrival - time.perf_counter()))
            under_way.append(gevent.spawn(self._request, self.pictures.draw(), started + arrival))
        gevent.joinall(under_way)

    def _request(self, picture: Picture, due: float) -> None:
        """Send one picture; its time runs from when it was due, so that a late start counts as waiting."""
        error: Exception | None = None
        try:
            self.client.estimate(picture.encoded)
        except RequestRejected as rejection:
            error = None if picture.corrupt else rejection
        except PoseClientError as failure:
            error = failure
        self.environment.events.request.fire(
            request_type="gRPC",
            name="refused picture" if picture.corrupt else "pose",
            response_time=(time.perf_counter() - due) * 1000,
            response_length=len(picture.encoded),
            exception=error,
        )
