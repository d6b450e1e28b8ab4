"""How much a model computes, from /proc and Triton's statistics: a late model that computes is busy, not hung.

A model of the Python backend has processes of its own, whose processor time is counted. A model of a C++ backend runs
in threads of tritonserver, which serve all such models and the front end. So the time is counted in which those threads
computed or waited for a core, less the executions of the other models, each of which keeps one thread busy.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from server import stubs
from server.stubs import ThreadTime

_PROCESS_SHARE = 0.05  # of a core; an idle stub uses far less
_THREADS_SHARE = 0.35  # an execution has 1
_FRONT_END_S = 0.0005  # front-end threads run for 0.1 ms at a time and wait long; computing ones run for 2 ms and more
_EXECUTION_S = (0.01, 2.0)  # executions of others that are deducted; longer ones may have begun before the first sample


@dataclass(frozen=True)
class Sample:
    """Cumulative times of one model, to be compared with a later sample.

    Attributes:
        at_s: time of the sample.
        own_s: processor time of the model's own processes by id; empty for a model without any.
        threads: times of tritonserver's threads by id.
        others: model -> executions and their seconds, of the other models without processes.
    """

    at_s: float
    own_s: Mapping[int, float]
    threads: Mapping[int, ThreadTime]
    others: Mapping[str, tuple[int, float]]

    def shows_work(self, later: "Sample") -> bool:
        """Return whether the model has computed between this sample and a later one."""
        elapsed_s = later.at_s - self.at_s
        if later.own_s:
            worked_s = sum(seconds - self.own_s.get(stub, 0.0) for stub, seconds in later.own_s.items())
            return worked_s > _PROCESS_SHARE * elapsed_s
        busy_s = sum(_busy_s(self.threads.get(thread), time) for thread, time in later.threads.items())
        others_s = sum(_executed_s(self.others.get(name, (0, 0.0)), after) for name, after in later.others.items())
        return busy_s - others_s > _THREADS_SHARE * elapsed_s


def sample(now_s: float, server: int, processes: Iterable[int], others: Iterable[Any]) -> Sample:
    """Take a sample of one model.

    Args:
        now_s: the time.
        server: process id of tritonserver.
        processes: the model's own processes; empty for a model of a C++ backend.
        others: Triton's ModelStatistics of the other models that compute on processors inside tritonserver.
    """
    own_s = {stub: stubs.cpu_time_s(stub) for stub in processes}
    if own_s:
        return Sample(now_s, own_s, {}, {})
    return Sample(now_s, {}, stubs.thread_times(server), {model.name: _executions(model) for model in others})


def _executions(model: Any) -> tuple[int, float]:
    """Return number and seconds of executions. `inference_stats` counts one for each request of a batch."""
    counted = [batch.compute_infer for batch in model.batch_stats]
    return sum(infer.count for infer in counted), sum(infer.ns for infer in counted) / 1e9


def _busy_s(before: ThreadTime | None, after: ThreadTime) -> float:
    """Return the seconds in which a thread computed or waited for a core; 0 for threads of the front end."""
    run_s, wait_s, turns = (now - was for now, was in zip(after, before or ThreadTime(0.0, 0.0, 0), strict=True))
    return run_s + wait_s if run_s >= _FRONT_END_S * turns else 0.0


def _executed_s(before: tuple[int, float], after: tuple[int, float]) -> float:
    """Return the seconds of the executions between two counts, if their mean length can be deducted."""
    count, seconds = after[0] - before[0], after[1] - before[1]
    least, most = _EXECUTION_S
    return seconds if count > 0 and least <= seconds / count <= most else 0.0
