"""Rules about connections: Services, NetworkPolicies, the edge proxy, TLS."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from tests.deploy.checks import pods
from tests.deploy.checks.pods import Object, deployments, flag, named, of_kind, pod_spec

DNS_CACHE_S = 5  # CoreDNS' default for the addresses of a Service
_OPEN_METHODS = ("ModelInfer", "ModelReady", "ModelMetadata", "ServerReady", "ServerLive")


def services(objects: Sequence[Object]) -> Iterator[str]:
    """Require that every Service and PodMonitor selects pods and names their ports, and a headless Service."""
    for item in of_kind(objects, "Service", "PodMonitor"):
        name, spec = pods.name(item), item["spec"]
        monitor = item["kind"] == "PodMonitor"
        selector = spec["selector"].get("matchLabels", {}) if monitor else spec.get("selector", {})
        ports = pods.selected_ports(objects, selector)
        if ports is None:
            yield f"{name}: selects no pods"
            continue
        wanted = [entry["port"] for entry in spec["podMetricsEndpoints"]] if monitor else []
        wanted += [] if monitor else [entry.get("targetPort") for entry in spec["ports"]]
        for port in wanted:
            if port not in ports:
                yield f"{name}: port {port} is not the name of a port of its pods"
    if not any(item["spec"].get("clusterIP") == "None" for item in of_kind(objects, "Service")):
        yield "a headless Service is missing, so gRPC clients cannot see the pods"


def network(objects: Sequence[Object]) -> Iterator[str]:
    """Require a NetworkPolicy for every Deployment in both directions, without a rule that allows everything."""
    for deployment in deployments(objects):
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        policies = [
            item["spec"]
            for item in of_kind(objects, "NetworkPolicy")
            if pods.matches(item["spec"]["podSelector"].get("matchLabels", {}), labels)
        ]
        if not policies or any(set(spec.get("policyTypes", [])) != {"Ingress", "Egress"} for spec in policies):
            yield f"{pods.name(deployment)}: needs a NetworkPolicy for both directions"
        for spec in policies:
            for way, key in (("ingress", "from"), ("egress", "to")):
                if any(not rule.get(key) or not rule.get("ports") for rule in spec.get(way) or []):
                    yield f"{pods.name(deployment)}: an {way} rule without peers or without ports"
    for container in pods.servers(objects):
        url = next(
            (arg for arg in container.get("args", []) if arg.startswith("--trace-config=opentelemetry,url=")), ""
        )
        port = re.search(r":(\d+)/", url.partition("url=")[2])
        if url and int(port[1] if port else 80) not in pods.egress_ports(objects, "cigpose"):
            yield "cigpose: the NetworkPolicy blocks traces"


def object_storage(objects: Sequence[Object]) -> Iterator[str]:
    """Require the keys as files, and an open port, for an init container that copies from object storage."""
    for name, spec in pods.specs(objects):
        for container in spec.get("initContainers", []):
            if container.get("command", [""])[0] != "aws":
                continue
            mounts = {mount["mountPath"]: mount for mount in container.get("volumeMounts", [])}
            if not mounts.get("/.aws", {}).get("readOnly"):
                yield f"{name}: the keys of the object storage must be mounted at /.aws, read-only"
            if 443 not in pods.egress_ports(objects, "cigpose"):
                yield f"{name}: the NetworkPolicy blocks the object storage"


def edge_proxy(objects: Sequence[Object]) -> Iterator[str]:
    """Require that the proxy finds pods, drops them in time, opens only what callers need, and limits size and rate."""
    conf = nginx_conf(objects)
    if not conf:
        return
    namespace = of_kind(objects, "Namespace")[0]["metadata"]["name"]
    if f"set $pods cigpose-pods.{namespace}.svc.cluster.local;" not in conf or not named(
        objects, "Service", "cigpose-pods"
    ):
        yield "edge proxy: must use the headless Service of this namespace"
    valid = re.search(r"^\s*resolver .* valid=(\d+)s", conf, re.M)
    if valid is None or int(valid[1]) > DNS_CACHE_S:
        yield f"edge proxy: must resolve addresses every {DNS_CACHE_S} s"
    opened = set(re.findall(r"location = (/\S+\.\S+/\S+) \{ include", conf))
    allowed = {f"/inference.GRPCInferenceService/{method}" for method in _OPEN_METHODS} | {
        "/grpc.health.v1.Health/Check"
    }
    if opened != allowed or re.search(r"location (/|~)[^{]*\{[^}]*(grpc_pass|include)", conf):
        yield f"edge proxy: must open exactly {', '.join(_OPEN_METHODS)} and the health check"
    for limit in ("client_max_body_size", "limit_req zone=", 'grpc_set_header traceparent "";'):
        if limit not in conf:
            yield f"edge proxy: lacks {limit}"
    yield from _edge_tls(objects, conf)


def _edge_tls(objects: Sequence[Object], conf: str) -> Iterator[str]:
    """Require that proxy and servers use the same protocol, and that both verify certificates."""
    servers = any(flag(container, "--grpc-use-ssl") == "true" for container in pods.servers(objects))
    proxy = "grpc_pass grpcs://" in conf
    if servers and not proxy:
        yield "edge proxy: the servers use TLS, the proxy does not; add the component edge-proxy-tls after tls"
    if proxy and not servers:
        yield "edge proxy: the proxy uses TLS, the servers do not; add the component tls, or remove edge-proxy-tls"
    if not proxy:
        return
    namespace = of_kind(objects, "Namespace")[0]["metadata"]["name"]
    for line in (
        " ssl http2;",
        "ssl_verify_client on;",
        "grpc_ssl_verify on;",
        f"grpc_ssl_name cigpose-pods.{namespace}.svc.cluster.local;",
    ):
        if line not in conf:
            yield f"edge proxy: with TLS, needs {line.strip()}"
    for deployment in named(objects, "Deployment", "cigpose-edge"):
        mounts = {mount["mountPath"]: mount for mount in pod_spec(deployment)["containers"][0].get("volumeMounts", [])}
        if not mounts.get("/tls", {}).get("readOnly"):
            yield "edge proxy: the certificates must be mounted at /tls, read-only"


def gateway(objects: Sequence[Object]) -> Iterator[str]:
    """Require that the gateway uses the headless Service, asks for a token, and speaks TLS if the servers do."""
    for deployment in named(objects, "Deployment", "cigpose-gateway"):
        container = pod_spec(deployment)["containers"][0]
        namespace = deployment["metadata"].get("namespace")
        if flag(container, "--url") != f"dns:///cigpose-pods.{namespace}.svc.cluster.local:8001":
            yield "gateway: must use the headless Service of this namespace"
        mounts: dict[str, Any] = {mount["mountPath"]: mount for mount in container.get("volumeMounts", [])}
        files = {name: flag(container, name) for name in ("--token-file", "--cert", "--cert-key", "--tls-ca")}
        if not files["--token-file"]:
            yield "gateway: needs --token-file"
        for name, path in files.items():
            if path and not mounts.get(path.rpartition("/")[0], {}).get("readOnly"):
                yield f"gateway: the file of {name} must be mounted read-only"
        servers = any(flag(server, "--grpc-use-ssl") == "true" for server in pods.servers(objects))
        if servers != bool(files["--tls-ca"]):
            yield "gateway: only one of gateway and servers uses TLS; add gateway-tls after tls, or neither"
        if files["--tls-ca"] and not (files["--cert"] and files["--cert-key"]):
            yield "gateway: callers need TLS as well"


def nginx_conf(objects: Sequence[Object]) -> str:
    """Return the text of the ConfigMap that the proxy mounts; empty without a proxy."""
    for deployment in deployments(objects):
        mounted = [
            volume["configMap"]["name"] for volume in pod_spec(deployment).get("volumes", []) if "configMap" in volume
        ]
        for name in mounted:
            for item in named(objects, "ConfigMap", name):
                if "nginx.conf" in item.get("data", {}):
                    return "\n".join(item["data"].values())
    return ""


def tls(objects: Sequence[Object]) -> Iterator[str]:
    """Require mutual TLS, and that its files are mounted."""
    for container in pods.servers(objects):
        if flag(container, "--grpc-use-ssl") is None:
            continue
        if flag(container, "--grpc-use-ssl") != "true" or flag(container, "--grpc-use-ssl-mutual") != "true":
            yield "triton: TLS must require the client's certificate"
        mounts: dict[str, Any] = {mount["mountPath"]: mount for mount in container.get("volumeMounts", [])}
        for name in ("--grpc-server-cert", "--grpc-server-key", "--grpc-root-cert"):
            folder = (flag(container, name) or "").rpartition("/")[0]
            if not mounts.get(folder, {}).get("readOnly"):
                yield f"triton: the file of {name} must be mounted read-only"
