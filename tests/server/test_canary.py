import numpy as np
import pytest
from tritonclient.grpc import model_config_pb2
from tritonclient.utils import InferenceServerException, deserialize_bytes_tensor

from ensemble.steps.decode_image import PictureLimits, decode_picture
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
