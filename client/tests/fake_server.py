"""A server that speaks the v2 protocol over real gRPC and answers by rule, so that tests need no network."""

import struct
import threading
from concurrent import futures
from dataclasses import dataclass, field

import grpc
import numpy as np
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

POINTS = {"pose": 133, "pose_a": 133, "pose_body": 17, "pose_crowd": 14, "pose_3d": 17}
OVERLOADED = (grpc.StatusCode.UNAVAILABLE, "Exceeds maximum queue size")
STOPPING = (grpc.StatusCode.NOT_FOUND, "Request for unknown model: 'pose' has no available versions")


@dataclass
class Request:
    """Content of one ModelInfer call."""

    model: str
    picture: bytes
    boxes: np.ndarray | None
    outputs: tuple[str, ...]
    parameters: dict[str, str]
    queue_us: int
    metadata: dict[str, str]


@dataclass
class FakeServer(service_pb2_grpc.GRPCInferenceServiceServicer):
    """Finds as many people as the picture's bytes say (`b"3"`); any other picture holds two.

    Attributes:
        failures: (status, message) to answer before the next requests, first to last.
        delay_s: seconds before each answer, or an event to wait for, or a function of the picture.
        max_boxes: limit of boxes in one request.
        closed: which of "model-repository" and "model-config" are not shown; behind the edge proxy, both.
        bottom_up: ensembles without a twin for given boxes.
        networks: the list of networks in the configuration, separated by commas; empty for no list.
        set_name: keypoint set in the configuration; empty for none.
        config_failures: (status, message) to answer before the next configurations.
        configs: ensembles whose configuration was requested.
        requests: the requests so far.
        most_at_once: largest number of concurrent requests.
    """

    failures: list[tuple[grpc.StatusCode, str]] = field(default_factory=list)
    delay_s: object = 0.0
    max_boxes: int = 32
    closed: tuple[str, ...] = ()
    bottom_up: tuple[str, ...] = ()
    networks: str = ""
    set_name: str = ""
    config_failures: list[tuple[grpc.StatusCode, str]] = field(default_factory=list)
    configs: list[str] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    most_at_once: int = 0
    url: str = ""
    _now: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def ModelInfer(self, message, context):
        request = _read(message, context)
        with self._lock:
            self.requests.append(request)
            failure = self.failures.pop(0) if self.failures else None
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
        try:
            self._wait(request.picture, context)
            if failure:
                context.abort(*failure)
            return self._answer(request, context)
        finally:
            with self._lock:
                self._now -= 1

    def _wait(self, picture, context):
        """Wait for the time of the answer; not longer than the caller."""
        delay = self.delay_s(picture) if callable(self.delay_s) else self.delay_s
        gone = threading.Event()
        if isinstance(delay, threading.Event):
            delay.wait(30)
        elif context.add_callback(gone.set):  # else the caller has gone already
            gone.wait(delay)

    def _answer(self, request, context):
        points = POINTS.get(request.model.replace("_from_boxes", ""))
        if points is None:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Request for unknown model: '{request.model}' is not found")
        if request.picture == b"no picture":
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the image is neither JPEG, PNG, WebP nor BMP")
        if request.boxes is not None and len(request.boxes) > self.max_boxes:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"at most {self.max_boxes} boxes, got {len(request.boxes)}")
        outputs = people(request, points)
        if "3d" in request.model:
            outputs["keypoints_3d"] = lifted(outputs["keypoints"])
        return _response(request, outputs)

    def ServerLive(self, message, context):
        return pb.ServerLiveResponse(live=True)

    def ServerMetadata(self, message, context):
        return pb.ServerMetadataResponse(name="triton", version="2.51.0")

    def RepositoryIndex(self, message, context):
        self._refuse_if_closed("model-repository", context)
        entry = pb.RepositoryIndexResponse.ModelIndex
        twins = {"pose_3d": "pose_3d_from_boxes"}
        names = ["decode_image", *POINTS]
        names += [twins.get(name, name.replace("pose", "pose_from_boxes")) for name in POINTS]
        return pb.RepositoryIndexResponse(models=[entry(name=name, state="READY") for name in names])

    def ModelMetadata(self, message, context):
        entry = pb.ModelMetadataResponse.TensorMetadata
        points = POINTS.get(message.name) or context.abort(grpc.StatusCode.NOT_FOUND, f"'{message.name}' is not found")
        outputs = [entry(name="keypoint_scores", datatype="FP32", shape=[-1, points])]
        return pb.ModelMetadataResponse(name=message.name, outputs=outputs)

    def ModelConfig(self, message, context):
        self.configs.append(message.name)
        self._refuse_if_closed("model-config", context)
        if self.config_failures:
            context.abort(*self.config_failures.pop(0))
        answer = pb.ModelConfigResponse()
        answer.config.parameters["network"].string_value = "network of " + message.name
        answer.config.parameters["max_persons"].string_value = str(self.max_boxes)
        kind = "bottom_up" if message.name in self.bottom_up else "lifted" if "3d" in message.name else "top_down"
        answer.config.parameters["kind"].string_value = kind
        if kind == "lifted":
            answer.config.parameters["keypoint_set_3d"].string_value = "human36m"
            answer.config.parameters["lifts_from"].string_value = "body"
        if self.set_name:
            answer.config.parameters["keypoint_set"].string_value = self.set_name
        if self.networks:
            answer.config.parameters["networks"].string_value = self.networks
        return answer

    def _refuse_if_closed(self, api, context):
        if api in self.closed:
            context.abort(grpc.StatusCode.UNAVAILABLE, "This protocol is restricted, expecting header 'admin-key'")

    def ServerReady(self, message, context):
        return pb.ServerReadyResponse(ready=True)

    def ModelReady(self, message, context):
        return pb.ModelReadyResponse(ready=message.name.replace("_from_boxes", "") in POINTS)


def people(request: Request, points: int) -> dict[str, np.ndarray]:
    """Return the outputs for a request; tests can compute every number."""
    boxes = request.boxes
    if boxes is None:
        count = int(request.picture) if request.picture.isdigit() else 2
        boxes = np.array([(10 * i, 20, 10 * i + 60, 200) for i in range(count)], np.float32).reshape(-1, 4)
        scores = np.linspace(0.9, 0.6, count, dtype=np.float32)
    else:
        scores = np.ones(len(boxes), np.float32)
    steps = np.linspace(0.1, 0.9, points, dtype=np.float32)
    corner, size = boxes[:, None, :2], boxes[:, None, 2:] - boxes[:, None, :2]
    keypoints = corner + size * np.stack([steps, steps[::-1]], axis=1)
    return {
        "bboxes": boxes.astype(np.float32),
        "bbox_scores": scores,
        "persons_detected": np.array([len(boxes)], np.int32),
        "keypoints": keypoints.astype(np.float32),
        "keypoint_scores": np.broadcast_to(steps, (len(boxes), points)),
    }


def lifted(keypoints: np.ndarray) -> np.ndarray:
    """Return the joints in space for keypoints (N, 17, 2)."""
    return np.dstack([keypoints * 0.01, keypoints[..., :1] * 0.001]).astype(np.float32)


def start(server: FakeServer, address: str = "127.0.0.1:0", credentials=None) -> grpc.Server:
    """Serve `server` on a free port, put its address in `server.url`, and return the handle that stops it."""
    handle = grpc.server(futures.ThreadPoolExecutor(16), options=[("grpc.so_reuseport", 0)])
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(server, handle)
    add = handle.add_insecure_port if credentials is None else lambda a: handle.add_secure_port(a, credentials)
    server.url = f"127.0.0.1:{add(address)}"
    handle.start()
    return handle


def _read(message, context) -> Request:
    tensors = dict(zip((tensor.name for tensor in message.inputs), message.raw_input_contents, strict=True))
    (length,) = struct.unpack_from("<I", tensors["image"])
    boxes = np.frombuffer(tensors["bboxes"], np.float32).reshape(-1, 4) if "bboxes" in tensors else None
    return Request(
        model=message.model_name,
        picture=tensors["image"][4 : 4 + length],
        boxes=boxes,
        outputs=tuple(output.name for output in message.outputs),
        parameters={name: value.string_param for name, value in message.parameters.items() if name != "timeout"},
        queue_us=message.parameters["timeout"].int64_param,
        metadata=dict(context.invocation_metadata()),
    )


def _response(request: Request, outputs: dict[str, np.ndarray]) -> pb.ModelInferResponse:
    answer = pb.ModelInferResponse(model_name=request.model)
    for name in request.outputs or outputs:
        kind = "INT32" if outputs[name].dtype == np.int32 else "FP32"
        answer.outputs.add(name=name, datatype=kind, shape=outputs[name].shape)
        answer.raw_output_contents.append(np.ascontiguousarray(outputs[name]).tobytes())
    return answer
