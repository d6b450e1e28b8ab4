"""`python -m benchmarks.shared_memory`: large raw frames on the server's own machine, by the way they are carried.

One caller; uncompressed over gRPC, uncompressed in shared memory, as JPEG over gRPC with the encoding; interleaved.
Only the detector is asked, so that what carries the frame is not lost in what the networks cost.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import numpy as np
import tritonclient.grpc
from cigpose_client._image import encoded
from tritonclient.utils import serialize_byte_tensor, shared_memory

from benchmarks.machine import describe
from benchmarks.moving import Image, film
from demo.accuracy import default_weights
from export.repository import build_repository
from server.process import RunningServer, ServerOptions, free_port, running_server

_RESULT = Path(__file__).parent / "results" / "shared-memory.json"
_REGION = "frames"
Send = Callable[[Image], None]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write the result file, print the medians."""
    options = _parse(argv)
    (frame,) = film(1, size=(1920, 1080))
    pose, detector = default_weights()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build_repository([pose], detector, folder / "repository")
        served = ServerOptions(folder / "repository", options.profile, grpc_port=free_port())
        with running_server(served, log=folder / "server.log") as server, _ways(server, frame) as ways:
            times = _times(ways, frame, options.rounds)
    result = {"machine": describe(), "profile": options.profile, "frame": frame.shape, "rounds": options.rounds}
    result |= {"median_ms": {way: round(1000 * median(of_way), 1) for way, of_way in times.items()}}
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result["median_ms"], indent=2))
    return 0


@contextmanager
def _ways(server: RunningServer, frame: Image) -> Iterator[dict[str, Send]]:
    """Yield the ways to have a frame looked at; shared memory opens to the server's own key alone (decision 20)."""
    size = 4 + len(encoded(frame))
    region = shared_memory.create_shared_memory_region(_REGION, f"/cigpose-{server.options.grpc_port}", size)
    control = server.control
    control.client.register_system_shared_memory(
        _REGION, f"/cigpose-{server.options.grpc_port}", size, headers=control.headers
    )
    client = tritonclient.grpc.InferenceServerClient(server.grpc_url)
    wanted = [tritonclient.grpc.InferRequestedOutput("bboxes")]

    def ask(image: "tritonclient.grpc.InferInput") -> None:
        client.infer("pose", [image], outputs=wanted)

    def wire(form: str) -> Send:
        def send(frame: Image) -> None:
            image = tritonclient.grpc.InferInput("image", [1], "BYTES")
            ask(image.set_data_from_numpy(np.array([encoded(frame, form)], np.object_)))  # type: ignore[arg-type]

        return send

    def shared(frame: Image) -> None:
        image = tritonclient.grpc.InferInput("image", [1], "BYTES")
        shared_memory.set_shared_memory_region(region, [serialize_byte_tensor(np.array([encoded(frame)], np.object_))])
        image.set_shared_memory(_REGION, size)
        ask(image)

    try:
        yield {"BMP over gRPC": wire("bmp"), "BMP in shared memory": shared, "JPEG over gRPC": wire("jpeg")}
    finally:
        client.close()
        control.client.unregister_system_shared_memory(_REGION, headers=control.headers)
        shared_memory.destroy_shared_memory_region(region)


def _times(ways: dict[str, Send], frame: Image, rounds: int) -> dict[str, list[float]]:
    """Return seconds of each way, one value a round; the first round warms up."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, send in ways.items():
            started = time.perf_counter()
            send(frame)
            if number:
                times[name].append(time.perf_counter() - started)
    return times


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.shared_memory", description=__doc__)
    parser.add_argument("--profile", default="cpu")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--output", type=Path, default=_RESULT)
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
