"""The training loop of every task: schedule, averaged weights, checkpoints, progress."""

import math
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from cigpose_client.outputs import replacing
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

Batch = dict[str, Tensor]


class Task(Protocol):
    """A network with its batches and its loss."""

    network: nn.Module

    def batch(self, step: int) -> Batch:
        """Return the batch of a step, which depends on nothing else."""
        ...

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the terms of the loss, and the whole as `loss`."""
        ...


@dataclass(frozen=True)
class Schedule:
    """Length and learning rate of a training.

    Attributes:
        steps: number of steps.
        rate: highest learning rate.
        warmup: steps until this rate is reached. It is constant until half of the steps, then falls along a cosine.
        decay: weight decay.
        average: share of the averaged weights that each step keeps, after the first steps.
        save_every: number of steps between checkpoints.
    """

    steps: int
    rate: float = 1.5e-3
    warmup: int = 100
    decay: float = 0.05
    average: float = 0.998
    save_every: int = 50

    def rate_at(self, step: int) -> float:
        """Return the learning rate of a step."""
        if step < self.warmup:
            return self.rate * (step + 1) / self.warmup
        late = max(0.0, (step - self.steps / 2) / (self.steps / 2))
        return self.rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, late))))


class Trainer:
    """The state of a training: task, optimizer and averaged weights, at some step, on one device.

    Attributes:
        step: number of finished steps.
        averaged: the averaged network, whose weights are the result.
    """

    def __init__(self, task: Task, schedule: Schedule, device: torch.device | str = "cpu") -> None:
        self.task = task
        self.schedule = schedule
        self.device = torch.device(device)
        self.step = 0
        task.network.to(self.device)
        self.averaged = AveragedModel(task.network, avg_fn=self._average, use_buffers=True)
        matrices = [value for value in task.network.parameters() if value.ndim > 1]
        others = [value for value in task.network.parameters() if value.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [{"params": matrices, "weight_decay": schedule.decay}, {"params": others, "weight_decay": 0.0}]
        )

    def train_step(self, batch: Batch) -> dict[str, float]:
        """Train on one batch, and return the terms of the loss before the step."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.rate_at(self.step)
        terms = self.task.loss({name: value.to(self.device) for name, value in batch.items()})
        self.optimizer.zero_grad(set_to_none=True)
        terms["loss"].backward()
        nn.utils.clip_grad_norm_(self.task.network.parameters(), 10.0)
        self.optimizer.step()
        self.averaged.update_parameters(self.task.network)
        self.step += 1
        return {name: float(value.detach()) for name, value in terms.items()}

    def state(self) -> dict[str, Any]:
        """Return the state from which another process can continue."""
        return {
            "step": self.step,
            "network": self.task.network.state_dict(),
            "model": self.averaged.module.state_dict(),  # under the name by which `export onnx` finds it
            "averages": self.averaged.n_averaged,
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from a state."""
        self.step = state["step"]
        self.task.network.load_state_dict(state["network"])
        self.averaged.module.load_state_dict(state["model"])
        self.averaged.n_averaged.copy_(state["averages"])
        self.optimizer.load_state_dict(state["optimizer"])

    def _average(self, averaged: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
        keep = min(self.schedule.average, (1.0 + float(count)) / (10.0 + float(count)))
        return averaged.lerp(current, 1.0 - keep) if averaged.is_floating_point() else current


def run(trainer: Trainer, checkpoint: Path, hours: float | None = None) -> bool:
    """Train to the end of the schedule, or for `hours`, and write checkpoints.

    Returns:
        whether the schedule was completed.
    """
    begin, first = time.perf_counter(), trainer.step
    sums: dict[str, float] = {}
    with ThreadPoolExecutor(1) as loader:
        coming = loader.submit(trainer.task.batch, trainer.step)
        while trainer.step < trainer.schedule.steps:
            batch = coming.result()
            coming = loader.submit(trainer.task.batch, trainer.step + 1)
            for name, value in trainer.train_step(batch).items():
                sums[name] = sums.get(name, 0.0) + value
            elapsed = time.perf_counter() - begin
            over = hours is not None and elapsed > 3600 * hours
            if trainer.step % trainer.schedule.save_every == 0 or over or trainer.step == trainer.schedule.steps:
                save(trainer, checkpoint)
                _report(trainer, sums, elapsed / (trainer.step - first))
                sums = {}
            if over:
                return False
    return True


def save(trainer: Trainer, checkpoint: Path) -> None:
    """Write the state atomically: a crash leaves the previous file."""
    with replacing(checkpoint) as file:
        torch.save(trainer.state(), file)


def resume(trainer: Trainer, checkpoint: Path) -> None:
    """Continue from a checkpoint file."""
    trainer.load_state(torch.load(checkpoint, weights_only=True, map_location=trainer.device))


def _report(trainer: Trainer, sums: dict[str, float], seconds_per_step: float) -> None:
    count = (trainer.step - 1) % trainer.schedule.save_every + 1
    terms = " ".join(f"{name} {value / count:.4f}" for name, value in sums.items())
    left = (trainer.schedule.steps - trainer.step) * seconds_per_step / 60
    sys.stderr.write(
        f"step {trainer.step}/{trainer.schedule.steps} {terms} rate {trainer.schedule.rate_at(trainer.step):.2e} "
        f"{1 / seconds_per_step:.2f} steps/s {left:.0f} min left\n"
    )
