"""The network against the recorded stages of the official one, and what must hold for any weights."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch")

from ensemble.geometry import PaddedFit  # noqa: E402
from ensemble.steps.select_poses import distinct_poses  # noqa: E402
from export.families.logocap.export import example_picture, stages_of  # noqa: E402
from export.families.logocap.forms import FlipTested  # noqa: E402
from export.families.logocap.network import AttentiveNorm, LogoCap  # noqa: E402
from export.families.logocap.refinement import CONFIDENT, adapted, decoded, find_centers, sample  # noqa: E402
from export.families.logocap.variants import VARIANTS  # noqa: E402

pytestmark = pytest.mark.torch
TAGS = pytest.mark.parametrize("tag", ["a", "b"])


def close(found, expected):
    """Maps agree within 1e-3 of their largest value."""
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3 * np.abs(expected).max())


def entries_of(name):
    with torch.device("meta"):
        return [(entry, list(value.shape)) for entry, value in LogoCap(VARIANTS[name]).state_dict().items()]


def test_names_order_and_shapes_are_those_of_the_official_checkpoint(shared):
    recorded = json.loads((shared / "reference" / "logocap" / "w32.json").read_text())
    assert entries_of("logocap-hrnet-w32-coco") == [(name, shape) for name, shape in recorded]


@pytest.mark.parametrize("name", VARIANTS)
def test_sizes(name):
    with torch.device("meta"):
        network = LogoCap(VARIANTS[name])
    assert len(network.state_dict()) == 1873
    counts = [sum(value.numel() for value in part.parameters()) for part in (network, network.backbone)]
    whole, backbone = {"w32": (35.99, 29.31), "w48": (72.11, 65.33)}[name.split("-")[2]]
    assert [round(count / 1e6, 2) for count in counts] == [whole, backbone]
    assert VARIANTS[name].parameters == round(counts[0], -4)


@TAGS
def test_maps_equal_the_recorded_ones(golden_logocap, tag):
    maps, stages, recorded = golden_logocap(tag)
    close(stages.heatmaps[:, ::16, ::16], recorded["heatmaps_hr_s16"])
    close(maps.offsets[:, ::4, ::4], recorded["offsets_s4"])
    close(maps.embedding[:, ::8, ::8], recorded["embedding_s8"])


@TAGS
def test_centers_and_first_poses_equal_the_recorded_ones(golden_logocap, tag):
    _, stages, recorded = golden_logocap(tag)
    confident = stages.centers.confident
    assert len(confident) == len(recorded["centers"])
    found = torch.cat((stages.centers.points, stages.centers.scores[:, None]), 1)[confident]
    np.testing.assert_array_equal(found[:, :2], recorded["centers"][:, :2])
    np.testing.assert_allclose(found[:, 2], recorded["centers"][:, 2], atol=1e-4)
    np.testing.assert_allclose(stages.poses[confident], recorded["initial_pose"], atol=0.01)


@TAGS
def test_filters_and_moved_keypoints_equal_the_recorded_ones(golden_logocap, tag):
    _, stages, recorded = golden_logocap(tag)
    confident = stages.centers.confident
    close(stages.filters[:3], recorded["kam_first3"])
    people = [each[confident].numpy() for each in stages.people[:3]]
    positions, scores = recorded["pose_net"][..., :2], recorded["pose_net"][..., 2]
    decided = recorded["robust_joint"] & (scores > 0)
    assert decided.mean() > 0.5
    np.testing.assert_allclose(people[0][decided], positions[decided], atol=0.01)
    np.testing.assert_allclose(people[1], scores, atol=1e-4)
    np.testing.assert_allclose(people[2], recorded["score_net"], atol=1e-4)


@TAGS
def test_final_poses_equal_the_recorded_ones(golden_logocap, tag):
    _, stages, recorded = golden_logocap(tag)
    height, width = recorded["image_hw"].tolist()
    people = stages.people
    points = PaddedFit(512).to_picture(people.keypoints.numpy(), (width, height))
    scores = people.person_scores.numpy()
    found = np.flatnonzero((people.center_scores.numpy() >= CONFIDENT) & (scores > 0))
    kept = found[distinct_poses(points[found], scores[found])]
    np.testing.assert_allclose(scores[kept], recorded["final_score"], atol=1e-4)
    decided = recorded["robust_joint"][kept] & (recorded["final_pose"][..., 2] > 0)
    np.testing.assert_allclose(points[kept][decided], recorded["final_pose"][..., :2][decided], atol=0.01)


def test_candidates_without_a_confident_centre_get_no_scores(tiny_logocap):
    network = tiny_logocap()
    for bias, expected in ((0.0, None), (-1e3, 1)):
        with torch.no_grad():
            network.final_layer_cls.bias[-1] += bias
        stages = stages_of(FlipTested(network), example_picture(128, 192))
        count = len(stages.filters)
        assert count == expected or 1 < count < 30
        assert count == max(1, int((stages.people.center_scores >= CONFIDENT).sum()))
        assert not stages.people.keypoint_scores[count:].any()
    assert not stages.people.person_scores.any()


def test_a_mirrored_picture_gives_mirrored_maps(tiny_logocap):
    whole = FlipTested(tiny_logocap())
    picture = example_picture(128, 192)
    with torch.no_grad():
        seen, mirrored = whole.merged(picture), whole.merged(picture.flip(3))
    partners = whole.heat_channels
    torch.testing.assert_close(mirrored.heatmaps, seen.heatmaps[partners].flip(2))
    pairs = seen.offsets.unflatten(0, (17, 2))[partners[:17]].flip(3)
    torch.testing.assert_close(mirrored.offsets.unflatten(0, (17, 2)), pairs * torch.tensor([-1.0, 1]).reshape(2, 1, 1))


def test_the_maps_are_sampled_as_by_the_official_code():
    """Literal bilinear sampling: border values go on to the left and above, and fall to 0 at the last cell."""
    values = np.random.default_rng(0).normal(size=(2, 5, 7)).astype(np.float32)
    x = np.float32([-3, -0.4, 0, 1.25, 5.5, 6, 6.5, 7, 9])
    y = np.float32([-2, -0.1, 0.5, 3.75, 4, 4.25, 5, 8, 2])
    flat, size = torch.from_numpy(values).flatten(1), torch.tensor(values.shape[1:])
    found = sample(flat, torch.from_numpy(x)[None, None], torch.from_numpy(y)[None, None], size)[:, 0, 0]
    for row, at_y in enumerate(y):
        for column, at_x in enumerate(x):
            x0, y0 = (int(np.clip(np.floor(at), 0, last)) for at, last in ((at_x, 6), (at_y, 4)))
            x1, y1 = min(x0 + 1, 6), min(y0 + 1, 4)
            across = np.clip([x1 - at_x, at_x - x0], 0, 1)
            down = np.clip([y1 - at_y, at_y - y0], 0, 1)
            expected = down @ values[:, [y0, y1]][:, :, [x0, x1]] @ across
            np.testing.assert_allclose(found[:, row, column], expected, atol=1e-6)
    assert not found[:, :, 5].any()
    assert not found[:, 4].any()


def test_each_window_is_convolved_with_its_own_filter():
    generator = np.random.default_rng(0)
    windows, filters = generator.normal(size=(2, 3, 25, 25)), generator.uniform(size=(2, 3, 11, 11))
    found = adapted(torch.from_numpy(windows), torch.from_numpy(filters), 6).numpy()
    padded = np.pad(windows, ((0, 0), (0, 0), (5, 5), (5, 5)))
    expected = sum(
        padded[..., 10 - dy : 35 - dy, 10 - dx : 35 - dx] * filters[..., dy, dx, None, None]
        for dy in range(11)
        for dx in range(11)
    )
    np.testing.assert_allclose(found, expected / 121, atol=1e-12)


def test_keypoints_move_between_the_two_highest_values():
    window = torch.zeros(1, 1, 25, 25)
    window[0, 0, 12 + 3, 12 - 4], window[0, 0, 12 + 5, 12 + 4] = 0.8, 0.4
    moves, heights = decoded(window)
    assert moves[0, 0].tolist() == [0.75 * -4 + 0.25 * 4, 0.75 * 3 + 0.25 * 5]
    assert float(heights) == pytest.approx(0.75 * 0.8 + 0.25 * 0.4)
    assert not any(each.any() for each in decoded(torch.zeros(1, 1, 25, 25)))


def test_centers_are_the_highest_pixels_of_their_neighbourhood():
    center_map = torch.full((64, 64), -1.0)
    center_map[10, 20], center_map[10, 21], center_map[40, 5] = 0.6, 0.5, 0.3
    centers = find_centers(center_map)
    assert centers.points[:2].tolist() == [[20, 10], [5, 40]]
    assert centers.confident.tolist() == [0, 1]
    assert not centers.scores[2:].any()


def test_attentive_normalisation_is_that_of_each_sample():
    torch.manual_seed(0)
    norm = AttentiveNorm(6).eval()
    norm.running_mean.uniform_(-1, 1)
    norm.running_var.uniform_(0.5, 2)
    x = torch.randn(3, 6, 11, 11)
    with torch.no_grad():
        together = norm(x)
        torch.testing.assert_close(together, torch.cat([norm(each[None]) for each in x]))
        scaled = x.mean((2, 3)) * torch.rsqrt(x.var((2, 3)) + 1e-3)
        logits = scaled @ norm.attn_weights.attention[0].weight.flatten(1).T
        shares = torch.nn.functional.hardsigmoid(logits)
        plain = (x - norm.running_mean[:, None, None]) * torch.rsqrt(norm.running_var + 1e-5)[:, None, None]
        expected = (shares @ norm.weight_)[:, :, None, None] * plain + (shares @ norm.bias_)[:, :, None, None]
    torch.testing.assert_close(together, expected)
