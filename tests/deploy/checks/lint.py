"""yamllint, hadolint, checkov, and nginx on its own configuration."""

import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import yaml  # type: ignore[import-not-found,import-untyped,unused-ignore]

from tests.deploy import tools
from tests.deploy.checks.pods import Object
from tests.deploy.manifests import DEPLOY, local_nginx

_YAML = "{extends: default, rules: {line-length: {max: 140}, document-start: disable, braces: {max-spaces-inside: 0}}}"


def problems() -> list[str]:
    """Return the messages of the linters."""
    files = sorted(str(path) for path in DEPLOY.rglob("*.yaml"))
    dockerfiles = sorted(
        str(path) for path in (DEPLOY / "docker").glob("Dockerfile*") if path.suffix != ".dockerignore"
    )
    return [
        *_run([tools.need("yamllint"), "--strict", "-d", _YAML, *files]),
        *_run([tools.need("hadolint"), *dockerfiles]),
        *_nginx(),
    ]


def checkov(objects: Sequence[Object]) -> list[str]:
    """Return checkov's messages about the objects; no check is disabled."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "objects.yaml"
        path.write_text(yaml.safe_dump_all(objects), encoding="utf-8")
        flags = ["--framework", "kubernetes", "--skip-download", "--compact", "--quiet"]
        return _run([str(tools.CHECKOV), *flags, "--file", str(path)])


def _nginx() -> list[str]:
    """Check nginx's files with nginx, with folder and DNS server of this machine."""
    with tempfile.TemporaryDirectory() as folder:
        conf = local_nginx(Path(folder), resolver="127.0.0.1", listen="127.0.0.1:8080", port=8001)
        return _run([tools.need("nginx"), "-t", "-q", "-e", "/dev/stderr", "-c", str(conf)])


def _run(command: list[str]) -> list[str]:
    done = subprocess.run(command, capture_output=True, text=True)
    output = (done.stdout + done.stderr).strip()
    return [] if done.returncode == 0 else [f"{Path(command[0]).name}: {line}" for line in output.splitlines()]
