"""Properties that hold for any input, tested with hypothesis."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from ensemble.geometry import TopDownCrop
from ensemble.request_parameters import RequestParameters, parse_parameters
from ensemble.steps.accept_boxes import check_boxes
from ensemble.steps.decode_image import PictureLimits, PictureRefused, decode_picture
from ensemble.steps.decode_simcc import decode_simcc
from ensemble.steps.select_persons import select_persons

SIZES = st.sampled_from([(192, 256), (288, 384)])
pixels = st.floats(-5000, 5000, width=32)


@given(st.binary(max_size=200))
@settings(max_examples=300)
def test_any_bytes_are_a_picture_or_refused(encoded):
    limits = PictureLimits(max_bytes=150, max_pixels=1000)
    for start in (b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF....WEBPVP8X", b"RIFF....WEBPVP8L", b"BM"):
        try:
            image_bgr = decode_picture(start + encoded, limits)
        except PictureRefused as refusal:
            assert str(refusal).startswith("image: ")
            assert refusal.reason in ("bytes", "format", "pixels", "damaged")
        else:
            assert image_bgr.ndim == 3 and image_bgr.shape[2] == 3 and image_bgr.dtype == np.uint8


@given(left=pixels, top=pixels, width=st.floats(1, 4000, width=32), height=st.floats(1, 4000, width=32), size=SIZES)
def test_a_crop_holds_its_box_and_has_the_networks_aspect(left, top, width, height, size):
    box = np.array([[left, top, left + width, top + height]], np.float32)
    check_boxes(box)
    crop = TopDownCrop(size)
    centers, scales = crop.regions(box)
    assert np.isclose(scales[0, 0] / scales[0, 1], size[0] / size[1], rtol=1e-5)
    corners = np.array([[left, top, 1], [left + width, top + height, 1]], np.float32)
    in_crop = corners @ crop.warp_matrix(centers[0], scales[0]).T
    assert (in_crop > -1).all() and (in_crop < np.array(size) + 1).all()


@given(
    rows=st_numpy.arrays(np.float32, (3, 4, 24), elements=st.floats(-9, 9, width=32)),
    center=st_numpy.arrays(np.float32, (3, 2), elements=pixels),
    scale=st_numpy.arrays(np.float32, (3, 2), elements=st.floats(1, 4000, width=32)),
)
def test_keypoints_lie_in_their_crop_or_are_invalid(rows, center, scale):
    keypoints, scores = decode_simcc(rows, rows)
    in_picture = TopDownCrop.to_picture(keypoints, (24, 24), center, scale)
    inside = np.abs(in_picture - center[:, None]) <= scale[:, None] / 2 + 1e-2 * (1 + np.abs(center[:, None]))
    assert inside[scores > 0].all()
    assert (keypoints[scores <= 0] == -1).all()


@given(
    boxes=st_numpy.arrays(np.float32, (12, 4), elements=st.floats(0, 400, width=32)),
    scores=st_numpy.arrays(np.float32, 12, elements=st.floats(0, 1, width=32)),
    options=st.builds(RequestParameters, st.floats(0, 1), st.floats(0, 1), st.integers(1, 20)),
)
def test_selected_persons_are_candidates_in_order_within_the_limits(boxes, scores, options):
    persons = select_persons(boxes, scores, options)
    assert len(persons.bboxes) == len(persons.scores) == min(persons.detected, options.max_persons)
    assert (np.diff(persons.scores) <= 0).all()
    assert (persons.scores >= np.float32(options.bbox_threshold)).all()
    assert all((boxes == box).all(axis=1).any() for box in persons.bboxes)


anything = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.lists(st.integers()))


@given(
    st.dictionaries(st.sampled_from(["bbox_threshold", "nms_threshold", "max_persons", "typo", "timeout"]), anything)
)
def test_parameters_are_in_range_or_refused(given_parameters):
    try:
        options = parse_parameters(given_parameters, RequestParameters())
    except ValueError as error:
        assert "request parameter" in str(error)
    else:
        assert 0 <= options.bbox_threshold <= 1 and 0 <= options.nms_threshold <= 1
        assert 1 <= options.max_persons <= 10_000 and isinstance(options.max_persons, int)
