"""The server's keypoints for a photo and boxes equal those of the reference implementation.

The network has the official architecture and the weights of the reference data. A keypoint must equal the reference one
wherever the margin of the latter (best bin over second best) exceeds twice the tolerance of the logits.
"""

import numpy as np
import pytest

from export.repository import build_repository
from tests.in_process import InProcess
from tests.networks import save_detector
from tests.triton import call

pytestmark = [pytest.mark.server, pytest.mark.torch]

TOLERANCE = 5e-3  # float32 rounding of a deep network, with some room; the logits have a standard deviation of about 7
CASES = {"m_wholebody": "cigpose-m_coco-wholebody_256x192", "m_crowdpose": "cigpose-m_crowdpose_256x192"}


@pytest.fixture(scope="module")
def golden_repository(shared, fill, tmp_path_factory):
    """A repository of both networks, exported from checkpoints with the command."""
    import torch

    from export.__main__ import main
    from export.families.cigpose.network import build
    from export.families.cigpose.variants import VARIANTS

    folder = tmp_path_factory.mktemp("golden")
    for name in CASES.values():
        entries = [(key, tuple(v.shape), str(v.dtype)[6:]) for key, v in build(VARIANTS[name]).state_dict().items()]
        filled = {key: torch.from_numpy(np.asarray(value)) for key, value in fill.fill_state_dict(entries).items()}
        torch.save({"state_dict": filled}, folder / f"{name}.pth")
        command = [
            "onnx",
            "--variant",
            name,
            "--checkpoint",
            f"{folder}/{name}.pth",
            "--output",
            f"{folder}/{name}.onnx",
        ]
        assert main(command) == 0
    output = tmp_path_factory.mktemp("golden-repository")
    build_repository([folder / f"{n}.onnx" for n in CASES.values()], save_detector(folder / "d.onnx"), output)
    return output


@pytest.fixture(scope="module")
def golden_server(golden_repository, serve):
    with serve(golden_repository, profile="cpu") as running:
        yield running


@pytest.mark.parametrize("case", CASES)
def test_keypoints_equal_the_reference(shared, golden_server, case):
    golden = np.load(shared / "reference" / f"e2e_000000000785_{case}.npz")
    photo = (shared / "data" / "coco_sample" / "000000000785.jpg").read_bytes()
    answer = call(golden_server, f"pose_from_boxes_{CASES[case]}", photo, golden["boxes"])
    sure = np.stack([golden["margin_x"], golden["margin_y"]], axis=2) > 2 * TOLERANCE
    # a keypoint whose score makes it invalid differs in both coordinates
    assert sure.mean() > 0.95
    np.testing.assert_array_equal(answer["keypoints"][sure], golden["keypoints_plain"][sure])
    np.testing.assert_allclose(answer["keypoint_scores"], golden["scores_plain"], atol=TOLERANCE)


@pytest.mark.parametrize("case", CASES)
def test_served_keypoints_equal_the_in_process_ones(shared, golden_server, golden_repository, case):
    golden = np.load(shared / "reference" / f"e2e_000000000785_{case}.npz")
    photo = (shared / "data" / "coco_sample" / "000000000785.jpg").read_bytes()
    answer = call(golden_server, f"pose_from_boxes_{CASES[case]}", photo, golden["boxes"])
    keypoints, scores = InProcess(golden_repository, CASES[case]).estimate_boxes(photo, golden["boxes"])
    np.testing.assert_array_equal(answer["keypoints"], keypoints)
    np.testing.assert_array_equal(answer["keypoint_scores"], scores)


@pytest.mark.parametrize("case", CASES)
def test_batch_composition_changes_rounding_only(shared, golden_server, case):
    """docs/contract.md, Equality: the composition of a batch changes logits by rounding only."""
    golden = np.load(shared / "reference" / f"e2e_000000000785_{case}.npz")
    photo = (shared / "data" / "coco_sample" / "000000000785.jpg").read_bytes()
    together = call(golden_server, f"pose_from_boxes_{CASES[case]}", photo, golden["boxes"])
    for row, box in enumerate(golden["boxes"]):
        alone = call(golden_server, f"pose_from_boxes_{CASES[case]}", photo, box[None])
        sure = np.stack([golden["margin_x"][row], golden["margin_y"][row]], axis=1) > 2 * TOLERANCE
        np.testing.assert_array_equal(alone["keypoints"][0][sure], together["keypoints"][row][sure])
        np.testing.assert_allclose(alone["keypoint_scores"][0], together["keypoint_scores"][row], atol=TOLERANCE)
