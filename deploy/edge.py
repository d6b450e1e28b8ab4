"""The edge proxy's own files, moved to this machine: other places, ports and DNS, nothing else."""

from pathlib import Path

_SOURCE = Path(__file__).parent / "components" / "edge-proxy"


def local_nginx(folder: Path, *, resolver: str, listen: str, port: int) -> Path:
    """Write nginx.conf and what it includes into `folder`, and return the former.

    Args:
        folder: for the files and for what nginx writes.
        resolver: the DNS server in place of the cluster's.
        listen: address and port of the proxy.
        port: of the servers behind it.

    Raises:
        ValueError: a place that must be changed is not in the files any more.
    """
    changes = {
        "/tmp/": f"{folder}/",
        "/etc/nginx/cigpose/": f"{folder}/",
        "kube-dns.kube-system.svc.cluster.local": resolver,
        "listen 8080": f"listen {listen}",
        "grpc://$pods:8001": f"grpc://$pods:{port}",
    }
    texts = {name: (_SOURCE / name).read_text(encoding="utf-8") for name in ("nginx.conf", "grpc.conf")}
    for there, here in changes.items():
        if not any(there in text for text in texts.values()):
            raise ValueError(f"the edge proxy's files do not mention {there!r}")
        texts = {name: text.replace(there, here) for name, text in texts.items()}
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder / "nginx.conf"
