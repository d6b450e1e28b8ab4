"""Three networks of different input sizes and keypoint sets in one repository, under concurrent load."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from ensemble.triton.stored import run_here
from export.repository import build_repository
from tests import runtimes
from tests.in_process import InProcess
from tests.networks import save_detector, save_pose_network
from tests.pictures import encode, picture_with_persons
from tests.triton import call

pytestmark = pytest.mark.server

PICTURES = [encode(picture_with_persons([(12 * i + 3, 7 * i + 3) for i in range(n)], seed=n)) for n in (0, 1, 4)]
NETWORKS = {"whole-133": (133, (288, 384)), "body-17": (17, (192, 256)), "crowd-14": (14, (192, 256))}


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    folder, output = tmp_path_factory.mktemp("three"), tmp_path_factory.mktemp("three-repository")
    poses = [
        save_pose_network(folder / f"{name}.onnx", count, size, seed=count) for name, (count, size) in NETWORKS.items()
    ]
    build_repository(poses, save_detector(folder / "red_cells.onnx"), output)
    return output


@pytest.fixture(scope="module")
def three_server(three, serve):
    with serve(three, profile="cpu") as running:
        yield running


@pytest.mark.parametrize("network", ["", *(f"_{name}" for name in NETWORKS)])
@pytest.mark.parametrize("kind", ["pose", "pose_from_boxes"])
def test_both_runtimes_answer_the_same(three, three_server, kind, network):
    """Every pipeline of the repository, bit for bit, with any subset of its outputs."""
    run = run_here(three, kind + network)
    for case in runtimes.cases(three, kind + network, PICTURES):
        runtimes.check(three_server, case, run(wanted=case[2], **case[1]))


def test_no_pipeline_is_left_out(three):
    assert len(runtimes.pipelines(three)) == 2 * (1 + len(NETWORKS))


def test_each_answers_as_in_process_while_all_are_under_load(three, three_server):
    pictures = [encode(picture_with_persons([(4 * i + 3, 3 * i + 3) for i in range(n)], seed=n)) for n in range(4)]
    alone = {name: InProcess(three, name) for name in NETWORKS}
    work = [(name, picture) for name in NETWORKS for picture in pictures] * 3
    with ThreadPoolExecutor(len(work)) as pool:
        answers = list(pool.map(lambda item: call(three_server, f"pose_{item[0]}", item[1]), work))
    for (name, picture), answer in zip(work, answers, strict=True):
        bboxes, scores, keypoints, keypoint_scores, _ = alone[name].estimate(picture)
        assert answer["keypoints"].shape == (len(bboxes), NETWORKS[name][0], 2)
        np.testing.assert_array_equal(answer["bboxes"], bboxes)
        np.testing.assert_array_equal(answer["bbox_scores"], scores)
        np.testing.assert_array_equal(answer["keypoints"], keypoints)
        np.testing.assert_array_equal(answer["keypoint_scores"], keypoint_scores)


def test_the_default_is_the_first(three_server):
    picture = encode(picture_with_persons([(10, 10), (30, 20)]))
    bboxes = np.array([[0, 0, 99.5, 200], [50, 60, 300, 400.25]], np.float32)
    for default, named, given in (
        ("pose", "pose_whole-133", None),
        ("pose_from_boxes", "pose_from_boxes_whole-133", bboxes),
    ):
        answer, expected = (call(three_server, model, picture, given) for model in (default, named))
        for name in answer:
            np.testing.assert_array_equal(answer[name], expected[name])
