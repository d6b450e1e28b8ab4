"""`python -m benchmarks buckets --pose FILE`: do pictures of one padded size gain from one execution together?

Runs the dense part of a LOGO-CAP file (the network up to its maps, six sevenths of the work) in this process, as the
profile `cpu` would: one single-threaded session a core. Callers send pictures of the sizes below, one after the other.
`one by one` runs them in order; `buckets` runs with the oldest one up to --batch waiting ones of its size.
"""

import itertools
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import onnx
import onnx.utils
import onnxruntime
from numpy.typing import NDArray

from benchmarks.results import add_output, as_table, write
from ensemble.geometry import PaddedFit
from export import graph_edit, metadata
from server.usage import CommandLine, input_path

Planes: TypeAlias = NDArray[np.float32]
Run: TypeAlias = Callable[[Planes], Any]

PICTURES = ((640, 480), (640, 480), (480, 640), (640, 427), (640, 480), (500, 375), (427, 640), (640, 480))
"""(w, h) of the pictures, round and round: the most frequent ones of COCO, about as often."""

_PLANES = "pictures"


@dataclass(frozen=True)
class Measured:
    """One closed loop.

    Attributes:
        per_s: pictures a second.
        p50_ms: median latency.
        p95_ms: 95th percentile.
        cpu_ms: processor time of a picture.
        together: pictures of an execution, on average.
    """

    per_s: float
    p50_ms: float
    p95_ms: float
    cpu_ms: float
    together: float


class _Waiting:
    """Pictures that wait for an execution."""

    def __init__(self, batch: int):
        self._batch, self._sent, self._changed = batch, list[tuple[Planes, threading.Event]](), threading.Condition()

    def send(self, planes: Planes) -> threading.Event:
        """Add a picture; the event is set when it is answered. One of no size ends a worker."""
        answered = threading.Event()
        with self._changed:
            self._sent.append((planes, answered))
            self._changed.notify()
        return answered

    def take(self) -> list[tuple[Planes, threading.Event]]:
        """Remove and return the oldest picture, and the oldest others of its size."""
        with self._changed:
            self._changed.wait_for(lambda: self._sent)
            size = self._sent[0][0].shape
            taken = [each for each in self._sent if each[0].shape == size][: self._batch if np.prod(size) else 1]
            self._sent = [each for each in self._sent if all(each is not other for other in taken)]
            return taken


def dense_part(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the graph from pictures and their mirror images, `pictures` [2 N, 3, H, W], to the three maps.

    Raises:
        ValueError: the model is no LOGO-CAP file of `python -m export onnx`.
    """
    nodes = {name: node for node in model.graph.node for name in node.input if name.endswith(".weight")}
    heads = [
        node for name, node in nodes.items() if name.endswith(("final_layer_cls.weight", "final_layer_reg.weight"))
    ]
    embedding = [node for node in model.graph.node if "transition_embedding" in node.name and node.op_type == "Relu"]
    first = next((node for node in model.graph.node if node.op_type == "Conv"), None)
    if len(heads) != 2 or len(embedding) != 1 or first is None:
        raise ValueError("this is no LOGO-CAP file that `python -m export onnx` wrote")
    inferred = onnx.shape_inference.infer_shapes(model)
    outputs = [node.output[0] for node in (*heads, *embedding)]
    dense = onnx.utils.Extractor(inferred).extract_model([first.input[0]], outputs)
    for value in (*dense.graph.input, *dense.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = _PLANES
    del dense.graph.value_info[:]  # they repeat the two of one picture
    return dense


def measure(sessions: Sequence[Run], fit: PaddedFit, callers: int, batch: int, pictures: int) -> Measured:
    """Send `pictures` from closed-loop callers; at most `batch` of one size run together."""
    waiting, numbers = _Waiting(batch), itertools.count()
    latencies: list[float] = []
    executions: list[int] = []

    def work(run: Run) -> None:
        while (taken := waiting.take())[0][0].size:
            run(np.concatenate([planes for planes, _ in taken]))
            executions.append(len(taken))
            for _, answered in taken:
                answered.set()

    def call() -> None:
        while (number := next(numbers)) < pictures:
            width, height = fit.input_size(PICTURES[number % len(PICTURES)])
            started = time.perf_counter()
            waiting.send(np.full((2, 3, height, width), 0.1, np.float32)).wait()
            latencies.append(time.perf_counter() - started)

    workers = [threading.Thread(target=work, args=(run,)) for run in sessions]
    threads = [threading.Thread(target=call) for _ in range(callers)]
    started, cpu_s = time.perf_counter(), time.process_time()
    for thread in (*workers, *threads):
        thread.start()
    for thread in threads:
        thread.join()
    took_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu_s
    for _ in workers:
        waiting.send(np.empty((0, 3, 0, 0), np.float32))
    for worker in workers:
        worker.join()
    middle, late = np.percentile(latencies, (50, 95)) * 1000
    return Measured(pictures / took_s, float(middle), float(late), 1000 * cpu_s / pictures, float(np.mean(executions)))


def main(argv: Sequence[str] | None = None) -> int:
    """Measure both ways for every number of callers, and write the result."""
    parser = CommandLine(prog="python -m benchmarks buckets", description=__doc__)
    parser.add_argument("--pose", type=input_path, required=True, help="LOGO-CAP file of `python -m export onnx`")
    parser.add_argument("--callers", type=int, nargs="+", default=[1, 4, 16], help="default: 1 4 16")
    parser.add_argument("--batch", type=int, default=8, help="pictures of an execution (default: 8)")
    parser.add_argument("--pictures", type=int, default=32, help="of each measurement (default: 32)")
    add_output(parser, "buckets")
    options = parser.parse_args(argv)
    model = graph_edit.load(options.pose)
    fit, dense = PaddedFit(metadata.read(model)["short_side"]), dense_part(model).SerializeToString()
    sessions = [_session(dense) for _ in range(os.cpu_count() or 1)]
    rows = []
    for callers, (way, batch) in itertools.product(options.callers, (("one by one", 1), ("buckets", options.batch))):
        measure(sessions, fit, callers, batch, min(options.pictures, 2 * len(sessions)))  # warms up
        found = measure(sessions, fit, callers, batch, options.pictures)
        rows.append({"callers": callers, "way": way, **vars(found)})
    result = {"pose": options.pose.name, "batch": options.batch, "pictures": options.pictures, "rows": rows}
    write(options.output, result, "cpu")
    print(as_table(list(rows[0]), [list(row.values()) for row in rows]))
    return 0


def _session(model: bytes) -> Run:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level, options.enable_mem_pattern = 1, 3, False
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    feed = session.get_inputs()[0].name
    return lambda planes: session.run(None, {feed: planes})
