"""The edge proxy's own files, moved to this machine: other places, ports and DNS, nothing else."""

from pathlib import Path

_COMPONENTS = Path(__file__).parent / "components"


def local_nginx(folder: Path, *, resolver: str, listen: str, port: int, tls: Path | None = None) -> Path:
    """Write nginx.conf and what it includes into `folder`, and return the former.

    Args:
        folder: for the files and for what nginx writes.
        resolver: the DNS server in place of the cluster's.
        listen: address and port of the proxy.
        port: of the servers behind it.
        tls: where tls.crt, tls.key and ca.crt lie; takes the files of edge-proxy-tls as well.

    Raises:
        ValueError: a place that must be changed is not in the files any more.
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
