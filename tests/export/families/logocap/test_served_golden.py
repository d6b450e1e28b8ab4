"""W32 with the reference's weights, from an encoded picture to the final poses, through a real server."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs PyTorch")

from export.families.logocap.export import export_onnx
from export.repository import build_repository
from tests.pictures import encode
from tests.triton import call

pytestmark = [pytest.mark.torch, pytest.mark.server, pytest.mark.slow]


def test_the_server_answers_the_recorded_poses(published_logocap, fill_systems, shared, serve, tmp_path_factory):
    folder = tmp_path_factory.mktemp("w32")
    export_onnx(published_logocap, folder / "logocap-hrnet-w32-coco.onnx")
    build_repository([folder / "logocap-hrnet-w32-coco.onnx"], None, folder / "repository")
    golden = np.load(shared / "reference" / "logocap" / "golden_w32.npz")
    with serve(folder / "repository", profile="cpu") as server:
        for tag, suppressed in (("a", 2), ("b", 3)):
            image_rgb = fill_systems.make_image(f"logocap/{tag}", *golden[f"{tag}_image_hw"].tolist())
            answer = call(server, "pose", encode(np.ascontiguousarray(image_rgb[..., ::-1])))
            order = np.argsort(-golden[f"{tag}_final_score"], kind="stable")
            poses, scores = golden[f"{tag}_final_pose"][order], golden[f"{tag}_final_score"][order]
            assert answer["persons_detected"].tolist() == [len(golden[f"{tag}_centers"]) - suppressed]
            np.testing.assert_allclose(answer["bbox_scores"], scores, atol=1e-4)
            np.testing.assert_allclose(answer["keypoint_scores"], poses[..., 2], atol=1e-4)
            distances = np.linalg.norm(answer["keypoints"] - poses[..., :2], axis=2)
            assert (distances < 0.02).mean() > 0.95  # the other joints' highest values lie too close together
