"""Checks of kserve.yaml: its kinds with KServe's own schemas, and the Deployment that KServe makes of them."""

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from typing import Any

import yaml  # type: ignore[import-not-found,import-untyped,unused-ignore]

from tests.deploy.checks import kserve_schemas, pods, policies, schemas
from tests.deploy.checks.flags import flags
from tests.deploy.checks.pods import Object
from tests.deploy.manifests import DEPLOY

_RULES = (policies.images, policies.resources, policies.storage, policies.drain)
_MUTATIONS: dict[str, Callable[[Any, Any, Any], object]] = {  # container, ServingRuntime, predictor
    "a misspelt field": lambda box, _, __: box.update(readyProbe=box.pop("readinessProbe")),
    "an image by tag": lambda box, _, __: box.update(image="registry.example.com/cigpose-triton:latest"),
    "a flag that does not exist": lambda box, _, __: box["args"].append("--allow-everything=true"),
    "no preStop": lambda box, _, __: box.pop("lifecycle"),
    "an exit timeout beyond the grace period": lambda box, _, __: box["args"].append("--exit-timeout-secs=120"),
    "liveness without --alive": lambda box, _, __: box["livenessProbe"]["exec"]["command"].remove("--alive"),
    "a volume that the disk limit does not cover": lambda box, _, __: [
        box["resources"][kind].update({"ephemeral-storage": "100Mi"}) for kind in ("requests", "limits")
    ],
    "a repository that is polled": lambda box, _, __: box["args"].append("--model-control-mode=poll"),
    "a port without the name of HTTP/2": lambda box, _, __: box["ports"][0].update(name="grpc"),
    "a port that the server does not open": lambda box, _, __: box["ports"][0].update(containerPort=8001),
    "a probe of another port": lambda box, _, __: box["livenessProbe"]["exec"]["command"].pop(),
    "a misspelt field of a ServingRuntime": lambda _, runtime, __: runtime["spec"].update(multimodel=False),
    "a text in place of a list": lambda _, runtime, __: runtime["spec"].update(protocolVersions="grpc-v2"),
    "a misspelt field of an InferenceService": lambda _, __, predictor: predictor.update(minReplica=2),
    "a misspelt field of a metric": lambda _, __, predictor: predictor["autoScaling"]["metrics"][0].update(extern={}),
    "a number in quotes": lambda _, __, predictor: predictor.update(maxReplicas="8"),
    "scaling to zero": lambda _, __, predictor: predictor.update(minReplicas=0),
    "a threshold that is not derived": lambda _, __, predictor: predictor["autoScaling"]["metrics"][0]["external"][
        "target"
    ].update(averageValue="99"),
}


def problems(known: frozenset[str]) -> list[str]:
    """Return the problems of the file; `known` are the flags of the wheel's server."""
    return _problems(_objects(), known)


def mutant_problems(known: frozenset[str]) -> Iterator[str]:
    """Yield the mistakes that no check rejects."""
    for name, mutation in _MUTATIONS.items():
        changed = deepcopy(_objects())
        _, runtime, service = changed
        mutation(runtime["spec"]["containers"][0], runtime, service["spec"]["predictor"])
        if changed == _objects():
            raise ValueError(f"the mutation {name!r} changes nothing")
        if not _problems(changed, known):
            yield f"{name}: not rejected"


def _objects() -> list[Object]:
    return [*yaml.safe_load_all((DEPLOY / "kserve.yaml").read_text(encoding="utf-8"))]


def _problems(objects: Sequence[Object], known: frozenset[str]) -> list[str]:
    account, runtime, service = objects
    found = [*schemas.problems([account]), *kserve_schemas.problems([runtime, service])]
    if found:
        return found
    deployment = _deployment(runtime, service)
    (server,) = deployment["spec"]["template"]["spec"]["containers"]
    rules = (*_RULES, lambda objects: flags(objects, known))
    found += [*schemas.problems([deployment]), *policies.problems([deployment], rules)]
    found += policies.check_command(server.get("livenessProbe", {}))
    found += [*_ports(server), *_scaling(service["spec"]["predictor"])]
    # KServe sets the path of the models; the other flags are those of every server
    return found + [text for text in policies.server_flags([deployment]) if "--model-repository" not in text]


def _ports(server: Object) -> Iterator[str]:
    """Require that KServe's route, the server and the probe use the same port, by KServe's name for HTTP/2."""
    port = pods.flag(server, "--grpc-port")
    first = server["ports"][0]
    if first.get("name") != "h2c" or str(first["containerPort"]) != port:
        yield f"the first port must be h2c, and that of --grpc-port={port}"
    if f"--url=localhost:{port}" not in pods.command(server, "livenessProbe"):
        yield f"the liveness probe needs --url=localhost:{port}"


def _scaling(predictor: Object) -> Iterator[str]:
    """Require two replicas or more, and the threshold of the overlay gpu-keda."""
    if predictor.get("minReplicas", 0) < 2:
        yield "minReplicas must be 2 or more: a cold start takes minutes"
    (scaled,) = yaml.safe_load_all((DEPLOY / "overlays/gpu-keda/scaledobject.yaml").read_text(encoding="utf-8"))
    threshold = scaled["spec"]["triggers"][0]["metadata"]["threshold"]
    for metric in predictor["autoScaling"]["metrics"]:
        if metric["external"]["target"].get("averageValue") != threshold:
            yield f"averageValue must be {threshold}, the threshold of overlays/gpu-keda/scaledobject.yaml"


def _deployment(runtime: Object, service: Object) -> Object:
    """Return the Deployment that KServe makes of the ServingRuntime and the InferenceService."""
    (container,) = runtime["spec"]["containers"]
    labels = {"app": service["metadata"]["name"]}
    pod = {
        "containers": [{**container, "name": "triton"}],
        "volumes": runtime["spec"]["volumes"],
        "terminationGracePeriodSeconds": service["spec"]["predictor"]["terminationGracePeriodSeconds"],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "kserve"},
        "spec": {
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0}},
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }
