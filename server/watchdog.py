"""Watches every model of one running server, and reloads the broken ones.

Three signs, in the order of their reliability:

- A process of the Python backend has ended: the model is broken.
- A canary returns a server error: the model is broken if the next canary returns one, too.
- A canary is late: the model is broken only if it neither answers nor computes for a long time. `server/activity.py`
  measures that for models with and without processes of their own.

A model that has answered real requests since the last check gets no canary. So a busy server gets no additional load,
and overload is not taken for a broken model. Triton counts the errors of Python models as successes, so one of the
model's ensembles must have succeeded, too.
"""

import logging
import queue
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tritonclient.utils import InferenceServerException

from server import stubs
from server.activity import Sample, sample
from server.canary import Verdict, canary_inputs, verdict
from server.health import Health
from server.preflight import manifest_problems
from server.process import RunningServer, ending
from server.tries import Tries

_LOG = logging.getLogger(__name__)
_TICK_S = 0.25
_PERIOD_S = 5.0  # between canaries; jittered, so that replicas do not send them at the same time
_SECOND_OPINION_S = 1.0
_TIMEOUT_S = 5.0
_LOOK_S = 1.0  # between two samples of a late model
_PAUSE_S = 5.0  # a longer time between two samples means that launcher or machine were paused
# A hang is found within 30 s: the next canary leaves after two periods at most, is sampled a second later, and the
# model is broken at the first sample after this time.
_HUNG_S = 14.0
_RELOADS, _WINDOW_S = 5, 300.0
_LEAVE_S = 20.0  # for the last answers of a broken model's remaining processes


class RestartNeeded(Exception):
    """Reloading a model does not help; the text states the reason."""


@dataclass
class _Watched:
    """The state of one model.

    Attributes:
        inputs: inputs of its canary.
        tries: the reloads.
        canary_due_s: time of the next canary.
        waiting: whether a canary has no answer yet.
        late: whether the last canary was late.
        faults: number of consecutive server errors.
        alive: whether a canary was answered since the last check.
        answered: number of successful requests at the last check, with the errors of a Python model.
        served: number of successful requests of its ensembles, likewise, without errors; its own if it is in none.
        last_active: the sample since which a late model has not computed.
        reload_due_s: time of the next reload.
    """

    inputs: list[Any]
    tries: Tries = field(default_factory=lambda: Tries(_RELOADS, _WINDOW_S))
    canary_due_s: float = 0.0
    waiting: bool = False
    late: bool = False
    faults: int = 0
    alive: bool = False
    answered: int = 0
    served: int = 0
    last_active: Sample | None = None
    reload_due_s: float | None = None

    def has_answered(self, answered: int, served: int) -> bool:
        """Return whether it has answered real requests since the last check, or a canary. Note the numbers of this one.

        So an idle model gets a canary at every second check.
        """
        active = answered - self.answered > (self.faults > 0)  # the error of the canary may count
        confirmed = self.alive or served != self.served
        if active:
            self.last_active = None
        self.answered, self.served, self.alive = answered, served, False
        return active and confirmed


class Watchdog:
    """Watches one running server until it should stop or needs a restart."""

    def __init__(self, server: RunningServer, health: Health, on_change: Callable[[], None] = lambda: None):
        self._server, self._health, self._on_change = server, health, on_change
        self._control = server.control
        self._verdicts: queue.SimpleQueue[tuple[str, _Watched, Verdict, str]] = queue.SimpleQueue()
        configs = {name: self._control.config(name) for name in self._control.states()}
        # ensembles are covered by their steps
        self._models = {
            name: _Watched(canary_inputs(config)) for name, config in configs.items() if config.platform != "ensemble"
        }
        steps = {
            name: {step.model_name for step in config.ensemble_scheduling.step} for name, config in configs.items()
        }
        self._users = {name: [each for each in steps if name in steps[each]] or [name] for name in self._models}
        health.models = tuple(sorted(self._models))
        self._stubs = stubs.stubs_of(server.process.pid)
        self._leaving: dict[int, float] = {}  # replaced process -> time at which it is ended
        self._networks = [name for name, config in configs.items() if config.backend == "onnxruntime"]
        # in tritonserver itself, each execution of these keeps one thread computing
        self._on_cpu = {name for name, config in configs.items() if _is_on_cpu(config)}
        self._files = {name: _files(server.options.repository, name) for name in self._networks}
        self._looked_s = 0.0
        self._reported_s = now = time.monotonic()
        for model in self._models.values():
            model.canary_due_s = now + random.uniform(0, _PERIOD_S)

    def run(self, should_stop: Callable[[], bool], should_update: Callable[[], bool] = lambda: False) -> None:
        """Watch until `should_stop`; load changed networks when `should_update`.

        Raises:
            RestartNeeded: reloading does not help.
        """
        while not should_stop():
            if (code := self._server.process.poll()) is not None:
                raise RestartNeeded(f"tritonserver {ending(code)}")
            now = time.monotonic()
            self._check_processes(now)
            self._check_verdicts(now)
            if now >= self._looked_s + _LOOK_S:
                self._check_late(now)
            self._send_canaries(now)
            for name, model in self._models.items():
                if model.reload_due_s is not None and model.reload_due_s <= now:
                    self._reload(name)
            self._end_leaving(now)
            if should_update():
                self._update()
            if now > self._reported_s + _PERIOD_S:
                self._reported_s = now
                self._on_change()
            time.sleep(_TICK_S)

    def _check_processes(self, now: float) -> None:
        for stub, name in list(self._stubs.items()):
            if not stubs.is_alive(stub, self._server.process.pid):
                del self._stubs[stub]
                self._break(name, f"process {stub} has died", now)

    def _end_leaving(self, now: float) -> None:
        """End old processes of reloaded models: Triton keeps the remaining ones when one of them has died."""
        for stub, due_s in list(self._leaving.items()):
            if due_s <= now:
                stubs.kill(stub, self._server.process.pid)
                del self._leaving[stub]

    def _check_verdicts(self, now: float) -> None:
        while not self._verdicts.empty():
            name, model, answer, text = self._verdicts.get()
            if self._models[name] is not model:
                continue  # the canary was sent before the model was reloaded
            model.waiting = False
            model.canary_due_s = now + _PERIOD_S * random.uniform(0.75, 1.25)
            model.faults = model.faults + 1 if answer is Verdict.BROKEN else 0
            model.late, model.alive = answer is Verdict.LATE, answer is Verdict.ALIVE
            if answer is Verdict.ALIVE:
                model.last_active = None
            elif answer is Verdict.LATE:
                continue
            elif model.faults > 1:
                self._break_living(name, text, now)
            else:
                model.canary_due_s = now + _SECOND_OPINION_S

    def _check_late(self, now: float) -> None:
        """Break a late model if it has neither answered nor computed since its canary was sent."""
        paused, self._looked_s = now > self._looked_s + _PAUSE_S, now
        late = {name: model for name, model in self._models.items() if model.waiting or model.late}
        try:
            statistics = self._control.statistics() if late else {}
        except InferenceServerException as error:
            _LOG.debug("no statistics: %s", error)
            return
        for name, model in late.items():
            before, current = model.last_active, self._sample(name, statistics, now)
            count = statistics[name].inference_stats.success.count if name in statistics else 0
            if before is None or paused or count != model.answered or before.shows_work(current):
                model.last_active, model.answered = current, count
            elif model.late and now - before.at_s > _HUNG_S:
                self._break_living(name, f"no answer and no work for {now - before.at_s:.0f} s", now)

    def _sample(self, name: str, statistics: dict[str, Any], now: float) -> Sample:
        processes = [stub for stub, of in self._stubs.items() if of == name]
        with_processes = set(self._stubs.values())
        others = [statistics[other] for other in self._on_cpu - with_processes - {name} if other in statistics]
        return sample(now, self._server.process.pid, processes, others)

    def _send_canaries(self, now: float) -> None:
        due = [
            (name, model)
            for name, model in self._models.items()
            if model.canary_due_s <= now and not model.waiting and model.reload_due_s is None
        ]
        if not due:
            return
        try:
            counts = self._control.executions()
        except InferenceServerException as error:  # the front end is busy; a dead one is detected by its process
            _LOG.debug("no statistics: %s", error)
            return
        for name, model in due:
            if model.has_answered(counts.get(name, 0), sum(counts.get(each, 0) for each in self._users[name])):
                model.late, model.faults = False, 0
                model.canary_due_s = now + _PERIOD_S * random.uniform(0.75, 1.25)
            else:
                self._send_canary(name, model)

    def _send_canary(self, name: str, model: _Watched) -> None:
        def note(result: Any, error: InferenceServerException | None) -> None:  # called by another thread
            self._verdicts.put((name, model, verdict(error), str(error)))

        model.waiting = True
        self._control.client.async_infer(name, model.inputs, note, client_timeout=_TIMEOUT_S)

    def _break_living(self, name: str, reason: str, now: float) -> None:
        """Break a model with running processes and kill them: a hanging request would block the unloading."""
        self._break(name, reason, now)
        for stub, of in self._stubs.items():
            if of == name:
                stubs.kill(stub, self._server.process.pid)

    def _break(self, name: str, reason: str, now: float) -> None:
        """Record that a model is broken, and schedule its reload."""
        model = self._models[name]
        if model.reload_due_s is not None:
            return
        pause_s = model.tries.take(now)
        if pause_s is None:
            raise RestartNeeded(f"{name} keeps breaking: {reason}")
        model.reload_due_s = now + pause_s
        _LOG.warning("%s is broken: %s; loading it again (%d of %d)", name, reason, model.tries.count, _RELOADS)
        self._health.broken[name] = reason
        self._on_change()

    def _reload(self, name: str) -> None:
        for problem in manifest_problems(self._server.options.repository):
            if f": {name}/" in problem:  # problems of other models do not prevent this reload
                raise RestartNeeded(f"{name} is not loaded again: {problem}")
        started = time.monotonic()
        before = stubs.stubs_of(self._server.process.pid)  # the model's own processes may take a while to end
        try:
            self._control.reload(name)
            missing = self._control.missing(_TIMEOUT_S)
        except InferenceServerException as error:
            raise RestartNeeded(f"{name} cannot be loaded again: {error.message()}") from error
        if missing:
            raise RestartNeeded(f"{name} was loaded again, but {', '.join(missing)} did not come back")
        now = time.monotonic()
        self._watch_new(name, before)
        self._leaving |= {stub: now + _LEAVE_S for stub, of in before.items() if of == name}
        _LOG.warning("%s is back after %.1f s", name, now - started)
        del self._health.broken[name]
        self._health.recoveries[name] = self._health.recoveries.get(name, 0) + 1
        self._on_change()

    def _watch_new(self, name: str, before: dict[int, str]) -> None:
        """Watch a model's processes that are not in `before`, instead of its old ones, if it has any."""
        after = stubs.stubs_of(self._server.process.pid)
        new = {stub: of for stub, of in after.items() if of == name and stub not in before}
        if new:
            self._stubs = {stub: of for stub, of in self._stubs.items() if of != name} | new
        model = self._models[name]
        due_s = time.monotonic() + _SECOND_OPINION_S
        self._models[name] = _Watched(model.inputs, model.tries, canary_due_s=due_s)

    def _update(self) -> None:
        """Load the networks whose files have changed. The present ones serve until the new ones are ready."""
        self._health.failed_updates = {}
        found = manifest_problems(self._server.options.repository)
        for name in self._networks if not found else []:
            before, files = stubs.stubs_of(self._server.process.pid), _files(self._server.options.repository, name)
            try:
                self._control.load(name)
            except InferenceServerException as error:
                self._health.failed_updates[name] = error.message()
                found.append(f"{name}: {error.message()}")
                continue
            self._watch_new(name, before)
            if files != self._files[name]:
                self._files[name] = files
                _LOG.warning("%s was updated", name)
                self._health.updates[name] = self._health.updates.get(name, 0) + 1
        for problem in found:
            _LOG.error("not updated, the present networks stay: %s", problem)
        if not found:
            _LOG.warning("every network is as in %s", self._server.options.repository)
        self._on_change()


def _is_on_cpu(config: Any) -> bool:
    kinds = {type(group).Kind.Name(group.kind) for group in config.instance_group}
    return config.platform != "ensemble" and kinds == {"KIND_CPU"}


def _files(repository: Path, model: str) -> dict[str, tuple[int, int]]:
    """Return time and size of a model's files. Like Triton, the watchdog takes a model with other times for changed."""
    files = [path for path in Path(repository, model).rglob("*") if path.is_file()]
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in files}
