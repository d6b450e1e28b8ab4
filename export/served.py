"""The pose networks of a written repository: what their configs say, their files, and a running server's answers."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tritonclient.grpc
from cigpose_client import Tls
from cigpose_client._connection import transport_arguments
from google.protobuf import text_format
from numpy.typing import NDArray
from tritonclient.grpc import model_config_pb2
from tritonclient.utils import InferenceServerException

from export import graph_edit
from export.comparison import Rows, concatenated
from export.families.simcc import OUTPUTS

Crops = NDArray[np.uint8]  # (N, h, w, 3) BGR
Answer = Callable[[Crops], Rows]
_BATCH = 8
_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Served:
    """One pose network of a repository.

    Attributes:
        name: of the model.
        file: its ONNX model.
        input_size: (w, h) of a crop.
        max_batch_size: crops in one request.
        source: its provenance, as the config shows it.
    """

    name: str
    file: Path
    input_size: tuple[int, int]
    max_batch_size: int
    source: dict[str, str]

    def batches(self, crops: Crops) -> Iterator[Crops]:
        """Cut crops into batches that the model takes."""
        step = min(self.max_batch_size, _BATCH)
        for first in range(0, len(crops), step):
            yield crops[first : first + step]


def pose_networks(repository: Path) -> list[Served]:
    """Return the pose networks of a repository, by name.

    Raises:
        ValueError: there is none.
    """
    found = []
    for path in sorted(repository.glob("*/config.pbtxt")):
        config = text_format.Parse(path.read_text(encoding="utf-8"), model_config_pb2.ModelConfig())
        if config.backend == "onnxruntime" and [output.name for output in config.output] == list(OUTPUTS):
            height, width, _ = config.input[0].dims
            source = {key: value.string_value for key, value in config.parameters.items()}
            file = path.parent / "1" / "model.onnx"
            found.append(Served(config.name, file, (width, height), config.max_batch_size, source))
    if not found:
        raise ValueError(f"{repository} holds no pose network; write one with `python -m export repository`")
    return found


def onnx_answers(network: Served) -> Answer:
    """Return a function that runs the network's file in ONNX Runtime, in this process."""
    session = graph_edit.cpu_session(graph_edit.load(network.file))

    def answer(crops: Crops) -> Rows:
        return concatenated([tuple(session.run(OUTPUTS, {"crops": batch})) for batch in network.batches(crops)])

    return answer


def server_answers(network: Served, url: str, tls: Tls | None = None) -> Answer:
    """Return a function that asks the server at the gRPC address for the same.

    The function raises ValueError when the server does not answer (the message says why).

    Args:
        network: of the served repository.
        url: the server's gRPC address.
        tls: None for an unencrypted connection.

    Raises:
        OSError: a TLS file cannot be read.
    """
    arguments = transport_arguments(url, tls)

    def answer(crops: Crops) -> Rows:
        with tritonclient.grpc.InferenceServerClient(**arguments) as client:
            try:
                return concatenated([_ask(client, network.name, batch) for batch in network.batches(crops)])
            except InferenceServerException as error:
                raise ValueError(f"{network.name} at {url}: {error.message()}") from error

    return answer


def _ask(client: tritonclient.grpc.InferenceServerClient, name: str, crops: Crops) -> Rows:
    tensor = tritonclient.grpc.InferInput("crops", list(crops.shape), "UINT8")
    tensor.set_data_from_numpy(crops)
    result = client.infer(name, [tensor], client_timeout=_TIMEOUT_S)
    return result.as_numpy(OUTPUTS[0]), result.as_numpy(OUTPUTS[1])
