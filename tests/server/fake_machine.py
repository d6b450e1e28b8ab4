"""A clock, a machine's processes and a tritonserver, controlled by a test of the watchdog."""

import itertools
from types import SimpleNamespace

from tritonclient.grpc import model_config_pb2, service_pb2
from tritonclient.utils import InferenceServerException

from server import watchdog
from server.stubs import ThreadTime

PID = 42


def fake_clock(monkeypatch):
    """Return a clock that advances only in sleep, on a machine with one process of each model.

    `later` holds (seconds, action); a process computes for the share `busy` of its time, and tritonserver for `threads`
    times that; `jitter` replaces chance; `files` is the state of the networks' files.
    """
    clock = SimpleNamespace(now=1000.0, later=[], stubs={7: "step", 8: "network"}, busy={7: 0.0, 8: 0.0}, killed=[])
    clock.threads, clock.files = 0.0, 1
    clock.manifest, clock.jitter = [], lambda least, most: (least + most) / 2
    clock.passed = lambda: clock.now - 1000

    def sleep(seconds):
        clock.now += seconds
        while clock.later and clock.later[0][0] <= clock.passed():
            clock.later.pop(0)[1]()

    def stubs_of(server):
        assert server == PID
        return dict(clock.stubs)

    def kill(stub, server):
        assert server == PID
        clock.killed.append((clock.passed(), stub))
        del clock.stubs[stub]

    monkeypatch.setattr(watchdog.time, "monotonic", lambda: clock.now)
    monkeypatch.setattr(watchdog.time, "sleep", sleep)
    monkeypatch.setattr(watchdog.random, "uniform", lambda least, most: clock.jitter(least, most))
    monkeypatch.setattr(watchdog.stubs, "stubs_of", stubs_of)
    monkeypatch.setattr(watchdog.stubs, "is_alive", lambda stub, server: server == PID and stub in clock.stubs)
    monkeypatch.setattr(watchdog.stubs, "kill", kill)
    monkeypatch.setattr(watchdog.stubs, "cpu_time_s", lambda stub: 100 + clock.busy[stub] * clock.passed())
    monkeypatch.setattr(watchdog.stubs, "thread_times", lambda server: thread_times(clock))
    monkeypatch.setattr(watchdog, "_files", lambda repository, model: clock.files)
    monkeypatch.setattr(watchdog, "manifest_problems", lambda path: list(clock.manifest) if path == "models" else None)
    return clock


class Server:
    """A server that answers canaries as the test states, and records the calls."""

    def __init__(self, clock):
        self.control = self.client = self
        self.process = SimpleNamespace(pid=PID, poll=lambda: None)
        self.options = SimpleNamespace(repository="models")
        self.models = ["step", "pose", "network"]
        self.answers = []  # statuses of the next canaries; later ones succeed
        self.silent = False
        self.busy = itertools.count(1)  # ensemble and network have answered real requests at every check
        self.success = 0  # of the step, whose errors count, too: it has the Python backend
        self.checks, self.canaries, self.unanswered, self.reloads, self.loaded, self.reports = [], [], [], [], [], []
        self.cannot_load, self.gone = {}, []
        self.computed = list  # (model, executions, their seconds) of models in tritonserver's threads
        self._clock = clock

    def states(self):
        return dict.fromkeys(self.models, "READY")

    def config(self, name):
        if name == "pose":
            steps = [{"model_name": member} for member in ("step", "network")]
            return model_config_pb2.ModelConfig(platform="ensemble", ensemble_scheduling={"step": steps})
        config = model_config_pb2.ModelConfig(backend="python" if name == "step" else "onnxruntime")
        config.instance_group.add(kind="KIND_CPU")
        config.input.add(name=f"input of {name}", data_type="TYPE_FP32", dims=[1])
        return config

    def executions(self):
        self.checks.append(self._clock.passed())
        served = next(self.busy)
        return {"step": self.success, "network": served, "pose": served}

    def statistics(self):
        counted = {name: (count, seconds) for name, count, seconds in self.computed()}
        return {name: _statistics(name, *counted.get(name, (0, 0.0)), self.success) for name in self.models}

    def async_infer(self, model, inputs, callback, client_timeout):
        assert ([given.name() for given in inputs], client_timeout) == ([f"input of {model}"], 5.0)
        self.canaries.append((self._clock.passed(), model))
        if self.silent:
            self.unanswered.append(callback)
        else:
            status = self.answers.pop(0) if self.answers else None
            self.success += model == "step" and status not in ("DEADLINE_EXCEEDED", "UNAVAILABLE")
            callback(None, status and InferenceServerException("no luck", status=f"StatusCode.{status}"))

    def reload(self, name):
        self.reloads.append((self._clock.passed(), name))
        self.load(name)

    def load(self, name):
        if name in self.cannot_load:
            raise InferenceServerException(self.cannot_load[name], status="StatusCode.INTERNAL")
        self.loaded.append(name)
        self.success *= name != "step"
        new = max([8, *self._clock.stubs]) + 1
        self._clock.stubs[new], self._clock.busy[new] = name, 0.0

    def missing(self, patience_s):
        assert patience_s == 5.0
        return self.gone


def thread_times(clock):
    """Return the time of a computing thread, which waits for a core half of the time, and of one of the front end."""
    half_s = clock.threads * clock.passed() / 2
    return {
        PID: ThreadTime(half_s, half_s, int(half_s / 0.004)),
        43: ThreadTime(0.1 * clock.passed(), clock.passed(), int(1000 * clock.passed())),
    }


def _statistics(name, executions, seconds, success):
    """Return what the watchdog reads of Triton's ModelStatistics."""
    batch = service_pb2.InferBatchStatistics(batch_size=2)
    batch.compute_infer.count, batch.compute_infer.ns = executions, int(seconds * 1e9)
    model = service_pb2.ModelStatistics(name=name, batch_stats=[batch])
    model.inference_stats.success.count = success if name == "step" else 0
    return model
