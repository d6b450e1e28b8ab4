"""Checks the manifests with the schemas of several Kubernetes releases and of the custom resources."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

import kubernetes_validate  # type: ignore[import-not-found,import-untyped,unused-ignore]

from tests.deploy import tools
from tests.deploy.checks.render import Object

RELEASES = ("1.29", "1.32", "1.35", "1.37")
_CRDS = Path(__file__).with_name("crds.mjs")


def problems(objects: Sequence[Object], releases: Sequence[str] = RELEASES) -> list[str]:
    """Return the violations of the schemas. A kind without a schema is a violation."""
    own = [item for item in objects if not _is_custom(item)]
    return [found for release in releases for item in own for found in _builtin(item, release)] + _custom(
        [item for item in objects if _is_custom(item)]
    )


def _is_custom(item: Object) -> bool:
    """Return whether an object is a custom resource: Kubernetes' own groups have no dot, or end with k8s.io."""
    group = str(item["apiVersion"]).rpartition("/")[0]
    return "." in group and not group.endswith(".k8s.io")


def _builtin(item: Object, release: str) -> list[str]:
    name = f"{item['kind']}/{item['metadata']['name']}"
    try:
        kubernetes_validate.validate(item, release, strict=True)
    except kubernetes_validate.ValidationError as error:
        where = ".".join(str(part) for part in error.path)
        return [f"{name} at {where} (Kubernetes {release}): {error.message[:200]}"]
    except kubernetes_validate.SchemaNotFoundError:
        return [f"{name}: Kubernetes {release} has no {item['apiVersion']} {item['kind']}"]
    return []


def _custom(objects: Sequence[Object]) -> list[str]:
    command = [tools.need("node"), str(_CRDS), str(tools.NODE_MODULES)]
    done = subprocess.run(command, input=json.dumps(objects), capture_output=True, text=True)
    if done.returncode:
        raise ValueError(f"crds.mjs failed: {done.stderr.strip()[-500:]}")
    return done.stdout.splitlines()
