"""`python -m benchmarks endurance`: memory of the whole server over many pictures, and its time from start to ready.

The default network of the repository, all processes of the server, shared pages counted once. Flat means that the
second half of the run stays within 2 %.
"""

import contextlib
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any

from benchmarks import results, subject
from benchmarks.closed_loop import drive
from benchmarks.processes import memory_mib, shared_memory_mib
from benchmarks.subject import pose_calls
from ensemble.triton.profiles import PROFILES
from server.process import RunningServer
from server.usage import CommandLine
from synthetic.accuracy import default_weights
from synthetic.scene import render_scene
from synthetic.seeds import DEMO

_PERIOD_S = 1.0
_SCENES = DEMO[4:68]  # many sizes of batches


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write the result file, print the line that counts."""
    parser = CommandLine(prog="python -m benchmarks endurance", description=__doc__)
    subject.add_options(parser)
    pose, detector = default_weights()
    parser.set_defaults(pose=pose, detector=detector)
    parser.add_argument("--profile", default="cpu", choices=PROFILES)
    parser.add_argument("--count", type=int, default=10_000, help="pictures")
    parser.add_argument("--callers", type=int, default=16)
    parser.add_argument("--starts", type=int, default=3, help="how often the start is timed")
    results.add_output(parser, "endurance")
    options = parser.parse_args(argv)
    with subject.prepared(options) as measured:
        pictures = measured.pictures if options.pictures else [render_scene(seed).jpeg for seed in _SCENES]
        starts = []
        for number in range(options.starts):
            started = time.perf_counter()
            with measured.serve(options.profile) as server, contextlib.ExitStack() as stack:
                starts.append(time.perf_counter() - started)
                if number < options.starts - 1:
                    continue
                with _watched(server) as samples:
                    make_call = pose_calls(stack, server.grpc_url)
                    load = drive(make_call, pictures, options.callers, options.count)
                shared = shared_memory_mib(server)
        about = measured.about | ({} if options.pictures else {"pictures": f"{len(pictures)} rendered scenes"})
    result = {**about, "start_to_ready_s": median(starts), "starts_s": starts, "pictures_sent": options.count}
    result |= {"pictures_per_s": load.pictures_per_s, "shared_memory_mib": shared}
    result |= summary(samples)
    results.write(options.output, result, profile=options.profile)
    print(as_table(result))
    return 0


def as_table(result: dict[str, Any]) -> str:
    """Return a result as a Markdown table."""
    columns = ("pictures_sent", "memory_mib", "shared_memory_mib", "spread", "growth", "start_to_ready_s")
    return results.as_table([*columns], [[result[column] for column in columns]])


def summary(samples: Sequence[float]) -> dict[str, float]:
    """Return the memory of the second half, its spread, and its growth from the third quarter to the fourth.

    Args:
        samples: MiB at equal distances.
    """
    half = samples[len(samples) // 2 :]
    middle, quarter = median(half), len(half) // 2
    return {
        "memory_mib": middle,
        "spread": (max(half) - min(half)) / middle,
        "growth": median(half[quarter:]) / median(half[:quarter] or half) - 1,
    }


@contextlib.contextmanager
def _watched(server: RunningServer) -> Iterator[list[float]]:
    """Yield a list that a thread fills with the server's memory until the end of the block."""
    samples: list[float] = []
    done = threading.Event()

    def watch() -> None:
        while not done.wait(_PERIOD_S):
            samples.append(memory_mib(server))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield samples
    finally:
        done.set()
        thread.join()


if __name__ == "__main__":
    sys.exit(main())
