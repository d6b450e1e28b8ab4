"""A bare caller of the v2 protocol, so that server tests do not depend on the project's client."""

import re
import time
import urllib.request
from queue import Queue

import numpy as np
import tritonclient.grpc
from tritonclient.utils import InferenceServerException


def call(server, model, encoded, bboxes=None, outputs=None, error=False, **parameters):
    """Send one picture; return arrays by output name, or with `error=True` the exception."""
    inputs = [image_input(encoded)]
    if bboxes is not None:
        inputs.append(boxes_input(bboxes))
    wanted = only(*outputs) if outputs else None
    with tritonclient.grpc.InferenceServerClient(server.grpc_url) as client:
        try:
            result = client.infer(model, inputs, outputs=wanted, parameters=parameters or None, client_timeout=60)
        except InferenceServerException as failure:
            if error:
                return failure
            raise
    assert not error, "the request should have been rejected"
    return arrays(result)


def image_input(encoded):
    """Return the input of an ensemble that carries one encoded picture."""
    image = tritonclient.grpc.InferInput("image", [1], "BYTES")
    image.set_data_from_numpy(np.array([encoded], dtype=object))
    return image


def boxes_input(bboxes):
    """Return the input of an ensemble that carries (N, 4) float32 boxes."""
    boxes = tritonclient.grpc.InferInput("bboxes", list(bboxes.shape), "FP32")
    boxes.set_data_from_numpy(bboxes)
    return boxes


def only(*outputs):
    """Return the argument that requests only these outputs."""
    return [tritonclient.grpc.InferRequestedOutput(name) for name in outputs]


def arrays(result):
    """Return an answer's arrays by output name."""
    answers = {output.name: output for output in result.get_response().outputs}
    dtypes = {"FP32": np.float32, "INT32": np.int32}
    return {
        name: result.as_numpy(name).astype(dtypes[output.datatype]).reshape(list(output.shape))
        for name, output in answers.items()
    }


def executions_of_a_crowd(server, model, largest, single, callers=8):
    """Return how many executions `callers` requests took that waited for a busy model together.

    Args:
        largest: inputs of a request of the largest batch, which cannot be merged and keeps an instance busy.
        single: inputs of each waiting request.
    """
    answers, busy = Queue(), 6
    before = counters(server, "nv_inference_exec_count")[model]
    with tritonclient.grpc.InferenceServerClient(server.grpc_url) as client:
        for _ in range(busy):
            client.async_infer(model, largest, lambda result, error: answers.put(error))
        while not _read_counters(server, "nv_inference_pending_request_count", "model")[model]:
            assert answers.qsize() < busy, "none of them has waited for an instance"
        for _ in range(callers):
            client.async_infer(model, single, lambda result, error: answers.put(error))
        assert [answers.get(timeout=60) for _ in range(busy + callers)] == [None] * (busy + callers)
    return int(counters(server, "nv_inference_exec_count")[model] - before) - busy


def counters(server, name, label="model"):
    """Return one of the server's counters, such as `nv_inference_exec_count`, by the value of a label ("" without it).

    Triton counts a request after answering it, so the counters are read until they no longer change.
    """
    values = _read_counters(server, name, label)
    while True:
        time.sleep(0.1)
        again = _read_counters(server, name, label)
        if again == values:
            return values
        values = again


def _read_counters(server, name, label):
    port = getattr(server, "metrics_port", None) or server.options.metrics_port
    lines = re.findall(rf"^{name}(?:{{(.*)}})? (\S+)$", _page(port), re.M)
    return {dict(re.findall(r'(\w+)="([^"]*)"', labels)).get(label, ""): float(value) for labels, value in lines}


def page_of_failures(metrics_port):
    """Return the page of metrics, when the failures on it no longer change."""
    failures = None
    while True:
        page = _page(metrics_port)
        before, failures = failures, re.findall(r"^nv_inference_request_failure.*", page, re.M)
        if failures == before:
            return page
        time.sleep(0.2)


def _page(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return answer.read().decode()
