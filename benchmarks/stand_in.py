"""`python -m benchmarks.stand_in A B`: processor time a person that two stand-ins spend, in turns.

A and B are folders of backends. The network has CIGPose-m's shapes and computes nothing but its outputs.
"""

import argparse
import tempfile
import threading
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import tritonclient.grpc

from benchmarks import results
from server import installation, stubs
from server.process import RunningServer, ServerOptions, free_port, running_server

_POINTS, _WIDTH, _HEIGHT = 133, 192, 256
_CONFIG = f"""name: "net" backend: "onnxruntime" max_batch_size: 32
input {{ name: "crops" data_type: TYPE_UINT8 dims: [{_HEIGHT},{_WIDTH},3] }}
output {{ name: "simcc_x" data_type: TYPE_FP32 dims: [{_POINTS},{2 * _WIDTH}] }}
output {{ name: "simcc_y" data_type: TYPE_FP32 dims: [{_POINTS},{2 * _HEIGHT}] }}
instance_group {{ kind: KIND_CPU count: 1 }}
dynamic_batching {{ preferred_batch_size: [8] }}
parameters {{ key: "intra_op_thread_count" value: {{ string_value: "1" }} }}
"""
_GRAPH = f"""<ir_version: 8, opset_import: ["": 17]>
null (uint8[batch,{_HEIGHT},{_WIDTH},3] crops)
  => (float[batch,{_POINTS},{2 * _WIDTH}] simcc_x, float[batch,{_POINTS},{2 * _HEIGHT}] simcc_y)
<int64[2] of_x = {{{_POINTS}, {2 * _WIDTH}}}, int64[2] of_y = {{{_POINTS}, {2 * _HEIGHT}}}, float one = {{1.0}}> {{
 rows = Shape<start=0,end=1>(crops)
 shape_x = Concat<axis=0>(rows, of_x)
 shape_y = Concat<axis=0>(rows, of_y)
 simcc_x = Expand(one, shape_x)
 simcc_y = Expand(one, shape_y)
}}"""


def main() -> None:
    """Measure and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", type=Path, nargs=2)
    parser.add_argument("--output", type=Path, default=results.FOLDER / "stand_in.json")
    options = parser.parse_args()
    found: dict[str, list[dict[str, float]]] = {name: [] for name in "AB"}
    with tempfile.TemporaryDirectory() as folder:
        repository = _repository(Path(folder) / "repository")
        for people, callers in ((1, 1), (3, 1), (3, 8)) * 5:
            for name, backends in zip("AB", options.folders, strict=True):
                installation._STAND_INS = backends
                with running_server(
                    ServerOptions(repository, grpc_port=free_port()), log=Path(folder) / "log"
                ) as server:
                    cost = _ms_per_person(server, people, callers)
                found[name].append({"people": people, "callers": callers, "ms_per_person": cost})
    result: dict[str, Any] = {
        "folders": [str(path) for path in options.folders],
        "processor_time_of_the_process": found,
    }
    results.write(options.output, result, profile="none")


def _repository(folder: Path) -> Path:
    (folder / "net" / "1").mkdir(parents=True)
    onnx.save(onnx.parser.parse_model(_GRAPH), folder / "net" / "1" / "model.onnx")
    (folder / "net" / "config.pbtxt").write_text(_CONFIG)
    return folder


def _ms_per_person(server: RunningServer, people: int, callers: int, requests: int = 320) -> float:
    crops = np.random.default_rng(0).integers(0, 255, (people, _HEIGHT, _WIDTH, 3), dtype=np.uint8)
    given = tritonclient.grpc.InferInput("crops", list(crops.shape), "UINT8").set_data_from_numpy(crops)
    (stub,) = stubs.stubs_of(server.process.pid)

    def ask(count: int) -> None:
        with tritonclient.grpc.InferenceServerClient(server.grpc_url) as client:
            for _ in range(count):
                client.infer("net", [given])

    def used_s(count: int) -> float:
        before = sum(times.run_s for times in stubs.thread_times(stub).values())
        threads = [threading.Thread(target=ask, args=(count // callers,)) for _ in range(callers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sum(times.run_s for times in stubs.thread_times(stub).values()) - before

    used_s(40)
    return 1000 * used_s(requests) / (requests * people)


if __name__ == "__main__":
    main()
