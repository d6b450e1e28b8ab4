"""Reads from the manifests, for programs on this machine: the server's flags, the proxy's files, Prometheus' rules."""

import re
import textwrap
from pathlib import Path

DEPLOY = Path(__file__).parents[2] / "deploy"
_COMPONENTS = DEPLOY / "components"
RULES = _COMPONENTS / "monitoring" / "rules.yaml"


def flags(*patches: str) -> list[str]:
    """Return the server flags of base/deployment.yaml and of patches below deploy/, without addresses and ports.

    Raises:
        ValueError: no flags were found, because the files have changed.
    """
    base = (DEPLOY / "base" / "deployment.yaml").read_text(encoding="utf-8")
    found = re.findall(r"^ +- (--\S+)", base, re.M)
    for patch in patches:
        added = re.findall(r"value: (--\S+)", (DEPLOY / patch).read_text(encoding="utf-8"))
        if not found or not added:
            raise ValueError(f"base/deployment.yaml and {patch} have {len(found)} and {len(added)} flags")
        found += added
    return [flag for flag in found if not re.match(r"--(grpc|metrics)-(address|port)=", flag)]


def rules_text() -> str:
    """Return the Prometheus rules: the content of the resource's `spec:`."""
    return textwrap.dedent(RULES.read_text(encoding="utf-8").partition("\nspec:\n")[2])


def local_nginx(folder: Path, *, resolver: str, listen: str, port: int, tls: Path | None = None) -> Path:
    """Write the edge proxy's files with other folders, ports and DNS; return the path of nginx.conf.

    Args:
        folder: folder for these files and for nginx's own.
        resolver: address of the DNS server.
        listen: address and port of the proxy.
        port: port of the servers behind it.
        tls: folder of tls.crt, tls.key and ca.crt, to be used with the files of edge-proxy-tls; None: without TLS.

    Raises:
        ValueError: the files lack a text that must be replaced.
    """
    changes = {
        "/tmp/": f"{folder}/",
        "/etc/nginx/cigpose/": f"{folder}/",
        "kube-dns.kube-system.svc.cluster.local": resolver,
        "listen 8080": f"listen {listen}",
        "://$pods:8001": f"://$pods:{port}",
    }
    texts = _read("edge-proxy")
    if tls is not None:
        changes["/tls/"] = f"{tls}/"
        texts |= _read("edge-proxy-tls")
    for there, here in changes.items():
        if not any(there in text for text in texts.values()):
            raise ValueError(f"the edge proxy's files do not mention {there!r}")
        texts = {name: text.replace(there, here) for name, text in texts.items()}
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder / "nginx.conf"


def _read(component: str) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in (_COMPONENTS / component).glob("*.conf")}
