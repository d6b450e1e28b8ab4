"""The adapter inside Triton's Python backend, with a small stand-in for `triton_python_backend_utils`."""

import json
import sys
import time
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest

from ensemble.steps import Step
from ensemble.tensors import Tensor


@dataclass(frozen=True)
class Double(Step):
    """Returns only the wanted outputs."""

    name: str = "double"
    inputs = (Tensor("number", "FP32", (1,)),)
    outputs = (Tensor("doubled", "FP32", (1,)), Tensor("tripled", "FP32", (1,)))

    def run(self, request):
        number = request.tensors["number"]
        outputs = {"doubled": number * 2, "tripled": number * 3}
        return {name: outputs[name] for name in outputs.keys() & request.wanted}


class TritonError(SimpleNamespace):
    INTERNAL, CANCELLED = 1, 2

    def __init__(self, message, code):
        super().__init__(message=message, code=code)


class FakeTensor(SimpleNamespace):
    def __init__(self, name, array):
        super().__init__(name=lambda: name, as_numpy=lambda: array)


@pytest.fixture(params=["keep"])
def adapter(monkeypatch, request):
    fake = ModuleType("triton_python_backend_utils")
    fake.Tensor, fake.Logger = FakeTensor, SimpleNamespace(log_error=print)
    fake.TritonError = TritonError
    fake.InferenceResponse = lambda tensors=(), error=None: SimpleNamespace(
        tensors=tensors, error=error, has_error=lambda: error is not None
    )
    monkeypatch.setitem(sys.modules, fake.__name__, fake)
    monkeypatch.delitem(sys.modules, "ensemble.triton.python_step", raising=False)
    from ensemble.triton.python_step import TritonPythonModel

    model = TritonPythonModel()
    parameters = {"step": f"{__name__}:Double", "ticket": request.param}
    config = {"name": "double", "parameters": {key: {"string_value": value} for key, value in parameters.items()}}
    model.initialize({"model_config": json.dumps(config)})
    yield model
    sys.modules.pop("ensemble.triton.python_step")


def execute(adapter, asked, is_cancelled=False):
    request = SimpleNamespace(
        inputs=lambda: [FakeTensor("number", np.float32([4])), FakeTensor("ticket", np.int64([7, 9]))],
        parameters=lambda: "",
        requested_output_names=lambda: list(asked),
        timeout=lambda: 0,
        is_cancelled=lambda: is_cancelled,
    )
    (response,) = adapter.execute([request])
    return response


def respond(adapter, *asked):
    response = execute(adapter, asked)
    return {tensor.name(): tensor.as_numpy().tolist() for tensor in response.tensors}


def test_a_step_returns_the_requested_output_only(adapter):
    assert respond(adapter, "tripled") == {"tripled": [12]}


def test_requesting_a_copy_returns_the_tensor_and_its_copy(adapter):
    assert respond(adapter, "doubled_inner") == {"doubled": [8], "doubled_inner": [8]}


@pytest.mark.parametrize(("adapter", "hang_ups"), [("leave", [[7, 9]]), ("keep", [])], indirect=["adapter"])
def test_the_last_step_tells_the_gate_of_a_caller_that_hung_up(adapter, hang_ups, monkeypatch):
    told = []
    monkeypatch.setattr("ensemble.triton.python_step.hang_up", lambda ticket: told.append(ticket.tolist()))
    response = execute(adapter, ["doubled"], is_cancelled=True)
    assert told == hang_ups
    assert response.has_error() == bool(hang_ups)


class FakeFamily:
    COUNTER = "counter"
    told: ClassVar[list] = []

    def __init__(self, name, description, kind):
        self._name = name

    def Metric(self, labels):
        return SimpleNamespace(increment=lambda amount: self.told.append((self._name, labels, amount)))


def test_counters_are_told_together_within_a_second(adapter, monkeypatch):
    module = sys.modules["ensemble.triton.python_step"]
    monkeypatch.setattr(module.pb_utils, "MetricFamily", FakeFamily, raising=False)
    monkeypatch.setattr(FakeFamily, "told", [])
    counters = module._Counters({"people": "", "refused": ""})
    for amount, reason in ((2, "a"), (0, "b"), (1, "b")):
        counters.add("people", amount)
        counters.add("refused", reason=reason)
    assert not FakeFamily.told
    give_up = time.monotonic() + 10
    while not FakeFamily.told and time.monotonic() < give_up:
        time.sleep(0.01)
    counters.tell()  # the timer may still be telling; nothing is told twice
    time.sleep(0.1)
    expected = [("people", {}, 3), ("refused", {"reason": "a"}, 1), ("refused", {"reason": "b"}, 2)]
    assert sorted(FakeFamily.told, key=str) == expected


def test_the_last_counts_are_told_when_the_model_is_unloaded(adapter, monkeypatch):
    module = sys.modules["ensemble.triton.python_step"]
    monkeypatch.setattr(module.pb_utils, "MetricFamily", FakeFamily, raising=False)
    monkeypatch.setattr(FakeFamily, "told", [])
    adapter._counters = module._Counters({"people": ""})
    adapter._counters.add("people", 2)
    adapter.finalize()
    assert FakeFamily.told == [("people", {}, 2)]
