"""A pose server without any cost: `python -m benchmarks.null_server` answers every request with the same three people.

It prints its address, and serves until it is terminated.
"""

import asyncio
import functools
from typing import Any

import grpc
import numpy as np
import numpy.typing as npt
from tritonclient.grpc import service_pb2, service_pb2_grpc

_PEOPLE, _KEYPOINTS = 3, 133


class NullServer(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    """The part of the v2 protocol that the gateway calls."""

    async def ModelInfer(self, request: Any, context: Any) -> Any:
        """Answer with three people."""
        return _answer()

    async def ServerMetadata(self, request: Any, context: Any) -> Any:
        """Return a name."""
        return service_pb2.ServerMetadataResponse(name="null", version="0")

    async def ModelMetadata(self, request: Any, context: Any) -> Any:
        """Return the number of keypoints."""
        scores = service_pb2.ModelMetadataResponse.TensorMetadata(
            name="keypoint_scores", datatype="FP32", shape=[-1, _KEYPOINTS]
        )
        return service_pb2.ModelMetadataResponse(name=request.name, outputs=[scores])


@functools.cache
def _answer() -> Any:
    generator = np.random.default_rng(0)
    corners = generator.uniform(0, 300, (_PEOPLE, 2))
    tensors: dict[str, npt.NDArray[Any]] = {
        "bboxes": np.hstack([corners, corners + 100]).astype(np.float32),
        "bbox_scores": np.array([0.9, 0.8, 0.7], np.float32),
        "keypoints": generator.uniform(0, 400, (_PEOPLE, _KEYPOINTS, 2)).astype(np.float32),
        "keypoint_scores": generator.uniform(0, 1, (_PEOPLE, _KEYPOINTS)).astype(np.float32),
        "persons_detected": np.array([_PEOPLE], np.int32),
    }
    answer = service_pb2.ModelInferResponse(model_name="pose")
    for name, array in tensors.items():
        datatype = "INT32" if array.dtype == np.int32 else "FP32"
        answer.outputs.add(name=name, datatype=datatype, shape=array.shape)
        answer.raw_output_contents.append(array.tobytes())
    return answer


async def main() -> None:
    """Serve on a free port of the loopback address."""
    server = grpc.aio.server()
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(NullServer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main())
