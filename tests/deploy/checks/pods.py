"""Access to Kubernetes objects, for the policies."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

Object: TypeAlias = dict[str, Any]

GPU_PROFILES = ("gpu", "tensorrt")  # of the GPU image; see ensemble/triton/profiles.py
ENGINES = "/var/cache/tensorrt"  # folder of the engines of the profile "tensorrt"

_UNITS = {"": 1, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "k": 10**3, "M": 10**6, "G": 10**9}


def of_kind(objects: Sequence[Object], *kinds: str) -> list[Object]:
    """Return the objects of these kinds."""
    return [item for item in objects if item["kind"] in kinds]


def named(objects: Sequence[Object], kind: str, name: str) -> list[Object]:
    """Return the objects of a kind and a name."""
    return [item for item in of_kind(objects, kind) if item["metadata"]["name"] == name]


def name(item: Object) -> str:
    """Return kind/name."""
    return f"{item['kind']}/{item['metadata']['name']}"


def deployments(objects: Sequence[Object]) -> list[Object]:
    """Return the Deployments."""
    return of_kind(objects, "Deployment")


def pod_spec(deployment: Object) -> Object:
    """Return the pod's spec of a Deployment."""
    spec: Object = deployment["spec"]["template"]["spec"]
    return spec


def specs(objects: Sequence[Object]) -> Iterator[tuple[str, Object]]:
    """Yield name and pod spec of every Deployment."""
    return ((name(item), pod_spec(item)) for item in deployments(objects))


def containers(spec: Object) -> list[Object]:
    """Return all containers of a pod, init containers included."""
    return [*spec.get("initContainers", []), *spec["containers"]]


def servers(objects: Sequence[Object]) -> list[Object]:
    """Return the containers that run tritonserver."""
    return [item for _, spec in specs(objects) for item in spec["containers"] if item["name"] == "triton"]


def flag(container: Object, wanted: str) -> str | None:
    """Return the value of `--flag=value` among the arguments; the last one counts."""
    values = [arg.partition("=")[2] for arg in container.get("args", []) if arg.partition("=")[0] == wanted]
    return values[-1] if values else None


def profile(container: Object) -> str | None:
    """Return the machine profile of a server."""
    return flag(container, "--model-config-name")


def command(container: Object, *path: str) -> list[str]:
    """Return the command of an exec handler, such as a probe's."""
    handler: Any = container
    for key in path:
        handler = handler.get(key) or {}
    return list((handler.get("exec") or {}).get("command", []))


def matches(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Return whether a selector selects these labels; an empty selector selects nothing."""
    return bool(selector) and selector.items() <= labels.items()


def selected_ports(objects: Sequence[Object], selector: Mapping[str, str]) -> set[str] | None:
    """Return the names of the ports of the selected pods; None if no pod is selected."""
    picked = [
        item for item in deployments(objects) if matches(selector, item["spec"]["template"]["metadata"]["labels"])
    ]
    if not picked:
        return None
    return {port["name"] for item in picked for box in pod_spec(item)["containers"] for port in box.get("ports", [])}


def egress_ports(objects: Sequence[Object], policy: str) -> set[int]:
    """Return the ports of the egress rules of a NetworkPolicy."""
    rules = [rule for item in named(objects, "NetworkPolicy", policy) for rule in item["spec"].get("egress") or []]
    return {port["port"] for rule in rules for port in rule.get("ports", [])}


def bytes_of(quantity: str) -> int:
    """Return a Kubernetes quantity, such as 4Gi, in bytes.

    Raises:
        ValueError: the text is not a quantity.
    """
    match = re.fullmatch(r"(\d+)([A-Za-z]*)", str(quantity))
    if match is None or match[2] not in _UNITS:
        raise ValueError(f"{quantity!r} is no quantity of bytes")
    return int(match[1]) * _UNITS[match[2]]
