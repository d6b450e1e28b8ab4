"""The Ray job on a local Ray of two worker processes, against a real server."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from cigpose_client import PoseClient

from deploy.offline import ray_job
from tests.deploy.plain_folder import CHECKOUT
from tests.pictures import encode, picture_with_persons

_PYTHON = CHECKOUT / "out" / "offline" / "venv" / "bin" / "python"
_COUNT = 2000
_BATCH = 25


def test_a_repeated_batch_replaces_its_own_records():
    assert ray_job.part_name(["a", "b"]) == ray_job.part_name(["a", "b"])
    assert len({ray_job.part_name(names) for names in (["a", "b"], ["b", "a"], ["ab"], ["a"])}) == 4


def test_refusals_halve_the_concurrent_requests():
    assert [ray_job.next_in_flight(8, refusals, 10) for refusals in (0, 1, 9)] == [9, 4, 4]
    assert (ray_job.next_in_flight(10, 0, 10), ray_job.next_in_flight(1, 3, 10)) == (10, 1)


def test_lost_and_repeated_pictures_are_found(tmp_path):
    (tmp_path / "part-1.jsonl").write_text('{"picture":"a"}\n{"picture":"b"}\n')
    (tmp_path / "part-2.jsonl").write_text('{"picture":"b"}\n')
    assert ray_job.problems(["a", "b", "c"], tmp_path) == (["c"], ["b"])


@pytest.mark.server
def test_the_shards_of_the_indexed_job_hold_every_picture_once(server, tmp_path):
    names = [f"{number}.png" for number in range(12)]
    (tmp_path / "people").mkdir()
    (tmp_path / "pictures").mkdir()
    for name in names:
        (tmp_path / "pictures" / name).write_bytes(encode(picture_with_persons([(10, 10)]), ".png"))
    job = (CHECKOUT / "deploy" / "offline" / "job.yaml").read_text(encoding="utf-8")
    command = " ".join(re.findall(r"- (exec cigpose-client .*\n(?: {14}.*\n)+)", job)[0].split())
    changes = {
        "exec cigpose-client": f"exec {sys.executable} -m cigpose_client",
        "/pictures": f"{tmp_path}/pictures",
        "/people/": f"{tmp_path}/people/",
        "+ 1))/16": "+ 1))/3",
    }
    changes["dns:///cigpose-pods.cigpose.svc.cluster.local:8001"] = server.grpc_url
    for there, here in changes.items():
        assert there in command
        command = command.replace(there, here)
    for index in range(3):
        environment = {**os.environ, "PYTHONPATH": str(CHECKOUT / "client"), "JOB_COMPLETION_INDEX": str(index)}
        subprocess.run(["sh", "-c", command], env=environment, check=True, capture_output=True, timeout=120)
    lines = [line for path in (tmp_path / "people").iterdir() for line in path.read_text().splitlines()]
    assert sorted(json.loads(line)["picture"] for line in lines) == sorted(names)


@pytest.fixture(scope="module")
def python():
    if not _PYTHON.is_file():
        pytest.skip("Ray is not installed; `make install-offline` does it")
    return _PYTHON


@pytest.fixture
def job(server, python, tmp_path):
    """Return a function that starts the job."""

    def start(pictures, output):
        options = ["--url", server.grpc_url, "--workers", "2", "--batch", str(_BATCH), "--in-flight", "64"]
        command = [python, "-m", "deploy.offline.ray_job", pictures, output, *options]
        environment = {
            **os.environ,
            "PYTHONPATH": f"{CHECKOUT / 'client'}:{CHECKOUT}",
            "RAY_TMPDIR": "/tmp",  # sockets need short paths
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        with (tmp_path / "log").open("w") as log:
            process = subprocess.Popen(command, env=environment, cwd=CHECKOUT, stdout=log, stderr=log)
        return process, Path(log.name)

    return start


@pytest.mark.slow
@pytest.mark.server
def test_a_killed_worker_loses_and_repeats_nothing(job, server, python, tmp_path):
    pictures, output = tmp_path / "pictures", tmp_path / "poses"
    pictures.mkdir()
    for number in range(_COUNT):
        people = [(10 + number % 7, 10)] * (number % 3 > 0)
        (pictures / f"{number:04}.png").write_bytes(encode(picture_with_persons(people), ".png") + bytes(number % 9))
    process, log = job(pictures, output)
    try:
        _wait_for(lambda: len(_parts(output)) >= 10, process, log)
        workers = {pid for pid, name in _descendants(process.pid) if "Estimator" in name}
        assert len(workers) == 2
        os.kill(min(workers), signal.SIGKILL)
        assert len(_parts(output)) < _COUNT / _BATCH, "the worker was killed in the middle"
        assert process.wait(900) == 0, log.read_text()[-3000:]
    finally:
        process.terminate()
        process.wait(60)

    assert _names(output) == Counter({f"{number:04}.png": 1 for number in range(_COUNT)})
    records = {
        entry["picture"]: entry for path in _parts(output) for entry in map(json.loads, path.read_text().splitlines())
    }
    with PoseClient(server.grpc_url, timeout_s=60) as client:
        for name in list(records)[::50]:
            assert records[name] == {"picture": name, **client.estimate(str(pictures / name)).to_dict()}

    for path in _parts(output)[:2]:
        path.unlink()
    process, log = job(pictures, output)
    assert process.wait(300) == 0
    assert f"{_COUNT - 2 * _BATCH} of {_COUNT} pictures are answered already" in log.read_text()
    assert f"{2 * _BATCH} pictures answered, 0 of them failed" in log.read_text()
    assert set(_names(output).values()) == {1}

    assert _table(python, output, tmp_path / "poses.parquet") == [_COUNT, _COUNT]


def _table(python, output, path):
    """Convert the records, and return the number of rows and of different pictures in the table."""
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT / "client")}
    command = [python, "-m", "cigpose_client", "parquet", *_parts(output), "--output", path]
    subprocess.run(command, env=environment, check=True, timeout=120)
    script = "import sys, pyarrow.parquet as p; t = p.read_table(sys.argv[1]); "
    script += "print(t.num_rows, len(set(t['picture'].to_pylist())))"
    done = subprocess.run([python, "-c", script, path], check=True, capture_output=True, text=True)
    return list(map(int, done.stdout.split()))


def _parts(folder):
    return sorted(folder.glob("part-*.jsonl"))


def _names(folder):
    return ray_job.answered(folder)


def _wait_for(condition, process, log):
    deadline = time.monotonic() + 300
    while not condition():
        assert process.poll() is None, log.read_text()[-3000:]
        assert time.monotonic() < deadline, log.read_text()[-3000:]
        time.sleep(0.01)


def _descendants(root):
    """Yield (pid, command line) of the processes below `root`."""
    parents, names = {}, {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            names[int(path.name)] = (path / "cmdline").read_text()
        except OSError:  # it has ended
            continue
    for pid in parents:
        above = pid
        while above not in (root, 0) and above in parents:
            above = parents[above]
        if above == root and pid != root:
            yield pid, names[pid]
