"""What the processes of one server use: processor time by model."""

from collections import defaultdict

from server.process import RunningServer
from server.stubs import cpu_time_s, stubs_of

FRONT = "tritonserver"  # the front end, the scheduling, and every copy from model to model


def cpu_seconds(server: RunningServer) -> dict[str, float]:
    """Return the processor time so far of each Python-backend model, and of tritonserver itself as `FRONT`."""
    used = defaultdict[str, float](float, {FRONT: cpu_time_s(server.process.pid)})
    for stub, model in stubs_of(server.process.pid).items():
        used[model] += cpu_time_s(stub)
    return dict(used)
