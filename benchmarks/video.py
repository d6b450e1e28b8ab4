"""`python -m benchmarks.video`: `cigpose-client video` against the same frames sent as a load, in one interleaved run.

The film is 300 frames of rendered people who walk about. Every round measures each way once, at equal concurrency: the
frames as encoded pictures from a closed loop, the command with JSON, the command with JSON and the drawn video. Shares
are of the closed loop in the same round; the median over the rounds counts. The closed loop neither reads, encodes nor
draws, so the difference is what the command itself takes from a machine that it shares with the server: about the same
processor time a frame for every network, and so a larger share beside a small one.
"""

import argparse
import contextlib
import io
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import cv2
from cigpose_client import PoseClient
from cigpose_client.__main__ import main as cigpose_client
from cigpose_client._image import encoded

from benchmarks.closed_loop import Call, drive
from benchmarks.constructed import constructed_network
from benchmarks.machine import describe
from benchmarks.moving import film, save
from benchmarks.subject import BUILT
from export.repository import build_repository
from server.process import ServerOptions, free_port, running_server
from synthetic.accuracy import default_weights

_FRAMES = 300
_RESULT = Path(__file__).parent / "results" / "video.json"
Way = Callable[[], Callable[[], int]]  # sends every frame once; returns what counts the people that were found


@dataclass(frozen=True)
class Run:
    """One way in one round.

    Attributes:
        frames_per_s: rate, connecting and completing the files included.
        cpu_ms: processor time of this process a frame, the server's not included.
        people: found in all frames.
    """

    frames_per_s: float
    cpu_ms: float
    people: int


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write the result file, print the shares; 1 when the command fell below the wanted share."""
    options = _parse(argv)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip = str(folder / "film.mp4")
        save(clip, film(options.frames))
        pose = options.pose or constructed_network(BUILT)
        build_repository([pose], default_weights()[1], folder / "repository")
        served = ServerOptions(folder / "repository", options.profile, grpc_port=free_port())
        with running_server(served, log=folder / "server.log") as server:
            ways = _ways(server.grpc_url, clip, folder, options.concurrency)
            rounds = _rounds(ways, options.frames, options.rounds)
    result = {"machine": describe(), "pose": pose.name, "profile": options.profile, "frames": options.frames}
    result |= {"concurrency": options.concurrency, "rounds": options.rounds, "ways": _summary(rounds)}
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    for way, row in result["ways"].items():
        print(f"{way:20} " + ", ".join(f"{name} {value}" for name, value in row.items()))
    return 0 if result["ways"]["command, JSON"]["share_of_load"] >= options.share else 1


def _ways(url: str, clip: str, folder: Path, concurrency: int) -> dict[str, Way]:
    """Return the ways to send every frame once, by name."""
    frames = _frames(clip)
    people, drawn = str(folder / "people.jsonl"), str(folder / "drawn.mp4")
    command = ["video", clip, "--url", url, "--concurrency", str(concurrency), "--json", people]

    def load() -> Callable[[], int]:
        with PoseClient(url) as client:
            call: Call = lambda picture: len(client.estimate(picture))  # noqa: E731 - what `drive` asks for
            found = drive(lambda: call, frames, concurrency, len(frames)).people
        return lambda: found

    def run(*more: str) -> Callable[[], int]:
        with contextlib.redirect_stderr(io.StringIO()) as said:
            if cigpose_client([*command, *more]):
                raise RuntimeError(f"the command failed: {said.getvalue()}")
        return lambda: _people(people, len(frames))

    return {"load": load, "command, JSON": run, "command, drawn": lambda: run("--output", drawn)}


def _people(path: str, frames: int) -> int:
    """Return how many people the command's JSON Lines hold, after a look at their order."""
    answers = [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]
    if [answer["frame"] for answer in answers] != list(range(frames)):
        raise RuntimeError("the command lost a frame or the order")
    return sum(len(answer["people"]) for answer in answers)


def _frames(clip: str) -> list[bytes]:
    """Return the frames as the command sends them."""
    capture = cv2.VideoCapture(clip)
    frames = []
    while (read := capture.read())[0]:
        frames.append(encoded(read[1], "jpeg"))
    capture.release()
    return frames


def _rounds(ways: dict[str, Way], frames: int, count: int) -> dict[str, list[Run]]:
    """Measure every way once a round, in an order that turns from round to round; a first round warms up."""
    runs: dict[str, list[Run]] = {name: [] for name in ways}
    names = list(ways)
    for number in range(count + 1):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            started, cpu = time.perf_counter(), time.process_time()
            count_people = ways[name]()
            seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
            if number:
                runs[name].append(Run(frames / seconds, cpu / frames * 1000, count_people()))
    if len({run.people for of_way in runs.values() for run in of_way}) != 1:
        raise RuntimeError("the ways found different numbers of people, so they did not send the same frames")
    return runs


def _summary(runs: dict[str, list[Run]]) -> dict[str, dict[str, Any]]:
    load = runs["load"]
    return {
        name: {
            "frames_per_s": round(median(run.frames_per_s for run in of_way), 1),
            "client_cpu_ms_a_frame": round(median(run.cpu_ms for run in of_way), 2),
            "share_of_load": round(
                median(run.frames_per_s / beside.frames_per_s for run, beside in zip(of_way, load, strict=True)), 3
            ),
            "shares": [
                round(run.frames_per_s / beside.frames_per_s, 3) for run, beside in zip(of_way, load, strict=True)
            ],
        }
        for name, of_way in runs.items()
    }


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.video", description=__doc__)
    parser.add_argument("--pose", type=Path, help="default: CIGPose-m with constructed weights, built on first use")
    parser.add_argument("--profile", default="cpu")
    parser.add_argument("--frames", type=int, default=_FRAMES)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--concurrency", type=int, default=8)
    parser.add_argument("--share", type=float, default=0.95, help="of the load's rate that the command must reach")
    parser.add_argument("--output", type=Path, default=_RESULT)
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
