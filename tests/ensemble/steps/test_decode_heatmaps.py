import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ensemble.geometry import TopDownCrop
from ensemble.networks import Heatmaps
from ensemble.steps import Request, load_step
from ensemble.steps.decode_heatmaps import DECODINGS, DecodeHeatmaps, decode_heatmaps, spanned_cells
from tests.ensemble.steps.record_heatmaps import KERNELS, RECORD, SIZE, example_boxes, example_heatmaps

WIDTH, HEIGHT = SIZE


def peak(x, y, sigma=2.0, width=WIDTH, height=HEIGHT):
    """One map (1, 1, h, w) with a Gaussian of height 1."""
    columns, rows = np.meshgrid(np.arange(width), np.arange(height))
    return np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2)).astype(np.float32)[None, None]


def decoded(heatmaps, decoding):
    return decode_heatmaps(heatmaps, decoding)[0][0, 0].tolist()


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("decoding", ["dark", "udp"])
def test_equal_to_mmpose(decoding, kernel):
    recorded, (centers, scales) = np.load(RECORD), example_boxes()
    keypoints, scores = decode_heatmaps(example_heatmaps(), decoding, kernel)
    placed = TopDownCrop.to_picture(keypoints, spanned_cells(WIDTH, HEIGHT, decoding), centers, scales)
    np.testing.assert_array_equal(scores, recorded[f"{decoding}{kernel}_scores"])
    np.testing.assert_allclose(placed, recorded[f"{decoding}{kernel}_in_picture"], rtol=0, atol=1e-4)  # float32


def official(heatmaps):
    """The official quarter offset, one map at a time."""
    found = np.zeros((*heatmaps.shape[:2], 2))
    for row in np.ndindex(heatmaps.shape[:2]):
        cells = heatmaps[row]
        y, x = divmod(int(cells.argmax()), WIDTH)
        if cells.max() <= 0:
            continue
        found[row] = x, y
        if 1 < x < WIDTH - 1 and 1 < y < HEIGHT - 1:
            found[row] += 0.25 * np.sign([cells[y, x + 1] - cells[y, x - 1], cells[y + 1, x] - cells[y - 1, x]])
    return found


def test_quarter_offset():
    heatmaps = example_heatmaps()
    keypoints, scores = decode_heatmaps(heatmaps, "quarter")
    np.testing.assert_array_equal(keypoints, official(heatmaps))
    np.testing.assert_array_equal(scores, heatmaps.max(axis=(2, 3)))
    assert (keypoints.dtype, scores.dtype) == (np.float32, np.float32)
    assert len(np.unique(keypoints % 1)) == 3  # whole cells at the border, and both quarters


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [
        (10.3, 9.8, [10.25, 9.75]),
        (10, 9, [10, 9]),  # equal neighbours: no offset
        (1.3, 9.3, [1, 9]),  # the second column has none, along either axis
        (10.3, 1.3, [10, 1]),
        (2.3, 2.3, [2.25, 2.25]),
        (WIDTH - 1.7, HEIGHT - 1.7, [WIDTH - 2 + 0.25, HEIGHT - 2 + 0.25]),
        (WIDTH - 1, 9.3, [WIDTH - 1, 9]),
    ],
)
def test_quarter_offset_stops_at_the_border(x, y, expected):
    assert decoded(peak(x, y), "quarter") == expected


def test_the_first_of_equal_maxima_wins():
    heatmaps = np.zeros((1, 1, 5, 5), np.float32)
    heatmaps[0, 0, 1, 3] = heatmaps[0, 0, 3, 1] = 1
    assert decoded(heatmaps, "quarter") == [3, 1]


@given(x=st.floats(4, WIDTH - 5), y=st.floats(4, HEIGHT - 5), height=st.floats(0.2, 1.5))
@pytest.mark.parametrize(("decoding", "tolerance"), [("quarter", 0.26), ("dark", 0.02), ("udp", 0.02)])
def test_a_peak_is_found_to_parts_of_a_cell(decoding, tolerance, x, y, height):
    keypoints, scores = decode_heatmaps(np.float32(height) * peak(x, y), decoding)
    assert np.abs(keypoints[0, 0] - [x, y]).max() < tolerance
    assert 0.93 * height < scores[0, 0] <= height * (1 + 1e-6)


@given(right=st.integers(-5, 5), down=st.integers(-8, 8))
@pytest.mark.parametrize("decoding", DECODINGS)
def test_moving_the_map_moves_the_keypoint(decoding, right, down):
    heatmaps = peak(11.4, 15.7, sigma=1.0)
    moved = np.roll(heatmaps, (down, right), (2, 3))
    expected = np.add(decoded(heatmaps, decoding), [right, down])
    np.testing.assert_allclose(decoded(moved, decoding), expected, atol=2e-3)


@pytest.mark.parametrize("decoding", DECODINGS)
def test_turning_the_map_turns_the_keypoint(decoding):
    heatmaps = example_heatmaps()[:1, 2:]
    turned = decode_heatmaps(np.ascontiguousarray(heatmaps.transpose(0, 1, 3, 2)), decoding)[0]
    np.testing.assert_allclose(turned[..., ::-1], decode_heatmaps(heatmaps, decoding)[0], atol=1e-3)


@pytest.mark.parametrize(("decoding", "nowhere"), [("quarter", 0), ("dark", -1), ("udp", -1)])
@pytest.mark.parametrize("top", [0.0, -0.5])
def test_a_maximum_that_is_not_positive_is_nowhere(decoding, nowhere, top):
    heatmaps = np.concatenate([peak(7, 7), np.full((1, 1, HEIGHT, WIDTH), top, np.float32)], axis=1)
    keypoints, scores = decode_heatmaps(heatmaps, decoding)
    np.testing.assert_allclose(keypoints, [[[7, 7], [nowhere, nowhere]]], atol=1e-4)
    assert scores.tolist() == [[1, top]]


@pytest.mark.parametrize("decoding", ["dark", "udp"])
def test_maps_that_cannot_be_refined_keep_their_cell(decoding):
    heatmaps = np.full((2, 1, HEIGHT, WIDTH), -1.0, np.float32)
    heatmaps[:, 0, 9, 8] = 0.1, np.float32(1e-38)  # blurred away
    keypoints, _ = decode_heatmaps(heatmaps, decoding)
    assert np.isfinite(keypoints).all()


@pytest.mark.parametrize("decoding", DECODINGS)
def test_the_given_maps_stay_as_they_are(decoding):
    heatmaps = example_heatmaps()
    decode_heatmaps(heatmaps, decoding)
    np.testing.assert_array_equal(heatmaps, example_heatmaps())


def test_what_is_refused():
    with pytest.raises(ValueError, match="unknown decoding 'offset'; known: quarter, dark, udp"):
        decode_heatmaps(example_heatmaps(), "offset")
    with pytest.raises(ValueError, match="must be odd, not 12"):
        decode_heatmaps(example_heatmaps(), "dark", 12)


@pytest.mark.parametrize("decoding", DECODINGS)
@pytest.mark.parametrize("persons", [0, 1, 3])
def test_the_step_answers_the_people_alone(decoding, persons):
    centers, scales = example_boxes()
    tensors = {
        "heatmaps": example_heatmaps()[: max(1, persons)],  # nobody: one black crop
        "centers": centers[:persons],
        "scales": scales[:persons],
    }
    answer = Heatmaps(SIZE, decoding).decoder.run(Request(tensors, {}, frozenset()))
    assert (answer["keypoints"].shape, answer["keypoint_scores"].shape) == ((persons, 17, 2), (persons, 17))
    expected = decode_heatmaps(example_heatmaps()[:persons], decoding)[0]
    span = np.subtract(SIZE, decoding == "udp")
    corner = centers[:persons, None] - 0.5 * scales[:persons, None]
    np.testing.assert_allclose(answer["keypoints"], corner + expected / span * scales[:persons, None], rtol=1e-5)


@pytest.mark.parametrize("decoding", DECODINGS)
def test_only_the_persons_box_is_searched(decoding):
    """A neighbour's peak, higher than the person's, lies in the crop, but beside the box."""
    box = np.array([[100, 200, 150, 300]], np.float32)
    centers, scales = TopDownCrop(SIZE, padding=3.0).regions(box)
    span = spanned_cells(WIDTH, HEIGHT, decoding)
    points = np.array([[[120, 260], [205, 260]]], np.float32)
    own, other = TopDownCrop.to_grid(points, span, centers, scales)[0]
    maps = np.maximum(peak(*own, sigma=1.0), 2 * peak(*other, sigma=1.0))
    tensors = {"heatmaps": maps, "centers": centers, "scales": scales, "person_boxes": box}

    def found(search):
        step = Heatmaps(SIZE, decoding, search=search).decoder
        answer = step.run(Request({each.name: tensors[each.name] for each in step.inputs}, {}, frozenset()))
        return answer["keypoints"][0, 0], answer["keypoint_scores"][0, 0]

    for search, point, height in (("crop", points[0, 1], 2), ("box", points[0, 0], 1)):
        keypoint, score = found(search)
        np.testing.assert_allclose(keypoint, point, atol=5)  # half a cell
        assert score == pytest.approx(height, rel=0.3)  # between cells


def test_nobody_has_no_box():
    nobody = {"centers": np.zeros((0, 2)), "scales": np.zeros((0, 2)), "person_boxes": np.zeros((0, 4))}
    tensors = {name: array.astype(np.float32) for name, array in nobody.items()} | {"heatmaps": peak(7, 7)}
    answer = Heatmaps(SIZE, "dark", search="box").decoder.run(Request(tensors, {}, frozenset()))
    assert (answer["keypoints"].shape, answer["keypoint_scores"].shape) == ((0, 1, 2), (0, 1))


def test_a_box_between_two_cells_is_searched_in_one():
    boxes = np.array([[5, 7, 5, 7.2], [0, 0, WIDTH, HEIGHT]], np.float32)
    maps = np.concatenate([np.full((1, 1, HEIGHT, WIDTH), 0.5, np.float32), peak(7, 9)])
    keypoints, scores = decode_heatmaps(maps, "quarter", boxes=boxes)
    assert (keypoints[:, 0].tolist(), scores[:, 0].tolist()) == ([[5, 7], [7, 9]], [0.5, 1])


def test_the_offset_moves_points_by_parts_of_a_cell():
    centers, scales = example_boxes()
    tensors = {"heatmaps": example_heatmaps()[:1], "centers": centers[:1], "scales": scales[:1]}
    plain, moved = (
        Heatmaps(SIZE, offset=offset).decoder.run(Request(tensors, {}, frozenset()))["keypoints"] for offset in (0, 0.5)
    )
    np.testing.assert_allclose(moved - plain, np.tile(scales[0] / SIZE / 2, (1, 17, 1)), rtol=1e-3)


def test_a_config_holds_all_that_the_step_needs():
    decoders = [
        Heatmaps(SIZE, *settings).decoder
        for settings in ((), ("dark",), ("dark", 17), ("udp",), ("dark", 11, "box", 0.5))
    ]
    assert [decoder.name for decoder in decoders] == [
        *("decode_heatmaps", "decode_heatmaps_dark", "decode_heatmaps_dark_blur17", "decode_heatmaps_udp"),
        "decode_heatmaps_dark_in_box_offset0.5",
    ]
    for decoder in decoders:
        step = f"{DecodeHeatmaps.__module__}:{DecodeHeatmaps.__qualname__}"
        assert load_step(decoder.name, {"step": step, **decoder.settings}) == decoder


@pytest.mark.parametrize("network", ["pose_resnet_50", "pose_resnet_101", "pose_hrnet_w32", "pose_hrnet_w48"])
def test_equal_to_the_official_decoder(shared, network):
    path = shared / "reference" / "graph_pcnn" / f"golden_stage1_{network}.npz"
    if not path.exists():
        pytest.skip("held back")
    golden = np.load(path)
    keypoints, scores = decode_heatmaps(golden["flip_merged"], "quarter")
    np.testing.assert_array_equal(keypoints, golden["coords_hm"])
    np.testing.assert_array_equal(scores, golden["maxval"][..., 0])
    width, height = golden["flip_merged"].shape[3], golden["flip_merged"].shape[2]
    centers, scales = (golden[name].astype(np.float32) for name in ("center", "scale"))
    placed = TopDownCrop.to_picture(keypoints, (width, height), centers, scales * 200)
    np.testing.assert_allclose(placed, golden["preds_image"], rtol=0, atol=0.01)
