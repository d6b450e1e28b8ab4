"""Renders overlays, with additional components, to lists of objects by kustomize."""

import os
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import yaml  # type: ignore[import-not-found,import-untyped,unused-ignore]

from tests.deploy import tools
from tests.deploy.manifests import DEPLOY

Object: TypeAlias = dict[str, Any]

# name -> (overlay, additional components)
VARIANTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "cpu": ("cpu", ()),
    "gpu": ("gpu", ()),
    "gpu-keda": ("gpu-keda", ()),
    "cpu+monitoring": ("cpu", ("monitoring",)),
    "cpu+tls": ("cpu", ("tls",)),
    "cpu+tracing": ("cpu", ("tracing",)),
    "cpu+edge-proxy": ("cpu", ("edge-proxy",)),
    "cpu+object-storage": ("cpu", ("object-storage",)),
    "gpu+tls+tracing": ("gpu", ("tls", "tracing")),
    "gpu+tensorrt": ("gpu", ("tensorrt",)),
    "gpu-keda+tracing": ("gpu-keda", ("tracing",)),
    "gpu-keda+tls": ("gpu-keda", ("tls", "edge-proxy-tls")),
    "gpu-keda+object-storage": ("gpu-keda", ("object-storage",)),
    "gpu-keda+tls+tensorrt": ("gpu-keda", ("tls", "edge-proxy-tls", "tensorrt")),
    "cpu+gateway": ("cpu", ("gateway",)),
    "gpu+gateway": ("gpu", ("gateway", "gateway-monitoring")),
    "cpu+gateway+tls": ("cpu", ("gateway", "tls", "gateway-tls")),
    "cpu+edge-proxy+tls": ("cpu", ("edge-proxy", "tls", "edge-proxy-tls")),
}


def render(variant: str) -> list[Object]:
    """Return the objects of a variant, in kustomize's order.

    Raises:
        ValueError: kustomize failed; the text is its message.
    """
    overlay, components = VARIANTS[variant]
    folder = DEPLOY / "overlays" / overlay
    return render_text(_with(folder, components)) if components else render_folder(folder)


def render_folder(folder: Path) -> list[Object]:
    """Return the objects of the overlay in any folder.

    Raises:
        ValueError: kustomize failed; the text is its message.
    """
    return [*yaml.safe_load_all(_kustomize(folder))]


def render_text(kustomization: Callable[[Path], Object]) -> list[Object]:
    """Return the objects of a kustomization, a function of its folder: kustomize accepts relative paths only.

    Raises:
        ValueError: kustomize failed; the text is its message.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization(folder)), encoding="utf-8")
        return render_folder(folder)


def _with(overlay: Path, components: Sequence[str]) -> Callable[[Path], Object]:
    """Return the kustomization of an overlay with additional components, as a function of its folder."""
    return lambda folder: {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": "cigpose",
        "resources": [os.path.relpath(overlay, folder)],
        "components": [os.path.relpath(DEPLOY / "components" / name, folder) for name in components],
    }


def _kustomize(folder: Path) -> str:
    kubectl = tools.find("kubectl")
    command = [kubectl, "kustomize"] if kubectl else [tools.need("kustomize"), "build"]
    done = subprocess.run([*command, str(folder)], capture_output=True, text=True)
    if done.returncode:
        raise ValueError(f"{folder}: {done.stderr.strip()}")
    return done.stdout
