"""Checks of kserve.yaml. KServe's kinds have no schema here, but the Deployment that KServe makes of them has."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import yaml  # type: ignore[import-not-found,import-untyped,unused-ignore]

from tests.deploy.checks import policies, schemas
from tests.deploy.checks.flags import flags
from tests.deploy.checks.pods import Object
from tests.deploy.manifests import DEPLOY

_RULES = (policies.images, policies.resources, policies.storage, policies.drain)
_MUTATIONS: dict[str, Callable[[Any], object]] = {
    "a misspelt field": lambda box: box.update(readyProbe=box.pop("readinessProbe")),
    "an image by tag": lambda box: box.update(image="registry.example.com/cigpose-triton:latest"),
    "a flag that does not exist": lambda box: box["args"].append("--allow-everything=true"),
    "no preStop": lambda box: box.pop("lifecycle"),
    "an exit timeout beyond the grace period": lambda box: box["args"].append("--exit-timeout-secs=120"),
    "liveness without --alive": lambda box: box["livenessProbe"]["exec"]["command"].remove("--alive"),
    "a volume that the disk limit does not cover": lambda box: [
        box["resources"][kind].update({"ephemeral-storage": "100Mi"}) for kind in ("requests", "limits")
    ],
    "a repository that is polled": lambda box: box["args"].append("--model-control-mode=poll"),
}


def problems(known: frozenset[str]) -> list[str]:
    """Return the problems of the Deployment; `known` are the flags of the wheel's server."""
    return _problems(_deployment(), known)


def mutant_problems(known: frozenset[str]) -> Iterator[str]:
    """Yield the mistakes that no check rejects."""
    for name, mutation in _MUTATIONS.items():
        changed = deepcopy(_deployment())
        mutation(changed["spec"]["template"]["spec"]["containers"][0])
        if not _problems(changed, known):
            yield f"{name}: not rejected"


def _problems(deployment: Object, known: frozenset[str]) -> list[str]:
    (server,) = deployment["spec"]["template"]["spec"]["containers"]
    rules = (*_RULES, lambda objects: flags(objects, known))
    found = [*schemas.problems([deployment]), *policies.problems([deployment], rules)]
    found += policies.check_command(server.get("livenessProbe", {}))
    # KServe sets the path of the models; the other flags are those of every server
    return found + [text for text in policies.server_flags([deployment]) if "--model-repository" not in text]


def _deployment() -> Object:
    """Return the Deployment that KServe makes of the ServingRuntime and the InferenceService."""
    runtime, service = yaml.safe_load_all((DEPLOY / "kserve.yaml").read_text(encoding="utf-8"))
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
