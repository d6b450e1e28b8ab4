"""`python -m deploy.offline.ray_job PICTURES OUTPUT`: the people in millions of pictures, by Ray Data.

Every batch of pictures becomes one file of JSON lines, whose name is a hash of the batch. A worker that dies is
replaced, and its batch is repeated into the same file, so no picture is lost or occurs twice. A later run with the same
folders sends only the pictures without a record. `cigpose-client parquet OUTPUT/part-*.jsonl` joins the files.

The server's gate rejects what it cannot answer in time. A worker then halves its concurrent requests. Ray
hands the next batch to a free worker, so the whole job runs at the server's pace.
"""

import argparse
import asyncio
import hashlib
import json
import math
import sys
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cigpose_client import (
    AsyncPoseClient,
    DeadlineExceeded,
    ModelNotReady,
    Overloaded,
    PoseClientError,
    Poses,
    ServerUnavailable,
)
from cigpose_client._cli.files import in_folder
from cigpose_client.outputs import write_file

from server.usage import CommandLine, command, input_path, need, output_path

_SERVER_FAILURES = (DeadlineExceeded, ModelNotReady, Overloaded, ServerUnavailable)  # of the server, not of a picture
_OBJECTS_BYTES = 256 << 20  # of a local Ray; blocks hold names, not pictures


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the job; return 1 when it must be repeated."""
    options = _parse(argv)
    names = [source.name for source in in_folder(str(options.pictures), None, None, recursive=True)]
    done = answered(options.output)
    todo = [name for name in names if name not in done]
    print(f"{len(names) - len(todo)} of {len(names)} pictures are answered already", file=sys.stderr)
    if todo:
        need("install-offline", "ray")
        _run(options, todo)
    lost, twice = problems(names, options.output)
    if lost or twice:
        raise ValueError(f"{len(lost)} pictures are lost and {len(twice)} occur twice, such as {[*lost, *twice][0]}")
    return 0


def answered(folder: Path) -> Counter[str]:
    """Return the names in the files of earlier runs, and how often each one occurs."""
    count: Counter[str] = Counter()
    for path in folder.glob("part-*.jsonl"):
        with path.open(encoding="utf-8") as file:
            count.update(json.loads(line)["picture"] for line in file)
    return count


def problems(names: Iterable[str], folder: Path) -> tuple[list[str], list[str]]:
    """Return the pictures without a record, and those with several."""
    count = answered(folder)
    return [name for name in names if not count[name]], [name for name, times in count.items() if times > 1]


def part_name(names: Sequence[str]) -> str:
    """Return the name of a batch's file. A repeated batch has the same name, so it replaces its own records."""
    digest = hashlib.sha256("\0".join(names).encode()).hexdigest()
    return f"part-{digest[:32]}.jsonl"


def next_in_flight(in_flight: int, refusals: int, limit: int) -> int:
    """Return the concurrent requests of a worker's next batch: half after a refusal, else one more."""
    return max(1, in_flight // 2) if refusals else min(limit, in_flight + 1)


class Estimator:
    """Sends batches of pictures to the server and writes their records; one in each worker process of Ray.

    Args:
        pictures: folder of the pictures.
        output: folder of the records.
        url: gRPC address of the server.
        model: a network, or `pose`.
        timeout_s: seconds for a picture, with all its retries.
        in_flight: largest number of concurrent requests.
    """

    def __init__(self, pictures: str, output: str, url: str, model: str, timeout_s: float, in_flight: int):
        self._pictures, self._output = Path(pictures), Path(output)
        self._limit = in_flight
        self._in_flight = min(2, in_flight)
        self._loop = asyncio.new_event_loop()
        self._client = self._loop.run_until_complete(_connected(url, model, timeout_s))

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[int]]:
        """Answer the pictures of one batch and write their file.

        Raises:
            PoseClientError: the server does not answer in time; no file is written.
        """
        names = [str(name) for name in batch["item"]]
        before = self._client.retries
        records = self._loop.run_until_complete(self._records(names))
        self._in_flight = next_in_flight(self._in_flight, self._client.retries - before, self._limit)
        lines = "".join(f"{json.dumps(entry, separators=(',', ':'))}\n" for entry in records)
        write_file(self._output / part_name(names), lines)
        return {"pictures": [len(names)], "failed": [sum("error" in entry for entry in records)]}

    async def _records(self, names: Sequence[str]) -> list[dict[str, Any]]:
        paths = [self._pictures / name for name in names]
        outcomes = self._client.attempt_many(paths, in_flight=self._in_flight)
        found = [_fields(outcome) async for outcome in outcomes]
        return [{"picture": name, **fields} for name, fields in zip(names, found, strict=True)]


async def _connected(url: str, model: str, timeout_s: float) -> AsyncPoseClient:
    return AsyncPoseClient(url, model=model, timeout_s=timeout_s)


def _fields(outcome: Poses | Exception) -> dict[str, Any]:
    """Return the fields of a record, as `cigpose-client folder` writes them, or raise a failure of the server."""
    if isinstance(outcome, _SERVER_FAILURES):
        raise outcome
    if isinstance(outcome, PoseClientError):
        return {"error": outcome.problem}
    return {"error": str(outcome)} if isinstance(outcome, Exception) else outcome.to_dict()


def _run(options: argparse.Namespace, names: Sequence[str]) -> None:
    """Let Ray answer the pictures."""
    import ray

    options.output.mkdir(parents=True, exist_ok=True)
    local = {"num_cpus": options.workers, "object_store_memory": _OBJECTS_BYTES, "include_dashboard": False}
    ray.init(address=options.address, **(local if options.address == "local" else {}))
    try:
        blocks = math.ceil(len(names) / options.batch)  # a lost worker repeats one block
        settings = {name: getattr(options, name) for name in ("url", "model", "timeout_s", "in_flight")}
        folders = {name: str(getattr(options, name).absolute()) for name in ("pictures", "output")}
        counts = ray.data.from_items(list(names), override_num_blocks=blocks).map_batches(
            Estimator,
            fn_constructor_kwargs=settings | folders,
            batch_size=None,
            compute=ray.data.ActorPoolStrategy(size=options.workers, max_tasks_in_flight_per_actor=2),
            num_cpus=1,
        )
        pictures = failed = 0
        for row in counts.iter_rows():
            pictures, failed = pictures + row["pictures"], failed + row["failed"]
        print(f"{pictures} pictures answered, {failed} of them failed", file=sys.stderr)
    finally:
        ray.shutdown()


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandLine(prog="python -m deploy.offline.ray_job", description=__doc__)
    parser.add_argument("pictures", type=input_path, help="folder of the pictures, the same on every machine")
    parser.add_argument("output", type=output_path, help="folder of the records, the same on every machine")
    parser.add_argument("--url", default="localhost:8001", help="gRPC address (default: %(default)s)")
    parser.add_argument("--model", default="pose", help="a network, or pose (default: %(default)s)")
    parser.add_argument("--address", default="local", help="of a Ray cluster; local starts one (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="worker processes (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=64, help="pictures in one file of records (default: %(default)s)")
    parser.add_argument(
        "--in-flight", type=int, default=16, help="concurrent requests of a worker, at most (default: 16)"
    )
    parser.add_argument("--timeout-s", type=float, default=120.0, help="for a picture, with its retries (default: 120)")
    return parser.parse_args(argv)


if __name__ == "__main__":
    warnings.filterwarnings("ignore", category=FutureWarning, module="ray")
    sys.exit(main())
