"""`python -m export verify`: compares every network in ONNX Runtime and on a server; exit code 1 when they differ."""

import argparse
import contextlib
import math
from itertools import pairwise
from typing import Any

from tritonclient.grpc import InferenceServerClient

from ensemble.networks import Network
from ensemble.triton.profiles import PROFILES
from export import graph_edit
from export.comparison import BOUNDS, PRECISIONS, Answers
from export.verify import Finding, Items, Member, ask, compare, members, named, reduced_precision, server_of
from server.usage import UsageError, input_path

_UNBOUNDED = "what OpenVINO or TensorRT serve in a reduced precision is compared for information, unless this is given"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the repository, the server to ask and the bound."""
    parser.add_argument("repository", type=input_path, help="folder that `python -m export repository` wrote")
    parser.add_argument("--checkpoint", type=input_path, help="a network's .pth file; adds a comparison with PyTorch")
    parser.add_argument("--network", action="append", help="network to verify; may be repeated (default: all)")
    parser.add_argument("--url", help="gRPC address of a running server (default: start one on a free port)")
    parser.add_argument("--tls", action="store_true", help="encrypt the connection to --url")
    parser.add_argument("--tls-ca", metavar="PEM", help="root certificates to trust (implies --tls)")
    parser.add_argument("--tls-key", metavar="PEM", help="this client's key, for mutual TLS (implies --tls)")
    parser.add_argument("--tls-cert", metavar="PEM", help="this client's certificate (implies --tls)")
    parser.add_argument(
        "--profile", choices=PROFILES, default="cpu", help="profile for a started server (default: cpu)"
    )
    parser.add_argument("--crops", type=int, default=8, help="number of crops or pictures per network (default: 8)")
    parser.add_argument("--max-difference", type=float, metavar="RMS", help=f"{BOUNDS}; {_UNBOUNDED}")


def run(arguments: argparse.Namespace) -> int:
    """Compare, print a line each, and return 1 when a bound is exceeded."""
    chosen = _chosen(arguments)
    encryption = _encryption(arguments)
    findings: list[Finding] = []
    with contextlib.ExitStack() as stack:
        url = arguments.url or stack.enter_context(server_of(arguments.repository, arguments.profile))
        client = stack.enter_context(InferenceServerClient(url, **encryption))
        for member in chosen:
            findings += _findings(member, client, arguments)
    print("\n".join(map(str, findings)))
    return 0 if all(finding.passed for finding in findings) else 1


def _chosen(arguments: argparse.Namespace) -> list[Member]:
    known = members(arguments.repository)
    unknown = [name for name in arguments.network or [] if name not in known]
    if unknown:
        raise UsageError(f"unknown network {', '.join(unknown)}; the repository has {', '.join(known)}")
    chosen = [known[name] for name in arguments.network or sorted(known)]
    if arguments.checkpoint and len(chosen) > 1:
        digest = graph_edit.sha256(arguments.checkpoint)
        chosen = [member for member in chosen if member.network.source.get("checkpoint_sha256") == digest]
        if not chosen:
            raise ValueError(f"no network names {arguments.checkpoint} as its source; choose one with --network")
    if arguments.crops < 1:
        raise UsageError(f"--crops is {arguments.crops}; it must be 1 or more")
    return chosen


def _encryption(arguments: argparse.Namespace) -> dict[str, Any]:
    names = {"root_certificates": "tls_ca", "private_key": "tls_key", "certificate_chain": "tls_cert"}
    files = {name: getattr(arguments, option) for name, option in names.items() if getattr(arguments, option)}
    if not arguments.tls and not files:
        return {}
    if not arguments.url:
        raise UsageError("--tls needs --url: the server that this command starts is not encrypted")
    for path in files.values():
        open(path, "rb").close()  # fail here: on a missing file tritonclient leaves a half-built client behind
    return {"ssl": True, **files}


def _findings(member: Member, client: InferenceServerClient, arguments: argparse.Namespace) -> list[Finding]:
    network = member.network
    items: Items = slice(None)
    samples = member.samples(arguments.crops * (2 if arguments.checkpoint else 1))
    inputs = [named(tensors, network.inputs) for tensors in samples]
    ways: dict[str, list[Answers]] = {}
    if arguments.checkpoint:
        ways["PyTorch"], items = _pytorch(arguments, network, inputs)
    ways["ONNX Runtime"] = [named(tensors, network.outputs) for tensors in samples]
    answers = [ask(client, network, sample) for sample in inputs]
    reduced, precision = reduced_precision(client, network), network.source.get("precision", "")
    ways[f"served in {reduced}" if reduced else "served"] = answers
    served = math.inf if reduced else PRECISIONS["fp32"]
    bounds = {"PyTorch": PRECISIONS.get(precision, PRECISIONS["fp32"]), "ONNX Runtime": served}
    if arguments.max_difference is not None:
        bounds = dict.fromkeys(bounds, arguments.max_difference)
    return [
        compare(member, f"{one}, {other}", bounds[one], samples, (ways[one], ways[other]), items)
        for one, other in pairwise(ways)
    ]


def _pytorch(arguments: argparse.Namespace, network: Network, inputs: list[Answers]) -> tuple[list[Answers], Items]:
    """Return PyTorch's answers, and the indices of the items on which rounding changes no decision."""
    try:  # imported here: only a checkpoint needs PyTorch
        import torch

        from export.checkpoint import exporter_of, read_checkpoint
        from export.onnx_export import answers_of
    except ModuleNotFoundError as error:
        raise ValueError(f"{error}; PyTorch reads checkpoints: pip install -r requirements/torch.txt") from error
    torch.set_num_threads(1)  # as `export onnx` does
    checkpoint = read_checkpoint(arguments.checkpoint)
    original = exporter_of(checkpoint, network.source.get("family")).original(checkpoint, network)
    names = [tensor.name for tensor in network.outputs]
    samples = [original.prepare(sample) for sample in inputs]
    answers = [answers_of(original.module, sample, names) for sample in samples]
    together = {name: torch.cat([sample[name] for sample in samples]) for name in samples[0]}
    return answers, original.clearest(together, arguments.crops)
