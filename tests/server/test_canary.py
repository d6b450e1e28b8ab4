import numpy as np
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2
from tritonclient.utils import InferenceServerException, deserialize_bytes_tensor, triton_to_np_dtype

from ensemble.geometry import PaddedFit, TopDownCrop
from ensemble.networks import Coordinates, Detector, Heatmaps, SimCC
from ensemble.pipelines import pipelines
from ensemble.pipelines.bottom_up import BottomUpNetwork
from ensemble.pipelines.lifted import LiftingNetwork
from ensemble.pipelines.top_down import TopDownNetwork
from ensemble.steps import Request, load_step
from ensemble.steps.decode_heatmaps import DECODINGS, SEARCHES
from ensemble.steps.decode_image import PictureLimits, decode_picture
from ensemble.triton.model import Model
from ensemble.triton.pbtxt import config_text
from ensemble.triton.render import render
from server.canary import Verdict, canary_inputs, verdict


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("INVALID_ARGUMENT", Verdict.ALIVE),
        ("UNAVAILABLE", Verdict.LATE),
        ("DEADLINE_EXCEEDED", Verdict.LATE),
        ("INTERNAL", Verdict.BROKEN),
        ("NOT_FOUND", Verdict.BROKEN),
    ],
)
def test_overload_is_not_death(status, expected):
    assert verdict(None) is Verdict.ALIVE
    assert verdict(InferenceServerException("...", status=f"StatusCode.{status}")) is expected


def test_a_canary_is_made_from_the_configuration():
    config = model_config_pb2.ModelConfig(max_batch_size=8)
    config.input.add(name="crops", data_type="TYPE_UINT8", dims=[4, 3, 3])
    config.input.add(name="boxes", data_type="TYPE_FP32", dims=[-1, 4])
    config.input.add(name="fitted", data_type="TYPE_UINT8", dims=[-1, -1, 3])
    config.input.add(name="image", data_type="TYPE_STRING", dims=[1])
    crops, boxes, fitted, image = canary_inputs(config)
    assert (crops.shape(), crops.datatype(), crops._get_content()) == ([1, 4, 3, 3], "UINT8", b"\1" * 36)
    assert np.frombuffer(boxes._get_content(), np.float32).tolist() == [0, 0, 1, 1]
    assert fitted.shape() == [1, 64, 64, 3]
    (picture,) = deserialize_bytes_tensor(image._get_content())
    assert decode_picture(picture, PictureLimits()).shape == (1, 1, 3)


def models():
    """Return the models of every step, except those of the gate, whose inputs have fixed sizes."""
    maps = [Heatmaps((24, 32), decoding, search=search) for decoding in DECODINGS for search in SEARCHES]
    heads = [SimCC((192, 256)), Coordinates((24, 32)), *maps]
    networks = [TopDownNetwork(f"head-{i}", "coco", TopDownCrop((96, 128)), head) for i, head in enumerate(heads)]
    networks.append(TopDownNetwork("whole", "coco_wholebody", TopDownCrop((288, 384)), heads[0]))
    lifters = [LiftingNetwork(f"lift-{each}", "human36m", (96, 128), each) for each in ("head-0", "whole")]
    bottom_up = BottomUpNetwork("people", "coco", PaddedFit(128), candidates=30)
    offered = render(pipelines([*networks, *lifters, bottom_up], Detector((416, 416), 3549)))
    steps = [model for model in offered if isinstance(model, Model) and model.backend == "python"]
    return [step for step in steps if step.name not in ("admit_picture", "await_turn")]


@pytest.mark.parametrize("model", models(), ids=lambda model: model.name)
def test_every_step_answers_its_canary(model):
    tensors = {}
    for tensor in canary_inputs(text_format.Parse(config_text(model), model_config_pb2.ModelConfig())):
        content, dtype = tensor._get_content(), triton_to_np_dtype(tensor.datatype())
        flat = deserialize_bytes_tensor(content) if tensor.datatype() == "BYTES" else np.frombuffer(content, dtype)
        tensors[tensor.name()] = flat.reshape(tensor.shape())
    outputs = frozenset(tensor.name for tensor in model.outputs)
    answer = load_step(model.name, model.parameters).run(Request(tensors, {}, outputs))
    assert {name.removesuffix("_inner") for name in outputs} == answer.keys()
