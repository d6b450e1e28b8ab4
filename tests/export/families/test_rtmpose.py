"""RTMPose files in the forms of MMPose's exporter: CIGPose's layers without intervention and graph network.

Source: MMPose's RTMCCHead; DWPose and RTMW share its outputs. The weights are constructed.
"""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch")

from export import graph_edit  # noqa: E402
from export.families import serve_pose_file  # noqa: E402
from export.families.top_down import MEAN, STD  # noqa: E402
from tests.networks import graph_of  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


class RtmPose(torch.nn.Module):
    def __init__(self, network):
        super().__init__()
        self.backbone, self.head = network.backbone, network.head

    def forward(self, crops):
        heatmaps = self.head.final_layer(self.backbone(crops)).flatten(2)
        features = self.head.gau(self.head.mlp(heatmaps))
        return self.head.cls_x(features), self.head.cls_y(features)


def save(network, path, names, batch, size):
    dynamic = {name: {0: "batch"} for name in ("input", *names)} if batch == "batch" else None
    torch.onnx.export(
        network,
        (torch.zeros(1, 3, size[1], size[0]),),
        path,
        input_names=["input"],
        output_names=list(names),
        dynamic_axes=dynamic,
        opset_version=11,  # as in files from MMDeploy
        dynamo=False,
    )
    return path


@pytest.mark.parametrize("batch", ["batch", "1"])
@pytest.mark.parametrize("names", [("simcc_x", "simcc_y"), ("output", "onnx_1188")])
@pytest.mark.parametrize("keypoint_set", ["coco", "coco_wholebody"])
def test_the_served_file_equals_pytorch(keypoint_set, names, batch, tiny_network, tmp_path):
    original = tiny_network(keypoint_set)
    network, size = RtmPose(original).eval(), original.variant.input_size
    with torch.no_grad():
        served = serve_pose_file(save(network, tmp_path / "rtmpose.onnx", names, batch, size))
        assert (served.model.keypoint_set, served.model.max_batch_size) == (keypoint_set, 32)
        crops = np.random.default_rng(0).integers(0, 256, (3, size[1], size[0], 3), np.uint8)
        rgb = torch.from_numpy(crops[..., ::-1].copy()).permute(0, 3, 1, 2).float()
        expected = network((rgb - torch.tensor(MEAN).reshape(3, 1, 1)) / torch.tensor(STD).reshape(3, 1, 1))
    answers = graph_edit.cpu_session(graph_of(served)).run(["simcc_x", "simcc_y"], {"crops": crops})
    for answer, original in zip(answers, expected, strict=True):
        np.testing.assert_allclose(answer, original, atol=1e-3 * float(original.std()))
