"""`python -m synthetic.train pose|detector|graphpcnn|logocap --out DIR`: train a small network on rendered people.

Writes DIR/<network>.pt (everything needed to resume) while it runs and DIR/<network>.onnx at the end. The same seed
and the same number of threads give the same weights; a GPU gives others.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from server.usage import CommandLine, command, input_path, need, output_path
from synthetic.dataset import Dataset, load_or_render
from synthetic.seeds import TRAIN

if TYPE_CHECKING:
    from synthetic.trainer import Schedule, Task, Trainer

_GRAPHS = ("graphpcnn", "graphpcnn-no-graph", "graphpcnn-equal-neighbours")  # the network, and two ablations of it


@dataclass(frozen=True)
class _Kind:
    """What can be trained."""

    name: str
    schedule: "Schedule"
    task: "Callable[[Dataset, int], Task]"
    export: "Callable[[Trainer, Path], None]"


def _kind(network: str) -> _Kind:
    from synthetic.detector_task import DETECTOR_NAME, DetectorTask  # not above: the command line needs no PyTorch
    from synthetic.graph_pcnn_task import EQUAL_NEIGHBOURS, GRAPH_PCNN, WITHOUT_GRAPH, GraphPcnnTask
    from synthetic.logocap_task import LOGOCAP, LogoCapTask
    from synthetic.network_files import export_detector, export_graph_pcnn, export_logocap, export_pose
    from synthetic.pose_task import POSE, PoseTask
    from synthetic.trainer import Schedule

    if network == "pose":
        return _Kind(POSE.name, Schedule(steps=12_000, rate=1e-3), PoseTask, export_pose)
    if network == "logocap":
        return _Kind(LOGOCAP.name, Schedule(steps=6000, rate=2e-3), LogoCapTask, export_logocap)
    if network in _GRAPHS:
        variant = dict(zip(_GRAPHS, (GRAPH_PCNN, WITHOUT_GRAPH, EQUAL_NEIGHBOURS), strict=True))[network]
        schedule = Schedule(steps=12_000, rate=2e-3)
        return _Kind(variant.name, schedule, partial(GraphPcnnTask, variant=variant), export_graph_pcnn)
    return _Kind(DETECTOR_NAME, Schedule(steps=4000, rate=2e-3), DetectorTask, export_detector)


def train(options: argparse.Namespace) -> Path:
    """Train, or go on training, and return the exported file."""
    import torch

    from synthetic.trainer import Trainer, resume, run

    kind = _kind(options.network)
    schedule = kind.schedule if options.steps is None else replace(kind.schedule, steps=options.steps)
    torch.set_num_threads(options.threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    cache = options.cache or options.out
    data = load_or_render(cache / f"train-{options.scenes}.npz", list(TRAIN[: options.scenes]))
    task = kind.task(data, options.seed)
    if options.start:
        task.start(options.start)
    trainer = Trainer(task, schedule, options.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    checkpoint, path = options.out / f"{kind.name}.pt", options.out / f"{kind.name}.onnx"
    if options.resume:
        resume(trainer, checkpoint)
    done = run(trainer, checkpoint, options.hours)
    kind.export(trainer, path)
    sys.stderr.write(f"{'finished' if done else 'stopped; go on with --resume'}\n")
    return Path(path)


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = CommandLine(prog="python -m synthetic.train", description=__doc__)
    parser.add_argument("network", choices=("detector", "pose", "logocap", *_GRAPHS))
    parser.add_argument("--out", type=output_path, required=True, help="folder for the checkpoint and the ONNX file")
    parser.add_argument("--cache", type=output_path, help="folder for the rendered scenes (default: --out)")
    parser.add_argument("--scenes", type=int, default=10_000, help="rendered scenes to learn from (default 10000)")
    parser.add_argument("--steps", type=int, help="length of the whole schedule (default: that of the network)")
    parser.add_argument("--hours", type=float, help="stop earlier when they are over; go on with --resume")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    parser.add_argument("--start", type=input_path, help="ONNX file of an earlier training to begin from")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="CPU threads (default: all)")
    parser.add_argument("--device", help="where to compute: cpu or cuda (default: cuda where there is one)")
    options = parser.parse_args(argv)
    need("install-test", "torch")
    sys.stdout.write(f"{train(options)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
