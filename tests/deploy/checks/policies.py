"""Rules of this project about its manifests, which no schema can express, one function each.

A rule takes all objects of a variant and yields its violations. It must not rely on the schemas, because mutants reach
it, too.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

from tests.deploy.checks import pods
from tests.deploy.checks.pods import Object, containers, deployments, flag, of_kind, pod_spec
from tests.deploy.checks.traffic import (
    DNS_CACHE_S,
    edge_proxy,
    gateway,
    network,
    nginx_conf,
    object_storage,
    services,
    tls,
)

Rule: TypeAlias = Callable[[Sequence[Object]], Iterator[str]]

_UNSET = "sha256:" + "0" * 64
_MARGIN_S = 10
_VOLUMES = ("emptyDir", "configMap", "secret", "persistentVolumeClaim")
_DEAD_GRACE_S = 10
_STARTUP_S = 300  # to load networks
_BUILD_S = 1800  # to load networks and build engines
_PYTHON_START_S = 5
_LOG_BYTES = 5 * 10 << 20  # of a container: by default, the kubelet keeps five files of 10 MiB


def restricted_pods(objects: Sequence[Object]) -> Iterator[str]:
    """Require the parts of Pod Security "restricted" and of our rules that checkov does not check."""
    for name, spec in pods.specs(objects):
        if spec.get("securityContext", {}).get("runAsNonRoot") is not True:
            yield f"{name}: runAsNonRoot"
        if spec.get("enableServiceLinks") is not False:
            yield f"{name}: service links must be disabled"
        if any(set(volume) - {"name", *_VOLUMES} for volume in spec.get("volumes", [])):
            yield f"{name}: volumes must be of the kinds {', '.join(_VOLUMES)}"
        for container in containers(spec):
            if set(container.get("securityContext", {})) & {"runAsUser", "runAsNonRoot", "seccompProfile"}:
                yield f"{name}/{container['name']}: only the pod's security context may set the user"
            if container.get("env") or container.get("envFrom"):
                yield f"{name}/{container['name']}: no environment variables; settings are flags, secrets are files"


def resources(objects: Sequence[Object]) -> Iterator[str]:
    """Require requests equal to limits, for CPU, memory and ephemeral storage, so that the pod is Guaranteed."""
    for name, spec in pods.specs(objects):
        for container in containers(spec):
            stated = container.get("resources", {})
            limits = stated.get("limits", {})
            if limits != stated.get("requests") or not {"cpu", "memory", "ephemeral-storage"} <= limits.keys():
                yield f"{name}/{container['name']}: needs equal requests and limits of cpu, memory, ephemeral-storage"


def images(objects: Sequence[Object]) -> Iterator[str]:
    """Require every image by digest."""
    for name, spec in pods.specs(objects):
        for container in containers(spec):
            if not re.fullmatch(r"[^@\s]+/[^@:\s]+@sha256:[0-9a-f]{64}", str(container.get("image"))):
                yield f"{name}/{container['name']}: needs an image by registry and digest, not {container.get('image')}"


def images_are_set(objects: Sequence[Object]) -> Iterator[str]:
    """Reject placeholders. For releases only: the checkout does not know your registry."""
    for name, spec in pods.specs(objects):
        for container in containers(spec):
            if str(container.get("image")).endswith(_UNSET):
                yield f"{name}/{container['name']}: the digest is a placeholder; set it with `kustomize edit set image`"


def drain(objects: Sequence[Object]) -> Iterator[str]:
    """Require a grace period of preStop + exit timeout + 10 s, a preStop beyond the DNS cache, no lost capacity."""
    for deployment in deployments(objects):
        name, spec = pods.name(deployment), pod_spec(deployment)
        main = spec["containers"][0]
        stop = re.search(r"sleep\D{1,3}(\d+)", " ".join(pods.command(main, "lifecycle", "preStop")))
        exit_s = _exit_timeout_s(main, objects)
        if stop is None or exit_s is None:
            yield f"{name}: needs a preStop that sleeps, and an exit timeout"
            continue
        if int(spec.get("terminationGracePeriodSeconds", 30)) < int(stop[1]) + exit_s + _MARGIN_S:
            yield f"{name}: terminationGracePeriodSeconds is below {stop[1]} + {exit_s} + {_MARGIN_S} s"
        if int(stop[1]) < 2 * DNS_CACHE_S:
            yield f"{name}: preStop of {stop[1]} s; resolvers and the proxy cache a pod for {2 * DNS_CACHE_S} s"
        strategy = deployment["spec"].get("strategy", {})
        if strategy.get("type") != "RollingUpdate" or strategy["rollingUpdate"].get("maxUnavailable") != 0:
            yield f"{name}: a rollout must not remove capacity (maxUnavailable 0)"


def _exit_timeout_s(container: Object, objects: Sequence[Object]) -> int | None:
    stated = flag(container, "--exit-timeout-secs")
    if stated is None and container["name"] == "nginx":
        match = re.search(r"worker_shutdown_timeout (\d+)s;", nginx_conf(objects))
        return int(match[1]) if match else None
    stated = stated or flag(container, "--exit-timeout")
    return int(stated) if stated else None


def connection_age(objects: Sequence[Object]) -> Iterator[str]:
    """Require that connections end, so that clients find new pods, and that their calls may finish."""
    for container in pods.servers(objects):
        age, grace = (flag(container, f"--grpc-max-connection-age{suffix}") for suffix in ("", "-grace"))
        exit_s = int(flag(container, "--exit-timeout-secs") or 0)
        if not age or not grace or int(grace) < exit_s * 1000:
            yield "triton: needs --grpc-max-connection-age, with a grace of at least the exit timeout"


def probes(objects: Sequence[Object]) -> Iterator[str]:
    """Require all three probes, liveness of the server by inference, and TLS in the probes of a server with TLS."""
    for deployment in deployments(objects):
        name, spec = pods.name(deployment), pod_spec(deployment)
        if int(deployment["spec"].get("progressDeadlineSeconds", 600)) <= max(map(_patience_s, spec["containers"])):
            yield f"{name}: progressDeadlineSeconds ends before a pod must be ready"
        for container in spec["containers"]:
            missing = {"startupProbe", "readinessProbe", "livenessProbe"} - container.keys()
            if missing:
                yield f"{name}/{container['name']}: lacks {', '.join(sorted(missing))}"
    for container in pods.servers(objects):
        liveness = container.get("livenessProbe", {})
        yield from check_command(liveness)
        if int(liveness.get("failureThreshold", 3)) < 3:
            yield "triton: must restart only after three failures"
        if int(liveness.get("terminationGracePeriodSeconds", 75)) > _DEAD_GRACE_S:
            yield f"triton: a dead server must end within {_DEAD_GRACE_S} s, without a drain"
        if _patience_s(container) < _STARTUP_S:
            yield f"triton: needs {_STARTUP_S} s to start"
        if pods.profile(container) == "tensorrt" and _patience_s(container) < _BUILD_S:
            yield f"triton: needs {_BUILD_S} s to start and build engines; name the component tensorrt after tls"
        if flag(container, "--grpc-use-ssl") == "true":
            for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
                if "grpc" in container.get(kind, {}) or "--tls-ca=/tls/ca.crt" not in pods.command(container, kind):
                    yield f"triton: {kind} does not use TLS"


def _patience_s(container: Object) -> int:
    """Return the seconds that a container may take to start."""
    startup = container.get("startupProbe", {})
    return int(startup.get("periodSeconds", 10)) * int(startup.get("failureThreshold", 3))


def check_command(probe: Object) -> Iterator[str]:
    """Require a liveness probe by inference, for which a busy server is alive, with a sufficient timeout."""
    command = pods.command({"probe": probe}, "probe")
    if command[:2] != ["cigpose-client", "check"]:
        yield "triton: the liveness probe must be an inference: a server with a dead step still reports ready"
    if "--alive" not in command:
        yield "triton: the liveness probe needs --alive: otherwise overload causes restarts"
    waits_s = [float(argument.removeprefix("--timeout=")) for argument in command if argument.startswith("--timeout=")]
    if not waits_s or int(probe.get("timeoutSeconds", 1)) < 2 * waits_s[0] + _PYTHON_START_S:
        yield f"triton: the liveness probe needs time for two inferences, and {_PYTHON_START_S} s for Python to start"


def volumes(objects: Sequence[Object]) -> Iterator[str]:
    """Require read-only models, a limit for every emptyDir, /dev/shm in at most half of the memory, a writable /tmp."""
    for name, spec in pods.specs(objects):
        for volume in spec.get("volumes", []):
            if "emptyDir" in volume and "sizeLimit" not in (volume["emptyDir"] or {}):
                yield f"{name}: emptyDir {volume['name']} needs a sizeLimit"
        by_name = {volume["name"]: volume for volume in spec.get("volumes", [])}
        for container in [item for item in spec["containers"] if item["name"] == "triton"]:
            mounts = {mount["mountPath"]: mount for mount in container.get("volumeMounts", [])}
            if mounts.get("/models", {}).get("readOnly") is not True:
                yield f"{name}: /models must be mounted read-only"
            if not {"/dev/shm", "/tmp"} <= mounts.keys():
                yield f"{name}: /dev/shm and /tmp must be volumes"
                continue
            shm = by_name.get(mounts["/dev/shm"]["name"], {}).get("emptyDir") or {}
            if shm.get("medium") != "Memory":
                yield f"{name}: /dev/shm must be in memory"
            memory = pods.bytes_of(container.get("resources", {}).get("limits", {}).get("memory", "0"))
            if 2 * pods.bytes_of(shm.get("sizeLimit", "0")) > memory:
                yield f"{name}: /dev/shm takes more than half of the memory limit"
            writable = {"/dev/shm", "/tmp", *([pods.ENGINES] if pods.profile(container) == "tensorrt" else [])}
            if {path for path, mount in mounts.items() if not mount.get("readOnly")} != writable:
                yield f"{name}: only {', '.join(sorted(writable))} may be writable"


def storage(objects: Sequence[Object]) -> Iterator[str]:
    """Require an ephemeral-storage limit that covers everything on the node's disk: the kubelet evicts a pod above it.

    Source: kubelet, eviction_manager.go, podEphemeralStorageLimitEviction: volumes, logs and writable layers together.
    """
    for name, spec in pods.specs(objects):
        volumes = [volume["emptyDir"] for volume in spec.get("volumes", []) if volume.get("emptyDir")]
        sizes = [volume.get("sizeLimit", "0") for volume in volumes if volume.get("medium") != "Memory"]
        needed = sum(map(pods.bytes_of, sizes)) + _LOG_BYTES * len(spec["containers"])
        limits = [
            box.get("resources", {}).get("limits", {}).get("ephemeral-storage", "0") for box in spec["containers"]
        ]
        if sum(map(pods.bytes_of, limits)) < needed:
            yield f"{name}: ephemeral-storage is below the {needed >> 20} MiB of its volumes and logs"


def server_flags(objects: Sequence[Object]) -> Iterator[str]:
    """Require the flags that close unused features."""
    wanted = {
        "--model-repository": "/models",
        "--model-control-mode": "none",
        "--exit-on-error": "true",
        "--strict-readiness": "true",
        "--allow-http": "false",
    }
    for container in pods.servers(objects):
        for name, value in wanted.items():
            if flag(container, name) != value:
                yield f"triton: needs {name}={value}"
        args = container.get("args", [])
        if "--disable-auto-complete-config" not in args:
            yield "triton: needs --disable-auto-complete-config"
        for name in (
            "--load-model",
            "--allow-sagemaker",
            "--allow-vertex-ai",
            "--cache-config",
            "--repository-poll-secs",
        ):
            if flag(container, name) is not None:
                yield f"triton: {name} must not be given"
        if pods.profile(container) in pods.GPU_PROFILES and flag(container, "--allow-client-shm") != "false":
            yield "triton: needs --allow-client-shm=false on the GPU image"
        if container.get("command"):
            yield "triton: command must not replace the entry point, which verifies the models and locks the API"


def availability(objects: Sequence[Object]) -> Iterator[str]:
    """Require two or more pods on different nodes, and a PodDisruptionBudget that cannot block a node's drain."""
    budgets = of_kind(objects, "PodDisruptionBudget")
    scaled = {
        item["spec"]["scaleTargetRef"]["name"] for item in of_kind(objects, "ScaledObject", "HorizontalPodAutoscaler")
    }
    for item in of_kind(objects, "HorizontalPodAutoscaler"):
        if int(item["spec"].get("minReplicas", 1)) < 2:
            yield f"{pods.name(item)}: needs two replicas"
    for deployment in deployments(objects):
        name, spec = deployment["metadata"]["name"], deployment["spec"]
        if name in scaled and "replicas" in spec:
            yield f"{name}: must not state replicas, because the autoscaler sets them"
        if name not in scaled and int(spec.get("replicas", 1)) < 2:
            yield f"{name}: needs two replicas"
        if not spec["template"]["spec"].get("topologySpreadConstraints"):
            yield f"{name}: needs topologySpreadConstraints"
        labels = spec["template"]["metadata"]["labels"]
        own = [item["spec"] for item in budgets if pods.matches(item["spec"]["selector"]["matchLabels"], labels)]
        if [budget.get("maxUnavailable") for budget in own] != [1]:
            yield f"{name}: needs one PodDisruptionBudget with maxUnavailable 1"
        if any(budget.get("unhealthyPodEvictionPolicy") != "AlwaysAllow" for budget in own):
            yield f"{name}: unhealthyPodEvictionPolicy must be AlwaysAllow"


def namespaces(objects: Sequence[Object]) -> Iterator[str]:
    """Require one namespace for everything, with Pod Security "restricted"."""
    (namespace, *others) = of_kind(objects, "Namespace") or [{"metadata": {"name": "", "labels": {}}}]
    if others or namespace["metadata"].get("labels", {}).get("pod-security.kubernetes.io/enforce") != "restricted":
        yield "needs one Namespace that enforces Pod Security restricted"
    for item in objects:
        if item["kind"] != "Namespace" and item["metadata"].get("namespace") != namespace["metadata"]["name"]:
            yield f"{pods.name(item)}: outside the namespace {namespace['metadata']['name']}"


RULES: tuple[Rule, ...] = (
    restricted_pods,
    resources,
    images,
    drain,
    connection_age,
    probes,
    volumes,
    storage,
    server_flags,
    services,
    network,
    object_storage,
    availability,
    namespaces,
    edge_proxy,
    gateway,
    tls,
)


def problems(objects: Sequence[Object], rules: Sequence[Rule] = RULES) -> list[str]:
    """Return the violations of all rules."""
    return [found for rule in rules for found in rule(objects)]
