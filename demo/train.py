"""`python -m demo.train pose|detector|graphpcnn --out DIR`: train one of the small networks on rendered people.

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

import torch

from demo.dataset import Dataset, load_or_render
from demo.detector_task import DETECTOR_NAME, DetectorTask
from demo.graph_pcnn_task import EQUAL_NEIGHBOURS, GRAPH_PCNN, WITHOUT_GRAPH, GraphPcnnTask
from demo.network_files import export_detector, export_graph_pcnn, export_pose
from demo.pose_task import POSE, PoseTask
from demo.seeds import TRAIN
from demo.trainer import Schedule, Task, Trainer, resume, run
from export.families.graph_pcnn.variants import Variant


@dataclass(frozen=True)
class _Kind:
    """What can be trained."""

    name: str
    schedule: Schedule
    task: Callable[[Dataset, int], Task]
    export: Callable[[Trainer, Path], None]


_GRAPH_PCNN = Schedule(steps=12_000, rate=2e-3)


def _graph_pcnn(variant: Variant) -> _Kind:
    return _Kind(variant.name, _GRAPH_PCNN, partial(GraphPcnnTask, variant=variant), export_graph_pcnn)


_KINDS = {
    "pose": _Kind(POSE.name, Schedule(steps=12_000, rate=1e-3), PoseTask, export_pose),
    "detector": _Kind(DETECTOR_NAME, Schedule(steps=4000, rate=2e-3), DetectorTask, export_detector),
    "graphpcnn": _graph_pcnn(GRAPH_PCNN),
    "graphpcnn-no-graph": _graph_pcnn(WITHOUT_GRAPH),
    "graphpcnn-equal-neighbours": _graph_pcnn(EQUAL_NEIGHBOURS),
}


def train(options: argparse.Namespace) -> Path:
    """Train, or go on training, and return the exported file."""
    kind = _KINDS[options.network]
    schedule = kind.schedule if options.steps is None else replace(kind.schedule, steps=options.steps)
    torch.set_num_threads(options.threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    cache = options.cache or options.out
    data = load_or_render(cache / f"train-{options.scenes}.npz", list(TRAIN[: options.scenes]))
    task = kind.task(data, options.seed)
    if options.start:
        task.start(options.start)
    trainer = Trainer(task, schedule, options.device)
    checkpoint, path = options.out / f"{kind.name}.pt", options.out / f"{kind.name}.onnx"
    if options.resume:
        resume(trainer, checkpoint)
    done = run(trainer, checkpoint, options.hours)
    kind.export(trainer, path)
    sys.stderr.write(f"{'finished' if done else 'stopped; go on with --resume'}\n")
    return Path(path)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m demo.train", description=__doc__)
    parser.add_argument("network", choices=sorted(_KINDS))
    parser.add_argument("--out", type=Path, required=True, help="folder for the checkpoint and the ONNX file")
    parser.add_argument("--cache", type=Path, help="folder for the rendered scenes (default: --out)")
    parser.add_argument("--scenes", type=int, default=10_000, help="rendered scenes to learn from (default 10000)")
    parser.add_argument("--steps", type=int, help="length of the whole schedule (default: that of the network)")
    parser.add_argument("--hours", type=float, help="stop earlier when they are over; go on with --resume")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    parser.add_argument("--start", type=Path, help="ONNX file of an earlier training to begin from")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="CPU threads (default: all)")
    parser.add_argument(
        "--device",
        default="cuda" if torch.cuda.is_available() else "cpu",
        help="where to compute: cpu or cuda (here: %(default)s)",
    )
    sys.stdout.write(f"{train(parser.parse_args(argv))}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
