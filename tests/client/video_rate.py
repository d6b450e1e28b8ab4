"""`python -m tests.client.video_rate`: `cigpose-client video` against a load of the same frames, interleaved.

The film is a rendered scene that scrolls. Every round measures each way once, at equal concurrency: the frames as
encoded pictures from a closed loop, the command with JSON, the command with JSON and the drawn video. Shares are of the
closed loop in the same round; the median over the rounds counts. The closed loop neither reads, encodes nor draws, so
the difference is what the command itself takes from a machine that it shares with the server: about the same processor
time a frame for every network, and so a larger share beside a small one.
"""

import argparse
import contextlib
import io
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
from cigpose_client.__main__ import main as cigpose_client
from numpy.typing import NDArray

from benchmarks import results, subject
from benchmarks.closed_loop import drive
from benchmarks.subject import pose_calls
from ensemble.triton.profiles import PROFILES
from server.usage import CommandLine, command, output_path
from synthetic.accuracy import default_weights
from synthetic.effects import decode
from synthetic.scene import render_scene
from synthetic.seeds import DEMO

LOAD, JSON, DRAWN = "load", "command, JSON", "command, drawn"
_RECORD = Path(__file__).parent / "results" / "video_rate.json"
_STEP = 4  # pixels from frame to frame
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


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write the result file, print the table; 1 when the command fell below the wanted share."""
    options = _parse(argv)
    with subject.prepared(options) as measured, measured.serve(options.profile) as server:
        clip = measured.folder / "film.mp4"
        save(clip, film(options.frames))
        with contextlib.ExitStack() as stack:
            ways = _ways(stack, server.grpc_url, clip, options.concurrency)
            rounds = _rounds(ways, options.frames, options.rounds)
        result = {**measured.about, "pictures": f"{options.frames} frames of a rendered scene that scrolls"}
    result |= {"frames": options.frames, "concurrency": options.concurrency, "rounds": options.rounds}
    result |= {"ways": _summary(rounds)}
    results.write(options.output, result, profile=options.profile)
    print(as_table(result))
    return int(result["ways"][JSON]["share_of_load"] < options.share)


def film(count: int) -> Iterator[NDArray[np.uint8]]:
    """Yield frames (h, w, 3) uint8 BGR of one scene that scrolls to the side."""
    image_bgr = decode(render_scene(DEMO[0], people=3).jpeg)
    for index in range(count):
        yield np.roll(image_bgr, index * _STEP, axis=1)


def save(path: Path, frames: Iterator[NDArray[np.uint8]]) -> None:
    """Write frames of one size as an MP4 file.

    Raises:
        ValueError: OpenCV cannot write it.
    """
    writer = cv2.VideoWriter()
    for frame in frames:
        opened = writer.isOpened() or writer.open(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25.0, frame.shape[1::-1])
        if not opened:
            raise ValueError(f"OpenCV cannot write the video {path}")
        writer.write(frame)
    writer.release()


def as_table(result: dict[str, Any]) -> str:
    """Return a result as a Markdown table."""
    columns = ("frames_per_s", "client_cpu_ms_a_frame", "share_of_load")
    rows = [[name, *(row[column] for column in columns)] for name, row in result["ways"].items()]
    return results.as_table(["way", "frames/s", "the client's CPU ms a frame", "share of the load"], rows)


def _ways(stack: contextlib.ExitStack, url: str, clip: Path, concurrency: int) -> dict[str, Way]:
    """Return the ways to send every frame once, by name."""
    frames, people, drawn = _frames(clip), clip.with_name("people.jsonl"), clip.with_name("drawn.mp4")
    command = ["video", str(clip), "--url", url, "--concurrency", str(concurrency), "--json", str(people)]
    make_call = pose_calls(stack, url)

    def load() -> Callable[[], int]:
        found = round(drive(make_call, frames, concurrency, len(frames)).people_per_picture * len(frames))
        return lambda: found

    def run(*more: str) -> Callable[[], int]:
        with contextlib.redirect_stderr(io.StringIO()) as said:
            if cigpose_client([*command, *more]):
                raise RuntimeError(f"the command failed: {said.getvalue()}")
        return lambda: _people(people, len(frames))

    return {LOAD: load, JSON: run, DRAWN: lambda: run("--output", str(drawn))}


def _people(path: Path, frames: int) -> int:
    """Return how many people the command's JSON Lines hold, after a look at their order."""
    answers = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    if [answer["frame"] for answer in answers] != list(range(frames)):
        raise RuntimeError("the command lost a frame or the order")
    return sum(len(answer["people"]) for answer in answers)


def _frames(clip: Path) -> list[bytes]:
    """Return the frames as the command sends them."""
    capture, frames = cv2.VideoCapture(str(clip)), []
    while (read := capture.read())[0]:
        frames.append(bytes(cv2.imencode(".jpg", read[1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1]))
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
    rows = {}
    for name, of_way in runs.items():
        shares = [run.frames_per_s / load.frames_per_s for run, load in zip(of_way, runs[LOAD], strict=True)]
        rows[name] = {
            "frames_per_s": round(median(run.frames_per_s for run in of_way), 1),
            "client_cpu_ms_a_frame": round(median(run.cpu_ms for run in of_way), 2),
            "share_of_load": round(median(shares), 3),
            "shares": [round(share, 3) for share in shares],
        }
    return rows


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandLine(prog="python -m tests.client.video_rate", description=__doc__)
    subject.add_options(parser)
    parser.set_defaults(detector=default_weights()[1])  # it knows rendered people
    parser.add_argument("--profile", default="cpu", choices=PROFILES)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--concurrency", type=int, default=8)
    parser.add_argument("--share", type=float, default=0.95, help="of the load's rate that the command must reach")
    parser.add_argument("--output", type=output_path, default=_RECORD, help="default: %(default)s")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
