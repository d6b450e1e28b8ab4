"""Manifests with one deliberate mistake each, which the checks must reject."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any, TypeAlias

from tests.deploy.checks.pods import Object, named, pod_spec

Mutation: TypeAlias = Callable[[list[Object]], object]


def _triton(objects: Sequence[Object]) -> Any:
    return _pod(objects)["containers"][0]


def _pod(objects: Sequence[Object]) -> Any:
    return pod_spec(_one(objects, "Deployment", "cigpose"))


def _one(objects: Sequence[Object], kind: str, name: str = "cigpose") -> Any:
    (item,) = named(objects, kind, name)
    return item


def _gateway(objects: Sequence[Object]) -> Any:
    return pod_spec(_one(objects, "Deployment", "cigpose-gateway"))["containers"][0]


def _replace_flag(objects: Sequence[Object], name: str, *values: str) -> None:
    args = _triton(objects)["args"]
    args[:] = [arg for arg in args if arg.partition("=")[0] != name] + [f"{name}={value}" for value in values]


def _volume(objects: Sequence[Object], name: str) -> Any:
    return next(volume for volume in _pod(objects)["volumes"] if volume["name"] == name)


def _mount(objects: Sequence[Object], path: str) -> Any:
    return next(mount for mount in _triton(objects)["volumeMounts"] if mount["mountPath"] == path)


def _edit_nginx(objects: list[Object], old: str, new: str) -> None:
    for item in objects:
        if item["kind"] == "ConfigMap" and "nginx.conf" in item["data"]:
            assert any(old in text for text in item["data"].values()), old
            item["data"] = {name: text.replace(old, new) for name, text in item["data"].items()}


def _drop(objects: list[Object], kind: str, name: str = "cigpose") -> None:
    objects.remove(_one(objects, kind, name))


def _trigger(objects: Sequence[Object], number: int = 0) -> Any:
    return _one(objects, "ScaledObject")["spec"]["triggers"][number]


def _alert(objects: Sequence[Object]) -> Any:
    groups = _one(objects, "PrometheusRule")["spec"]["groups"]
    return next(rule for group in groups for rule in group["rules"] if "alert" in rule)


_MUTATIONS: dict[str, Mutation] = {  # of the variant gpu-keda
    "a misspelt field": lambda o: _pod(o).update(terminationGracePeriodSecond=75),
    "a misspelt field of a probe": lambda o: _triton(o)["livenessProbe"].update(timeoutSecs=10),
    "a number in quotes": lambda o: _one(o, "Deployment")["spec"].update(minReadySeconds="10"),
    "a kind of a removed version": lambda o: _one(o, "PodDisruptionBudget").update(apiVersion="policy/v1beta1"),
    "an unknown custom resource": lambda o: _one(o, "ScaledObject").update(kind="ScaledObjekt"),
    "an unknown field of a ScaledObject": lambda o: _one(o, "ScaledObject")["spec"].update(minReplicas=2),
    "a ScaledObject without triggers": lambda o: _one(o, "ScaledObject")["spec"].pop("triggers") and None,
    "an unknown field of a PodMonitor": lambda o: _one(o, "PodMonitor")["spec"].update(endpoints=[]),
    "a rule without an expression": lambda o: _alert(o).pop("expr"),
    "root": lambda o: _pod(o)["securityContext"].update(runAsNonRoot=False),
    "service links": lambda o: _pod(o).pop("enableServiceLinks"),
    "a folder of the host": lambda o: _pod(o)["volumes"].append({"name": "h", "hostPath": {"path": "/"}}),
    "a secret in the environment": lambda o: _triton(o).update(env=[{"name": "KEY", "value": "secret"}]),
    "no memory limit": lambda o: _triton(o)["resources"]["limits"].pop("memory"),
    "a request below the limit": lambda o: _triton(o)["resources"]["requests"].update(memory="1Gi"),
    "no resources": lambda o: _pod(o)["initContainers"][0].pop("resources"),
    "an image by tag": lambda o: _triton(o).update(image="registry.example.com/cigpose-triton:latest"),
    "an image without a registry": lambda o: _pod(o)["initContainers"][0].update(image="cigpose-models"),
    "a grace period that is too short": lambda o: _pod(o).update(terminationGracePeriodSeconds=60),
    "no preStop": lambda o: _triton(o).pop("lifecycle"),
    "a preStop shorter than the DNS cache": lambda o: _triton(o)["lifecycle"]["preStop"]["exec"].update(
        command=["/bin/sleep", "2"]
    ),
    "no exit timeout": lambda o: _replace_flag(o, "--exit-timeout-secs"),
    "an exit timeout beyond the grace period": lambda o: _replace_flag(o, "--exit-timeout-secs", "120"),
    "a rollout that takes pods away": lambda o: _one(o, "Deployment")["spec"]["strategy"]["rollingUpdate"].update(
        maxUnavailable=1
    ),
    "connections that never end": lambda o: _replace_flag(o, "--grpc-max-connection-age"),
    "no startup probe": lambda o: _triton(o).pop("startupProbe"),
    "a rollout given up before its pods are ready": lambda o: _one(o, "Deployment")["spec"].update(
        progressDeadlineSeconds=200
    ),
    "a startup of half a minute": lambda o: _triton(o)["startupProbe"].update(failureThreshold=6),
    "no readiness probe": lambda o: _triton(o).pop("readinessProbe"),
    "liveness without an inference": lambda o: _triton(o).update(livenessProbe={"grpc": {"port": 8001}}),
    "a restart after one late answer": lambda o: _triton(o)["livenessProbe"].update(failureThreshold=1),
    "a dead server that is drained": lambda o: _triton(o)["livenessProbe"].pop("terminationGracePeriodSeconds"),
    "a check without time": lambda o: _triton(o)["livenessProbe"].update(timeoutSeconds=1),
    "a check without a timeout": lambda o: _triton(o)["livenessProbe"]["exec"]["command"].remove("--timeout=4"),
    "a restart because of overload": lambda o: _triton(o)["livenessProbe"]["exec"]["command"].remove("--alive"),
    "models that can be written": lambda o: _mount(o, "/models").update(readOnly=False),
    "no /dev/shm": lambda o: _triton(o)["volumeMounts"].remove(_mount(o, "/dev/shm")),
    "/dev/shm on disk": lambda o: _volume(o, "shm")["emptyDir"].pop("medium"),
    "/dev/shm as large as the memory": lambda o: _volume(o, "shm")["emptyDir"].update(sizeLimit="12Gi"),
    "a volume without a limit": lambda o: _volume(o, "tmp").update(emptyDir={}),
    "volumes that an eviction ends": lambda o: _volume(o, "models").update(emptyDir={"sizeLimit": "4Gi"}),
    "no writable /tmp": lambda o: _triton(o)["volumeMounts"].remove(_mount(o, "/tmp")),
    "models that callers may load": lambda o: _replace_flag(o, "--model-control-mode", "explicit"),
    "a repository that is polled": lambda o: _replace_flag(o, "--model-control-mode", "poll"),
    "HTTP": lambda o: _replace_flag(o, "--allow-http", "true"),
    "clients' shared memory": lambda o: _replace_flag(o, "--allow-client-shm", "true"),
    "a response cache": lambda o: _replace_flag(o, "--cache-config", "local,size=1048576"),
    "a flag that does not exist": lambda o: _replace_flag(o, "--allow-everything", "true"),
    "another entry point": lambda o: _triton(o).update(command=["tritonserver"]),
    "a Service that selects nothing": lambda o: _one(o, "Service")["spec"].update(selector={"app": "cigpose"}),
    "a Service with a wrong port": lambda o: _one(o, "Service")["spec"]["ports"][0].update(targetPort="http"),
    "no headless Service": lambda o: _drop(o, "Service", "cigpose-pods"),
    "a PodMonitor with a wrong port": lambda o: _one(o, "PodMonitor")["spec"]["podMetricsEndpoints"][0].update(
        port="m"
    ),
    "no NetworkPolicy": lambda o: _drop(o, "NetworkPolicy"),
    "egress unrestricted": lambda o: _one(o, "NetworkPolicy")["spec"].update(policyTypes=["Ingress"]),
    "ingress from everywhere": lambda o: _one(o, "NetworkPolicy")["spec"].update(ingress=[{}]),
    "no PodDisruptionBudget": lambda o: _drop(o, "PodDisruptionBudget"),
    "a budget that blocks every drain": lambda o: _one(o, "PodDisruptionBudget")["spec"].update(maxUnavailable=0),
    "all pods on one node": lambda o: _pod(o).pop("topologySpreadConstraints"),
    "a single proxy": lambda o: _one(o, "Deployment", "cigpose-edge")["spec"].update(replicas=1),
    "replicas beside the autoscaler": lambda o: _one(o, "Deployment")["spec"].update(replicas=2),
    "another namespace": lambda o: _one(o, "Service")["metadata"].update(namespace="default"),
    "a namespace without Pod Security": lambda o: _one(o, "Namespace")["metadata"].pop("labels"),
    "scaling to zero": lambda o: _one(o, "ScaledObject")["spec"].update(minReplicaCount=0),
    "no fallback": lambda o: _one(o, "ScaledObject")["spec"].pop("fallback"),
    "missing data counted as zero": lambda o: _trigger(o)["metadata"].update(ignoreNullValues="true"),
    "a signal that is not recorded": lambda o: _trigger(o)["metadata"].update(query="cigpose:queue_ms:maxx_times_pods"),
    "a signal that is not multiplied": lambda o: _trigger(o)["metadata"].update(query="cigpose:queue_ms:max2m"),
    "a threshold that is not derived": lambda o: _trigger(o)["metadata"].update(threshold="1234"),
    "a metric without fallback": lambda o: _trigger(o, 1).update(metricType="Value"),
    "an alert without a runbook": lambda o: _alert(o)["annotations"].update(runbook="docs/runbook.md#nothing"),
    "an alert without severity": lambda o: _alert(o).pop("labels"),
    "a proxy that opens the repository": lambda o: _edit_nginx(
        o, "GRPCInferenceService/ModelReady ", "GRPCInferenceService/RepositoryModelLoad "
    ),
    "a proxy that opens everything": lambda o: _edit_nginx(o, "return 204;\n", "grpc_pass grpc://$pods:8001;\n"),
    "a proxy that caches pods too long": lambda o: _edit_nginx(o, "valid=5s", "valid=300s"),
    "a proxy for another namespace": lambda o: _edit_nginx(o, "cigpose-pods.cigpose.", "cigpose-pods.default."),
    "a proxy without a size limit": lambda o: _edit_nginx(o, "client_max_body_size 34m;", ""),
    "a proxy that outlives its grace": lambda o: _edit_nginx(o, "timeout 60s;  #", "timeout 90s;  #"),
    "callers that request traces": lambda o: _edit_nginx(o, 'grpc_set_header traceparent "";', ""),
}

_TRACING_MUTATIONS: dict[str, Mutation] = {  # of the variant gpu+tls+tracing
    "traces that the NetworkPolicy blocks": lambda o: _one(o, "NetworkPolicy")["spec"].update(egress=[]),
    "a probe without TLS": lambda o: _triton(o).update(readinessProbe={"grpc": {"port": 8001}}),
    "TLS for the server alone": lambda o: _replace_flag(o, "--grpc-use-ssl-mutual", "false"),
    "a key that is not mounted": lambda o: _replace_flag(o, "--grpc-server-key", "/keys/tls.key"),
}

_TENSORRT_MUTATIONS: dict[str, Mutation] = {  # of the variant gpu+tensorrt
    "engines without a volume": lambda o: _triton(o)["volumeMounts"].remove(_mount(o, "/var/cache/tensorrt")),
    "engines that cannot be written": lambda o: _mount(o, "/var/cache/tensorrt").update(readOnly=True),
    "engines without a limit": lambda o: _volume(o, "engines").update(emptyDir={}),
    "engines that evict the pod": lambda o: _volume(o, "engines")["emptyDir"].update(sizeLimit="4Gi"),
    "five minutes to build engines": lambda o: _triton(o)["startupProbe"].update(failureThreshold=30),
    "a rollout given up while engines are built": lambda o: _one(o, "Deployment")["spec"].update(
        progressDeadlineSeconds=900
    ),
    "engines for a profile that has none": lambda o: _replace_flag(o, "--model-config-name", "gpu"),
    "clients' shared memory": lambda o: _replace_flag(o, "--allow-client-shm", "true"),
}

_EDGE_TLS_MUTATIONS: dict[str, Mutation] = {  # of the variant gpu-keda+tls
    "a proxy that speaks plain text to TLS": lambda o: _edit_nginx(o, "grpcs://", "grpc://"),
    "servers that speak plain text to TLS": lambda o: _replace_flag(o, "--grpc-use-ssl", "false"),
    "a proxy that trusts every server": lambda o: _edit_nginx(o, "grpc_ssl_verify on;", ""),
    "a proxy that trusts every caller": lambda o: _edit_nginx(o, "ssl_verify_client on;", ""),
    "a proxy that expects another name": lambda o: _edit_nginx(o, "grpc_ssl_name cigpose-pods", "grpc_ssl_name pods"),
    "a proxy without certificates": lambda o: pod_spec(_one(o, "Deployment", "cigpose-edge"))["containers"][0][
        "volumeMounts"
    ].pop(),
}

_STORAGE_MUTATIONS: dict[str, Mutation] = {  # of the variant cpu+object-storage
    "a storage that the NetworkPolicy blocks": lambda o: _one(o, "NetworkPolicy")["spec"].update(egress=[]),
    "keys in the environment": lambda o: _pod(o)["initContainers"][0].update(
        env=[{"name": "AWS_SECRET_ACCESS_KEY", "value": "secret"}]
    ),
    "no keys": lambda o: _pod(o)["initContainers"][0]["volumeMounts"].pop(),
    "a copy by tag": lambda o: _pod(o)["initContainers"][0].update(image="registry.example.com/aws-cli:2"),
}

_GATEWAY_MUTATIONS: dict[str, Mutation] = {  # of the variant cpu+gateway+tls
    "a gateway without a token": lambda o: _gateway(o)["args"].remove("--token-file=/token/token"),
    "a gateway that reaches one pod": lambda o: _gateway(o)["args"].append("--url=cigpose:8001"),
    "a gateway that speaks plain text to TLS": lambda o: _gateway(o)["args"].remove("--tls-ca=/tls/ca.crt"),
    "a gateway that speaks plain text to callers": lambda o: _gateway(o)["args"].remove("--cert=/tls/tls.crt"),
    "a gateway without certificates": lambda o: _gateway(o)["volumeMounts"].pop(),
    "a gateway without a NetworkPolicy": lambda o: _drop(o, "NetworkPolicy", "cigpose-gateway"),
    "a single gateway": lambda o: _one(o, "HorizontalPodAutoscaler", "cigpose-gateway")["spec"].update(minReplicas=1),
    "a gateway without an autoscaler": lambda o: _drop(o, "HorizontalPodAutoscaler", "cigpose-gateway"),
    "a gateway that cuts requests off": lambda o: _gateway(o)["args"].append("--exit-timeout=60"),
    "a gateway that the load kills": lambda o: _gateway(o).pop("resources"),
}

MUTANTS: dict[str, dict[str, Mutation]] = {
    "gpu-keda": _MUTATIONS,
    "gpu+tls+tracing": _TRACING_MUTATIONS,
    "gpu+tensorrt": _TENSORRT_MUTATIONS,
    "gpu-keda+tls": _EDGE_TLS_MUTATIONS,
    "cpu+object-storage": _STORAGE_MUTATIONS,
    "cpu+gateway+tls": _GATEWAY_MUTATIONS,
}


def mutant(objects: Sequence[Object], mutation: Mutation) -> list[Object]:
    """Return a copy of the objects with one mistake.

    Raises:
        ValueError: the mutation changes nothing.
    """
    changed = deepcopy(list(objects))
    mutation(changed)
    if changed == list(objects):
        raise ValueError("a mutation that changes nothing proves nothing")
    return changed
