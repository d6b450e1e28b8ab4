"""The conclusions of the watchdog, without a server."""

import itertools

import pytest
from tritonclient.utils import InferenceServerException

from server.health import Health
from server.watchdog import RestartNeeded, Watchdog, _files
from tests.server.fake_machine import Server, fake_clock


@pytest.fixture
def clock(monkeypatch):
    return fake_clock(monkeypatch)


@pytest.fixture
def server(clock):
    return Server(clock)


def watch(server, clock, seconds, updates=0):
    """Watch for some seconds, with this number of updates at the start; return the health."""
    health, wishes, end = Health(ready=True), [True] * updates, clock.now + seconds
    reports = server.reports
    dog = Watchdog(server, health, lambda: reports.append((clock.passed(), dict(health.broken))))
    dog.run(lambda: clock.now >= end, lambda: bool(wishes and wishes.pop()))
    return health


def test_all_models_but_ensembles_are_watched(server, clock):
    server.models = ["step", "pose", "network", "another"]
    assert watch(server, clock, 1).models == ("another", "network", "step")


def test_health_is_reported_every_few_seconds(server, clock):
    watch(server, clock, 12)
    assert server.reports == [(5.25, {}), (10.5, {})]


def test_a_dead_process_is_replaced_immediately(server, clock, caplog):
    clock.later = [(3, lambda: clock.stubs.pop(7)), (10, lambda: clock.stubs.pop(9))]
    found = watch(server, clock, 60)
    assert server.reloads == [(3, "step"), (11, "step")], "the second time after a second"
    assert server.reports[:2] == [(3, {"step": "process 7 has died"}), (3, {})]
    assert (found.recoveries, found.is_well, clock.killed) == ({"step": 2}, True, [])
    assert caplog.messages == [
        "step is broken: process 7 has died; loading it again (1 of 5)",
        "step is back after 0.0 s",
        "step is broken: process 9 has died; loading it again (2 of 5)",
        "step is back after 0.0 s",
    ]


def test_the_processes_beside_a_dead_one_are_ended_20_s_later(server, clock):
    clock.stubs |= {10: "step", 11: "network"}
    clock.later = [(3, lambda: clock.stubs.pop(7)), (5, lambda: clock.stubs.pop(8))]
    assert watch(server, clock, 60).recoveries == {"step": 1, "network": 1}, "their end is no fault"
    assert clock.killed == [(23, 10), (25, 11)]


@pytest.mark.parametrize(("jitter", "first_s", "period_s"), [(min, 0, 3.75), (max, 5, 6.25)])
def test_an_idle_model_gets_a_canary_at_every_second_check(server, clock, jitter, first_s, period_s):
    clock.jitter = jitter
    watch(server, clock, 32)
    apart_s = 2 * period_s + 0.25  # a canary's answer is seen a moment later
    assert server.canaries[:3] == [(first_s + n * apart_s, "step") for n in range(3)]


@pytest.mark.parametrize(("jitter", "first_s", "period_s"), [(min, 0, 3.75), (max, 5, 6.25)])
def test_a_model_with_real_requests_gets_no_canary(server, clock, jitter, first_s, period_s):
    clock.jitter, server.models = jitter, ["network", "pose"]
    watch(server, clock, 25)
    assert server.canaries == []
    assert server.checks[:3] == [first_s + n * period_s for n in range(3)]


def test_a_model_without_statistics_gets_a_canary(server, clock):
    server.executions = dict
    watch(server, clock, 3)
    assert server.canaries == [(2.5, "step"), (2.5, "network")]


def test_without_statistics_nothing_is_concluded(server, clock):
    def fail():
        raise InferenceServerException("the front end is busy")

    known, server.executions = server.executions, fail
    clock.later = [(10, lambda: setattr(server, "executions", known))]
    assert watch(server, clock, 12).is_well
    assert server.canaries == [(10, "step")]


def test_no_canary_is_sent_while_one_is_unanswered(server, clock):
    server.silent = True
    watch(server, clock, 60)
    assert server.canaries == [(2.5, "step")]


def test_a_canary_from_before_a_reload_is_ignored(server, clock):
    server.silent = True

    def answer():
        server.silent = False
        server.unanswered.pop()(None, InferenceServerException("old", status="StatusCode.INTERNAL"))

    clock.later = [(3, lambda: clock.stubs.pop(7)), (3.5, answer)]
    server.answers = ["INTERNAL"]  # of the next one, a second after the reload
    assert watch(server, clock, 60).recoveries == {"step": 1}
    assert server.canaries[1][0] == 4


def test_two_consecutive_faults_break_a_model(server, clock):
    server.answers = ["INTERNAL", "INTERNAL"]
    assert watch(server, clock, 60).recoveries == {"step": 1}
    assert server.canaries[:2] == [(2.5, "step"), (3.75, "step")]
    assert server.reports[0] == (4, {"step": "[StatusCode.INTERNAL] no luck"})
    assert clock.killed == [(4, 7)], "a hanging request would block the unloading"


@pytest.mark.parametrize("between", [None, "INVALID_ARGUMENT", "UNAVAILABLE"])
def test_a_single_fault_does_not_break_a_model(server, clock, between):
    server.answers = ["INTERNAL", between] * 2
    assert watch(server, clock, 60).recoveries == {}
    assert server.answers == []


def test_a_fault_before_real_answers_is_forgotten(server, clock):
    server.answers = ["INTERNAL", "INTERNAL"]
    clock.later = [(3, lambda: setattr(server, "success", server.success + 1))]
    assert watch(server, clock, 60).recoveries == {}
    assert server.answers == []


def test_errors_are_no_answers(server, clock):
    """Triton counts each request that a Python model has answered with an error as a success."""
    server.models, server.answers = ["step", "pose"], ["INTERNAL"] * 2
    server.executions = lambda: {"step": int(10 * clock.passed()) if not server.loaded else 0, "pose": 0}
    assert watch(server, clock, 30).recoveries == {"step": 1}
    assert server.reports[0][0] < 10


LATE = ["DEADLINE_EXCEEDED", "UNAVAILABLE"]


@pytest.mark.parametrize("status", LATE)
@pytest.mark.parametrize(("share", "recoveries"), [(0.5, {}), (0.02, {"step": 1}), (0.0, {"step": 1})])
def test_late_and_working_is_busy_late_and_idle_is_hung(server, clock, status, share, recoveries):
    """An idle process uses a little processor time, too."""
    server.answers, clock.busy, clock.threads = [status] * 4, {7: share, 8: 1.0}, 8.0
    assert watch(server, clock, 60).recoveries == recoveries
    assert [stub for _, stub in clock.killed] == [7] * len(recoveries)


@pytest.mark.parametrize("status", LATE)
@pytest.mark.parametrize(("threads", "recoveries"), [(1.0, {}), (0.4, {}), (0.3, {"step": 1}), (0.0, {"step": 1})])
def test_without_processes_the_servers_threads_tell_busy_from_hung(server, clock, status, threads, recoveries):
    del clock.stubs[7]
    server.answers, clock.threads = [status] * 4, threads
    assert watch(server, clock, 60).recoveries == recoveries
    assert clock.killed == []


def test_an_execution_of_60_s_in_the_servers_threads_raises_no_alarm(server, clock):
    """Its threads compute all the time, whatever the other models execute."""
    clock.stubs, clock.threads = {}, 1.0 + 0.6
    server.answers = ["DEADLINE_EXCEEDED"] * 6
    server.computed = lambda: [("network", int(10 * clock.passed()), 0.6 * clock.passed())]
    assert watch(server, clock, 60).recoveries == {}
    assert server.answers == []


@pytest.mark.parametrize(("execution_s", "recoveries"), [(0.1, {"step": 1}), (1.9, {"step": 1}), (30.0, {})])
def test_executions_of_others_do_not_hide_a_hang(server, clock, execution_s, recoveries):
    """Two instances of another network compute without a pause. Only short executions surely lie between two looks."""
    clock.stubs, clock.threads = {}, 2.1
    server.answers = ["DEADLINE_EXCEEDED"] * 4
    server.computed = lambda: [("network", int(2 * clock.passed() / execution_s), 2 * clock.passed())]
    assert watch(server, clock, 60).recoveries == recoveries


@pytest.mark.parametrize("stubs", [{7: "step", 8: "network"}, {}])
def test_a_hang_is_found_within_30_s(server, clock, stubs):
    """The longest time: with the largest jitter, and a last answer just after a check."""
    clock.stubs, clock.jitter = stubs, max
    clock.later = [(5.25, lambda: setattr(server, "success", 1))]
    server.models, server.silent = ["step", "pose"], True

    def be_late():
        server.unanswered.pop(0)(None, InferenceServerException("late", status="StatusCode.DEADLINE_EXCEEDED"))

    first = watch_hang(server, clock, be_late)
    assert first[1]["step"].startswith("no answer and no work for 15 s")
    assert first[0] - 5.25 < 30


def watch_hang(server, clock, be_late):
    """Watch for a minute, with every canary late after 5 s; return the first report of a fault."""
    sent = server.async_infer

    def send(*arguments, **options):
        sent(*arguments, **options)
        clock.later = sorted([*clock.later, (clock.passed() + 5, be_late)], key=lambda entry: entry[0])

    server.async_infer = send
    watch(server, clock, 60)
    return next(report for report in server.reports if report[1])


def test_a_pause_of_the_machine_is_no_hang(server, clock):
    """After 20 s without processor time for anybody, the model has its time again."""
    server.answers = ["DEADLINE_EXCEEDED"] * 3
    clock.later = [(9, lambda: setattr(clock, "now", clock.now + 20))]
    assert watch(server, clock, 60).recoveries == {}


def test_late_between_answers_is_busy(server, clock):
    server.answers = ["DEADLINE_EXCEEDED", None] * 10
    assert watch(server, clock, 120).recoveries == {}


def test_late_canaries_beside_real_answers_are_busy(server, clock):
    server.answers = ["DEADLINE_EXCEEDED"] * 1000
    server.executions = lambda: {"step": int(clock.now) // 12, "network": next(server.busy)}
    assert watch(server, clock, 120).recoveries == {}


def test_a_model_that_keeps_breaking_needs_a_restart(server, clock):
    server.answers = ["INTERNAL"] * 1000
    with pytest.raises(RestartNeeded, match=r"^step keeps breaking: \[StatusCode.INTERNAL\] no luck$"):
        watch(server, clock, 300)
    times = [moment for moment, _ in server.reloads]
    two_faults_s = 1 + 0.25 + 1 + 0.25  # after a reload
    pauses_s = [later - earlier - two_faults_s for earlier, later in itertools.pairwise(times)]
    assert (pauses_s, server.loaded) == ([1, 2, 4, 8], ["step"] * 5)


def test_a_server_that_has_ended_needs_a_restart(server, clock):
    server.process.poll = lambda: -6
    with pytest.raises(RestartNeeded, match=r"^tritonserver was ended by SIGABRT$"):
        watch(server, clock, 60)


def test_a_model_that_cannot_be_loaded_needs_a_restart(server, clock):
    server.answers, server.cannot_load = ["NOT_FOUND"] * 2, {"step": "no such file"}
    with pytest.raises(RestartNeeded, match=r"^step cannot be loaded again: no such file$"):
        watch(server, clock, 60)


def test_a_model_that_is_not_ready_after_a_reload_needs_a_restart(server, clock):
    server.answers, server.gone = ["INTERNAL"] * 2, ["pose", "network"]
    with pytest.raises(RestartNeeded, match=r"^step was loaded again, but pose, network did not come back$"):
        watch(server, clock, 60)


def test_a_broken_model_is_not_loaded_again_from_changed_files(server, clock):
    clock.manifest, server.answers = ["models: network/1/model.onnx was changed"], ["INTERNAL"] * 2
    assert watch(server, clock, 60).recoveries == {"step": 1}, "what changed is another model's"
    clock.manifest, server.answers = ["models: step/1/model.py was changed"], ["INTERNAL"] * 2
    with pytest.raises(RestartNeeded, match=r"^step is not loaded again: models: step/1/model\.py was changed$"):
        watch(server, clock, 60)
    assert server.loaded == ["step"]


@pytest.fixture
def changing(clock, monkeypatch):
    """The files of the networks are other ones at every look."""
    states = itertools.count()
    monkeypatch.setattr("server.watchdog._files", lambda repository, model: (repository, model, next(states)))


def test_an_update_loads_networks_and_forgets_their_old_processes(server, clock, caplog, changing):
    clock.later = [(3, lambda: clock.stubs.pop(8)), (3, lambda: clock.stubs.pop(9))]
    found = watch(server, clock, 30, updates=2)
    assert server.loaded == ["network"] * 2
    assert (found.updates, found.failed_updates, found.recoveries) == ({"network": 2}, {}, {})
    assert server.reports[:2] == [(0, {}), (0.25, {})]
    assert caplog.messages == ["network was updated", "every network is as in models"] * 2


def test_an_update_of_a_network_without_processes_is_counted(server, clock, caplog, changing):
    clock.stubs, server.load = {}, lambda name: None
    assert watch(server, clock, 1, updates=1).updates == {"network": 1}
    assert caplog.messages == ["network was updated", "every network is as in models"]


def test_an_update_without_changed_files_is_not_counted(server, clock, caplog):
    assert watch(server, clock, 1, updates=1).updates == {}
    assert caplog.messages == ["every network is as in models"]


def test_files_that_change_are_noticed(tmp_path):
    (tmp_path / "network" / "1").mkdir(parents=True)
    seen = [_files(tmp_path, "network")]
    for content in ("old", "longer"):
        (tmp_path / "network" / "1" / "model.onnx").write_text(content)
        seen.append(_files(tmp_path, "network"))
    (tmp_path / "network" / "2").mkdir()
    (tmp_path / "other").touch()
    assert seen[0] == {} and seen[1] != seen[2] and _files(tmp_path, "network") == seen[2]


def test_a_failed_update_keeps_the_present_network_watched(server, clock, caplog):
    server.models, server.cannot_load = ["network", "another"], {"network": "no graph"}
    clock.stubs[7] = "another"
    clock.later = [(3, lambda: clock.stubs.pop(8))]
    with pytest.raises(RestartNeeded, match="no graph"):
        watch(server, clock, 30, updates=1)
    assert server.loaded == ["another"]
    assert "not updated, the present networks stay: network: no graph" in caplog.messages
    assert not any("every network" in message for message in caplog.messages)


def test_a_failed_update_is_reported_until_the_next(server, clock, changing):
    server.cannot_load = {"network": "no graph"}
    found = watch(server, clock, 1, updates=1)
    assert (found.updates, found.failed_updates, found.is_well) == ({}, {"network": "no graph"}, True)
    clock.later = [(1.1, lambda: setattr(server, "cannot_load", {}))]
    found = watch(server, clock, 1, updates=2)
    assert (found.updates, found.failed_updates) == ({"network": 1}, {})


def test_a_changed_repository_is_not_loaded(server, clock, caplog):
    clock.manifest = ["network/1/model.onnx was changed"]
    watch(server, clock, 30, updates=1)
    assert server.loaded == []
    assert caplog.messages == ["not updated, the present networks stay: network/1/model.onnx was changed"]
