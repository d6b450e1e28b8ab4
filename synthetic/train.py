"""`python -m synthetic.train pose|detector|graphpcnn|logocap|capf --out DIR`: train a small network on rendered people.

It writes DIR/<network>.pt (the state, for --resume) while it runs, and DIR/<network>.onnx at the end. The same seed and
number of threads give the same weights on a CPU; a GPU gives other weights.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from server.usage import CommandLine, command, need, output_path
from synthetic.dataset import Dataset, load_or_render
from synthetic.seeds import TRAIN

if TYPE_CHECKING:
    from synthetic.trainer import Schedule, Task, Trainer

_GRAPHS = ("graphpcnn", "graphpcnn-no-graph", "graphpcnn-equal-neighbours")  # the network, and two ablations of it
_LIFTERS = ("capf", "capf-no-context", "capf-plain")  # the network, and what it is compared with


@dataclass(frozen=True)
class _Kind:
    """A network that can be trained: its name, schedule, task and export."""

    name: str
    schedule: "Schedule"
    task: "Callable[[Dataset, int], Task]"
    export: "Callable[[Trainer, Path], None]"


def _kind(network: str) -> _Kind:
    from synthetic.detector_task import DETECTOR_NAME, DetectorTask  # imported here: the command line needs no PyTorch
    from synthetic.graph_pcnn_task import EQUAL_NEIGHBOURS, GRAPH_PCNN, WITHOUT_GRAPH, GraphPcnnTask
    from synthetic.lifter_task import LIFTER, PLAIN, WITHOUT_CONTEXT, LifterTask
    from synthetic.logocap_task import LOGOCAP, LogoCapTask
    from synthetic.network_files import (
        export_detector,
        export_graph_pcnn,
        export_lifter,
        export_logocap,
        export_pose,
    )
    from synthetic.pose_task import POSE, PoseTask
    from synthetic.trainer import Schedule

    if network == "pose":
        return _Kind(POSE.name, Schedule(steps=12_000, rate=1e-3), PoseTask, export_pose)
    if network == "logocap":
        return _Kind(LOGOCAP.name, Schedule(steps=6000, rate=2e-3), LogoCapTask, export_logocap)
    if network in _GRAPHS:
        variant = dict(zip(_GRAPHS, (GRAPH_PCNN, WITHOUT_GRAPH, EQUAL_NEIGHBOURS), strict=True))[network]
        task = partial(GraphPcnnTask, variant=variant)
        return _Kind(variant.name, Schedule(steps=6500, rate=2e-3), task, export_graph_pcnn)
    if network in _LIFTERS:
        lifter = dict(zip(_LIFTERS, (LIFTER, WITHOUT_CONTEXT, PLAIN), strict=True))[network]
        lifting = partial(LifterTask, variant=lifter)
        return _Kind(lifter.name, Schedule(steps=6000, rate=1e-3), lifting, export_lifter)
    return _Kind(DETECTOR_NAME, Schedule(steps=4000, rate=2e-3), DetectorTask, export_detector)


def train(options: argparse.Namespace) -> Path:
    """Train, or continue a training, and return the exported file."""
    import torch

    from synthetic.trainer import Trainer, resume, run

    kind = _kind(options.network)
    schedule = kind.schedule if options.steps is None else replace(kind.schedule, steps=options.steps)
    torch.set_num_threads(options.threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    cache = options.cache or options.out
    data = load_or_render(cache / f"train-{options.scenes}.npz", list(TRAIN[: options.scenes]))
    task = kind.task(data, options.seed)
    trainer = Trainer(task, schedule, options.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    checkpoint, path = options.out / f"{kind.name}.pt", options.out / f"{kind.name}.onnx"
    if options.resume:
        resume(trainer, checkpoint)
    done = run(trainer, checkpoint, options.hours)
    kind.export(trainer, path)
    sys.stderr.write(f"{'finished' if done else 'stopped; continue with --resume'}\n")
    return Path(path)


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = CommandLine(prog="python -m synthetic.train", description=__doc__)
    parser.add_argument("network", choices=("detector", "pose", "logocap", *_GRAPHS, *_LIFTERS))
    parser.add_argument("--out", type=output_path, required=True, help="folder for the checkpoint and the ONNX file")
    parser.add_argument("--cache", type=output_path, help="folder for the rendered scenes (default: --out)")
    parser.add_argument("--scenes", type=int, default=10_000, help="number of rendered scenes (default: 10000)")
    parser.add_argument("--steps", type=int, help="length of the schedule (default: that of the network)")
    parser.add_argument("--hours", type=float, help="stop after this time; continue with --resume")
    parser.add_argument("--resume", action="store_true", help="continue from the checkpoint in --out")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="CPU threads (default: all)")
    parser.add_argument("--device", help="cpu or cuda (default: cuda if there is a GPU)")
    options = parser.parse_args(argv)
    need("install-test", "torch")
    sys.stdout.write(f"{train(options)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
