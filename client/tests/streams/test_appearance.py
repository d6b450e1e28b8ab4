"""Appearance: colours that tell people apart where places do not."""

import sys

import cv2
import numpy as np
import pytest
from cigpose_client import Poses
from cigpose_client.streams import appearance

from client.tests.streams.world import SHAPE, Stream, Walker, World, times

RED, BLUE, GREEN, GREY, WHITE = (30, 30, 200), (200, 60, 30), (40, 160, 40), (110, 110, 110), (240, 240, 240)


def turning_back(clothes, others):
    """Return two people who meet, are not found for 0.4 s, and turn back: their places say that they went on."""

    def found(time_s):
        return not 0.8 <= time_s < 1.2

    one = Walker(lambda time_s: 100 + 250 * min(time_s, 2 - time_s), present=found, clothes=clothes)
    other = Walker(lambda time_s: 640 - 250 * min(time_s, 2 - time_s), present=found, clothes=others)
    return World([one, other], noise=1.0)


def left_ids(world, encode=lambda image_bgr: image_bgr, **options):
    """Return the id of the left person in the first frame, and that in the last one."""
    stream, ids = Stream(world, **options), []
    for time_s in times(50):
        poses = stream.update(time_s, encode(world.picture(time_s)))
        if len(poses) == 2:
            ids.append(int(poses.track_ids[np.argmin(poses.bboxes[:, 0])]))
    return ids[0], ids[-1]


def png(image_bgr):
    return cv2.imencode(".png", image_bgr)[1].tobytes()


def grey(image_bgr):
    return cv2.cvtColor(image_bgr, cv2.COLOR_BGR2GRAY)


@pytest.mark.parametrize("encode", [lambda image_bgr: image_bgr, png])
@pytest.mark.parametrize("detect_every", [1, 5])
def test_people_in_other_clothes_keep_their_ids(encode, detect_every):
    first, last = left_ids(turning_back((RED, BLUE), (GREEN, WHITE)), encode, detect_every=detect_every)
    assert first == last


@pytest.mark.parametrize("clothes", [(RED, BLUE), (GREY, GREY)])
def test_people_in_the_same_clothes_are_told_apart_by_their_places(clothes):
    first, last = left_ids(turning_back(clothes, clothes))
    assert first != last


@pytest.mark.parametrize(("apart", "others", "kept"), [(160, False, True), (160, True, False), (90, True, False)])
def test_a_lost_person_is_found_again_by_clothes(apart, others, kept):
    """After 0.8 s, places alone reach 134 pixels."""
    person = Walker(lambda time_s: 100, present=lambda time_s: time_s < 0.8, clothes=(RED, BLUE))
    clothes = (GREEN, WHITE) if others else person.clothes
    returned = Walker(lambda time_s: 100 + apart, present=lambda time_s: time_s >= 1.6, clothes=clothes)
    world, ids = World([person, returned]), []
    stream = Stream(world)
    for time_s in times(50):
        world.walkers = [walker for walker in (person, returned) if walker.present(time_s)]
        ids += stream.update(time_s, world.picture(time_s)).track_ids.tolist()
    assert (ids[-1] == ids[0]) is kept


def test_without_appearance_only_places_count():
    first, last = left_ids(turning_back((RED, BLUE), (GREEN, WHITE)), appearance=False)
    assert first != last


def test_without_opencv_encoded_frames_are_not_compared_but_arrays_are(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    first, last = left_ids(turning_back((RED, BLUE), (GREEN, WHITE)), png)
    assert first != last
    first, last = left_ids(turning_back((RED, BLUE), (GREEN, WHITE)))
    assert first == last


def test_grey_pictures_are_compared_by_lightness():
    def encode(image_bgr):
        return png(grey(image_bgr))

    first, last = left_ids(turning_back((BLUE, BLUE), (WHITE, WHITE)), encode)
    assert first == last
    first, last = left_ids(turning_back((BLUE, BLUE), (BLUE, BLUE)), encode)
    assert first != last


def person(left, top, width=160.0, height=400.0):
    box = np.array([left, top, left + width, top + height])
    return box, SHAPE * (width, height) + (left, top)


def answer(*people, keypoints=17):
    boxes, points = (np.float32(part) for part in zip(*people, strict=True))
    scores = np.ones((len(boxes), keypoints), np.float32)
    name = "coco" if keypoints == 17 else ""
    return Poses(boxes, np.ones(len(boxes), np.float32), len(boxes), points[:, :keypoints], scores, set_name=name)


def test_the_picture_is_reduced_as_far_as_the_smallest_person_allows():
    image_bgr = np.zeros((480, 640, 3), np.uint8)
    for size, reduction in ((60, 1), (100, 2), (200, 4), (400, 8)):
        boxes = np.array([[0.0, 0, size, size], [0, 0, 500, 500]])
        for image in (image_bgr, png(image_bgr)):
            pixels = appearance.pixels_of(image, bytes(image), boxes)
            assert pixels.reduction == reduction
            assert pixels.image_bgr.shape == (480 // reduction, 640 // reduction, 3)
    assert not np.shares_memory(appearance.pixels_of(image_bgr, b"", boxes).image_bgr, image_bgr)


@pytest.mark.parametrize("picture", [b"", b"no picture", png(np.zeros((9, 9, 3), np.uint8))[:40]])
def test_what_opencv_cannot_read_is_not_compared(picture):
    assert appearance.pixels_of(picture, picture, np.array([[0.0, 0, 90, 90]])) is None


def test_the_same_clothes_in_less_light_look_more_alike_than_others():
    poses = answer(person(20, 20), person(220, 20), person(420, 20))
    image_bgr = np.full((440, 600, 3), 128, np.uint8)
    for column, clothes in ((0, RED), (200, [channel * 0.6 for channel in RED]), (400, GREEN)):
        image_bgr[:, column : column + 200] = clothes
    seen = appearance.looks(appearance.Pixels(image_bgr), poses)
    alike = appearance.alike(seen.colours, seen.clear, seen)
    np.testing.assert_allclose(np.diag(alike), 1.0)
    assert alike[0, 1] > 0 > alike[0, 2]


def test_what_another_person_may_cover_is_not_learned():
    alone, near = person(20, 20), person(100, 20)
    image_bgr = np.full((440, 600, 3), 128, np.uint8)
    known = appearance.looks(appearance.Pixels(image_bgr), answer(alone))
    seen = appearance.looks(appearance.Pixels(255 - image_bgr // 2), answer(alone, near))
    assert (known.clear > 0).all()
    assert (seen.clear[0] == 0).any()
    colours, weights = appearance.learned(
        known.colours, known.clear, seen.colours[:1], seen.clear[:1], np.array([np.inf])
    )
    kept = seen.clear == 0
    np.testing.assert_array_equal(colours[kept[:1]], known.colours[kept[:1]])
    np.testing.assert_array_equal(weights, known.clear)
    np.testing.assert_allclose(colours[~kept[:1]], seen.colours[:1][~kept[:1]])


def test_parts_out_of_the_picture_and_keypoints_without_limbs_do_not_count():
    image_bgr = np.zeros((440, 600, 3), np.uint8)
    outside = appearance.looks(
        appearance.Pixels(image_bgr), answer(person(20, 20), person(20, 2000), person(20, -1e30))
    )
    assert (outside.weights[0] > 0).all()
    assert (outside.weights[1:] == 0).all()
    assert np.isfinite(outside.colours).all()
    other = appearance.looks(appearance.Pixels(image_bgr), answer(person(20, 20), keypoints=5))
    assert other.weights.shape == (1, 6)
    assert not other.weights.any()
    assert not appearance.alike(other.colours, other.clear, outside).any()
