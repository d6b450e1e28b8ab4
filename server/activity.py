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
        run_s, wait_s = computing_s(self.threads, later.threads)
        others_s = sum(_executed_s(self.others.get(name, (0, 0.0)), after) for name, after in later.others.items())
        return run_s + wait_s - others_s > _THREADS_SHARE * elapsed_s


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


def computing_s(before: Mapping[int, ThreadTime], after: Mapping[int, ThreadTime]) -> tuple[float, float]:
    """Return the seconds in which tritonserver's threads ran and waited for a core, without those of the front end."""
    changes = []
    for thread, times in after.items():
        was = before.get(thread, ThreadTime(0.0, 0.0, 0))
        changes.append(ThreadTime(times.run_s - was.run_s, times.wait_s - was.wait_s, times.turns - was.turns))
    computing = [change for change in changes if change.run_s >= _FRONT_END_S * change.turns]
    return sum(change.run_s for change in computing), sum(change.wait_s for change in computing)


def _executions(model: Any) -> tuple[int, float]:
    """Return number and seconds of executions. `inference_stats` counts one for each request of a batch."""
    counted = [batch.compute_infer for batch in model.batch_stats]
    return sum(infer.count for infer in counted), sum(infer.ns for infer in counted) / 1e9


def _executed_s(before: tuple[int, float], after: tuple[int, float]) -> float:
    """Return the seconds of the executions between two counts, if their mean length can be deducted."""
    count, seconds = after[0] - before[0], after[1] - before[1]
    least, most = _EXECUTION_S
    return seconds if count > 0 and least <= seconds / count <= most else 0.0
