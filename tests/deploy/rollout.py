"""`python -m tests.deploy.rollout`: two servers behind the edge proxy; one is drained and restarted under load.

The proxy runs the nginx.conf of the component `edge-proxy`. A small DNS server replaces the cluster's: it answers with
the addresses of the ready servers, as a headless Service does. The servers run the pod's entry point with its flags, on
a repository with a manifest. So a pod leaves as in a cluster: it is removed from the DNS, serves during preStop, gets
SIGTERM and ends. Then a new one starts, gets ready, and joins.

A SIGTERM without warning is measured, too, with our client, which balances by itself and retries.
"""

import contextlib
import json
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
from cigpose_client import PoseClient, PoseClientError, Retry
from cigpose_client.outputs import write_file

from server import manifest
from server.installation import find_installation
from server.preflight import is_free
from server.process import free_port
from server.usage import CommandLine, command, input_path, output_path
from tests.deploy import manifests, tools
from tests.deploy.dns import running_dns
from tests.deploy.manifests import local_nginx
from tests.reliability.load import Account, keep_asking

_PICTURE = np.full((128, 128, 3), 128, np.uint8)
_BOX = (0.0, 0.0, 64.0, 64.0)
_ADDRESSES = ("127.0.0.2", "127.0.0.3")
NAME = "cigpose-pods.cigpose.svc.cluster.local"


@dataclass(frozen=True)
class Plan:
    """Settings of one run: repository, load, and times in seconds."""

    repository: Path
    callers: int = 4
    steady_s: float = 4.0
    steady_calls: int = 600  # at random, 300 for each server are 300 +- 12, so chance does not reach a ratio of 1.3
    prestop_s: float = 15.0  # as in the Deployment


@dataclass(frozen=True)
class Result:
    """The result of one run."""

    path: str
    calls: int
    failed: int
    retries: int
    balance: float  # calls of the busier server, divided by the other's, while both served
    failures: dict[str, int]


def drained(plan: Plan, folder: Path) -> Result:
    """Restart one of two servers behind the proxy as Kubernetes does: out of the Service, preStop, SIGTERM."""
    port = _common_port()
    with contextlib.ExitStack() as stack:
        kept = stack.enter_context(_server(plan, 0, port, folder))
        leaving = stack.enter_context(_server(plan, 1, port, folder))
        ready = set(_ADDRESSES)
        dns = stack.enter_context(running_dns(NAME, lambda: sorted(ready)))
        url = stack.enter_context(proxy(folder, dns, port))
        with _calling(plan, url, retry=None) as (load, clients):
            time.sleep(plan.steady_s)
            _wait_until(lambda: len(load.calls) >= plan.steady_calls, 60, "too few calls to compare the servers")
            balance = _balance(kept, leaving)
            ready.discard(_ADDRESSES[1])
            time.sleep(plan.prestop_s)
            leaving.stop()
            stack.enter_context(_server(plan, 1, port, folder))
            ready.add(_ADDRESSES[1])
            time.sleep(plan.steady_s)
        return _result("edge proxy, drained", load, clients, balance)


def abrupt(plan: Plan, folder: Path) -> Result:
    """Stop one of two servers without warning; our client balances and retries."""
    port = _common_port()
    with contextlib.ExitStack() as stack:
        kept = stack.enter_context(_server(plan, 0, port, folder))
        leaving = stack.enter_context(_server(plan, 1, port, folder))
        url = "ipv4:" + ",".join(f"{address}:{port}" for address in _ADDRESSES)
        with _calling(plan, url, retry=Retry()) as (load, clients):
            time.sleep(plan.steady_s)
            _wait_until(lambda: len(load.calls) >= plan.steady_calls, 60, "too few calls to compare the servers")
            balance = _balance(kept, leaving)
            leaving.stop()
            stack.enter_context(_server(plan, 1, port, folder))
            time.sleep(plan.steady_s)
        return _result("client round_robin, abrupt SIGTERM", load, clients, balance)


@dataclass(frozen=True)
class _Server:
    """One of the two servers, a separate process: forking here, while gRPC's threads run, is not safe."""

    metrics_url: str
    process: "subprocess.Popen[bytes]"

    def stop(self) -> None:
        """Send SIGTERM and wait for the end."""
        self.process.terminate()
        self.process.wait(60)


@contextlib.contextmanager
def _server(plan: Plan, number: int, port: int, folder: Path) -> Iterator[_Server]:
    address, place = _ADDRESSES[number], folder / f"server-{number}-{time.monotonic_ns()}"
    models = shutil.copytree(plan.repository, place / "models", ignore=shutil.ignore_patterns("__pycache__"))
    manifest.write(models)
    backends = find_installation().make_backends(place / "backends")
    shm = f"{place.parent.name}-{place.name}-"  # unlike a pod's, this machine's /dev/shm is shared
    moved = {"=/models": f"={models}", "=/opt/cigpose/backends": f"={place / 'backends'}"}
    flags = [_moved(flag, moved) for flag in manifests.flags("overlays/cpu/deployment.yaml")]
    flags = [flag for flag in flags if backends or not flag.startswith("--backend-directory=")]
    flags += [f"--grpc-address={address}", f"--grpc-port={port}", f"--metrics-address={address}"]
    flags += [f"--metrics-port={port + 1}", f"--backend-config=python,shm-region-prefix-name={shm}"]
    with (place / "log").open("w") as log:
        process = subprocess.Popen([sys.executable, "-m", "deploy.start", *flags], stdout=log, stderr=log)
        try:
            _wait_until(
                lambda: process.poll() is not None or _is_ready(f"{address}:{port}"), 120, "the server is not ready"
            )
            if process.poll() is not None:
                raise RuntimeError(f"the server does not start: {(place / 'log').read_text()[-2000:]}")
            yield _Server(f"http://{address}:{port + 1}/metrics", process)
        finally:
            process.terminate()
            process.wait(60)
            for region in Path("/dev/shm").glob(f"{shm}*"):
                region.unlink(missing_ok=True)


def _moved(flag: str, places: dict[str, str]) -> str:
    for there, here in places.items():
        flag = flag.replace(there, here)
    return flag


def _is_ready(url: str) -> bool:
    with PoseClient(url, timeout_s=1, retry=None) as client:
        return client.is_ready()


@contextlib.contextmanager
def proxy(folder: Path, dns: str, port: int, tls: Path | None = None) -> Iterator[str]:
    """Run the edge proxy in front of the servers of a DNS server, and yield its address."""
    url = f"127.0.0.1:{free_port()}"
    conf = local_nginx(folder, resolver=dns, listen=url, port=port, tls=tls)
    command = [tools.need("nginx"), "-e", "/dev/stderr", "-c", str(conf), "-g", "daemon off;"]
    with (folder / "nginx.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            _wait_until(lambda: _accepts(url), 10, "nginx does not listen")
            yield url
        finally:
            process.terminate()
            process.wait(10)


@contextlib.contextmanager
def _calling(plan: Plan, url: str, retry: Retry | None) -> Iterator[tuple[Account, list[PoseClient]]]:
    """Call without pause during the block, each caller with its own connection."""
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(PoseClient(url, timeout_s=20, retry=retry)) for _ in range(plan.callers)]
        questions = [partial(_ask, client) for client in clients]
        yield stack.enter_context(keep_asking(questions, plan.callers, pause_s=0)), clients


def _ask(client: PoseClient) -> str:
    try:
        return "right" if len(client.estimate_boxes(_PICTURE, [_BOX]).keypoints) == 1 else "wrong answer"
    except PoseClientError as error:
        time.sleep(0.01)
        return f"{type(error).__name__}: {str(error)[:120]}"


def _balance(*servers: _Server) -> float:
    counts = sorted(_answers(server) for server in servers)
    return round(counts[1] / max(counts[0], 1), 3)


def _answers(server: _Server) -> int:
    with urllib.request.urlopen(server.metrics_url, timeout=10) as answer:
        text = answer.read().decode()
    return sum(map(int, re.findall(r'^nv_inference_request_success{model="pose_from_boxes",.*} (\d+)$', text, re.M)))


def _result(path: str, load: Account, clients: Sequence[PoseClient], balance: float) -> Result:
    failures = load.kinds()
    del failures["right"]
    retries = sum(client.retries for client in clients)
    return Result(path, len(load.calls), failures.total(), retries, balance, dict(failures))


def _common_port() -> int:
    """Return a port that is free, with the one above it, on the addresses of both servers."""
    ports = iter(free_port, None)
    places = [(address, above) for address in _ADDRESSES for above in (0, 1)]
    return next(port for port in ports if all(is_free(address, port + above) for address, above in places))


def _accepts(url: str) -> bool:
    host, _, port = url.rpartition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def _wait_until(condition: Callable[[], bool], timeout_s: float, complaint: str) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(complaint)
        time.sleep(0.05)


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run everything, print each result, write the results; return 1 when a goal is missed."""
    parser = CommandLine(prog="python -m tests.deploy.rollout", description=__doc__.splitlines()[0])
    parser.add_argument("--repository", type=input_path, required=True)
    parser.add_argument("--runs", type=int, default=5, help="drained restarts (default: 5)")
    parser.add_argument("--output", type=output_path, help="file for the results (JSON)")
    options = parser.parse_args(argv)
    results = []
    for run in [drained] * options.runs + [abrupt]:
        with tempfile.TemporaryDirectory(prefix="cigpose-rollout-") as folder:
            result = run(Plan(options.repository), Path(folder))
        print(json.dumps(asdict(result)), flush=True)
        results.append(result)
    if options.output:
        write_file(options.output, json.dumps([asdict(result) for result in results], indent=2) + "\n")
    missed = [*misses(results)]
    for miss in missed:
        print(f"FAILED {miss}", file=sys.stderr)
    return 1 if missed else 0


def misses(results: Sequence[Result]) -> Iterator[str]:
    """Yield the goals that were missed."""
    for result in results:
        # our client takes turns and may retry; the proxy distributes at random, and no call may fail
        allowed, balance = (0.005 * result.calls, 1.1) if "round_robin" in result.path else (0, 1.3)
        if result.failed > allowed:
            yield f"{result.path}: {result.failed} of {result.calls} calls failed"
        if result.balance > balance:
            yield f"{result.path}: one server had {result.balance} times the other's calls"
        if result.calls < 100:
            yield f"{result.path}: {result.calls} calls prove nothing"


if __name__ == "__main__":
    sys.exit(main())
