"""`python -m export verify`: PyTorch, ONNX Runtime and a server on the same crops; non-zero when they differ."""

import argparse
import contextlib

from cigpose_client import Tls

from ensemble.triton.profiles import PROFILES
from export import graph_edit
from export.comparison import PRECISIONS
from export.served import Served, onnx_answers, pose_networks, server_answers
from export.verify import Finding, compare, fixed_crops, precision_bound, server_of, table
from server.usage import UsageError, input_path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("repository", type=input_path, help="folder that `python -m export repository` wrote")
    parser.add_argument("--checkpoint", type=input_path, help="the .pth file a network was exported from: adds PyTorch")
    parser.add_argument("--network", action="append", help="verify this one alone; may be repeated (default: all)")
    parser.add_argument("--url", help="gRPC address of a server that runs (default: one is started on a free port)")
    parser.add_argument("--tls", action="store_true", help="encrypted connection to --url")
    parser.add_argument("--tls-ca", metavar="PEM", help="trust these roots (implies --tls)")
    parser.add_argument("--tls-key", metavar="PEM", help="this client's key, for mutual TLS (implies --tls)")
    parser.add_argument("--tls-cert", metavar="PEM", help="this client's certificate (implies --tls)")
    parser.add_argument("--profile", choices=PROFILES, default="cpu", help="of the started server (default: cpu)")
    parser.add_argument("--crops", type=int, default=8, help="how many (default: 8)")
    parser.add_argument(
        "--max-difference",
        type=float,
        metavar="RMS",
        help="accept this rms difference, in standard deviations of the logits, instead of "
        + ", ".join(f"{bound:g} ({name})" for name, bound in PRECISIONS.items()),
    )


def run(arguments: argparse.Namespace) -> int:
    """Compare, print the table, and return 1 when a bound is exceeded."""
    networks = _chosen(arguments)
    tls = _tls(arguments)
    findings: list[Finding] = []
    with contextlib.ExitStack() as stack:
        url = arguments.url or stack.enter_context(server_of(arguments.repository, arguments.profile))
        for network in networks:
            findings += _findings(network, url, tls, arguments)
    print(table(findings))
    return 0 if all(finding.passed for finding in findings) else 1


def _chosen(arguments: argparse.Namespace) -> list[Served]:
    networks = {network.name: network for network in pose_networks(arguments.repository)}
    unknown = [name for name in arguments.network or [] if name not in networks]
    if unknown:
        raise UsageError(f"no pose network {', '.join(unknown)}; there are {', '.join(networks)}")
    chosen = [networks[name] for name in arguments.network or networks]
    if arguments.checkpoint and len(chosen) > 1:
        digest = graph_edit.sha256(arguments.checkpoint)
        chosen = [network for network in chosen if network.source.get("checkpoint_sha256") == digest]
        if not chosen:
            raise ValueError(f"no network says that it comes from {arguments.checkpoint}; say which with --network")
    if arguments.crops < 1:
        raise UsageError(f"--crops is {arguments.crops}; one at least is needed")
    return chosen


def _tls(arguments: argparse.Namespace) -> Tls | None:
    files = (arguments.tls_ca, arguments.tls_key, arguments.tls_cert)
    if not arguments.tls and not any(files):
        return None
    if not arguments.url:
        raise UsageError("the started server is not encrypted; --tls goes with --url")
    return Tls(*files)


def _findings(network: Served, url: str, tls: Tls | None, arguments: argparse.Namespace) -> list[Finding]:
    bounds = [precision_bound(network), PRECISIONS["fp32"]]  # of the export; of running the same file twice
    if arguments.max_difference is not None:
        bounds = [arguments.max_difference] * 2
    crops, findings = fixed_crops(network.input_size, 2 * arguments.crops), []
    if not arguments.checkpoint:
        crops = crops[: arguments.crops]
        in_process = onnx_answers(network)(crops)
    else:
        try:  # not above: without a checkpoint nothing needs PyTorch
            import torch

            from export.verify_pytorch import checkpoint_network, choose_crops, pytorch_answers
        except ModuleNotFoundError as error:
            raise ValueError(f"{error}; PyTorch reads checkpoints: pip install -r requirements/torch.txt") from error
        torch.set_num_threads(1)  # as `export onnx` does
        original = checkpoint_network(arguments.checkpoint, network)
        crops = choose_crops(original, crops, arguments.crops)
        in_process = onnx_answers(network)(crops)
        expected = pytorch_answers(original, crops, network.source.get("flip_test") == "True")
        findings.append(compare(network, "PyTorch, ONNX Runtime", bounds[0], expected, in_process))
    served = server_answers(network, url, tls)(crops)
    return [*findings, compare(network, "ONNX Runtime, served", bounds[1], in_process, served)]
