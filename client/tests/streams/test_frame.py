"""Streams against people who move by rule: ids, detections, losses and seeks."""

from dataclasses import replace

import numpy as np
import pytest
from cigpose_client import ModelNotReady, RequestRejected, ServerUnavailable, Smoothing
from cigpose_client.streams.appearance import looks
from cigpose_client.streams.matching import associate
from cigpose_client.streams.options import StreamOptions

from client.tests.streams.world import WIDTH, Stream, Walker, World, times


def still(left=100.0, **fields):
    return Walker(lambda time_s: left, **fields)


def walking(start, speed, **fields):
    return Walker(lambda time_s: start + speed * time_s, **fields)


def lefts_by_id(poses):
    return {int(track): float(box[0]) for track, box in zip(poses.track_ids, poses.bboxes, strict=True)}


def test_ids_follow_people_whatever_the_order_of_the_answer():
    world = World([still(100), still(400), walking(700, 100)], noise=1.0, shuffled=True)
    stream = Stream(world)
    first = lefts_by_id(stream.update(0.0))
    for time_s in times(50)[1:]:
        poses = stream.update(time_s)
        assert poses.track_ids.dtype == np.int64
        now = lefts_by_id(poses)
        assert all(abs(now[track] - first[track]) < 250 for track in first)
        assert {person.track_id for person in poses} == set(first)


@pytest.mark.parametrize("detect_every", [1, 10])
def test_people_who_cross_keep_their_ids(detect_every):
    """The nearer one hides the other for half a second."""
    near, far = walking(100, 200), walking(700, -200)
    far.present = lambda time_s: abs(near.left(time_s) - far.left(time_s)) > 0.6 * WIDTH
    stream = Stream(World([near, far], noise=1.0), detect_every=detect_every)
    ids = [lefts_by_id(stream.update(time_s)) for time_s in times(75)]
    right = max(ids[0], key=ids[0].get)
    assert min(ids[-1], key=ids[-1].get) == right
    assert len(ids[-1]) == 2
    assert {track for frame in ids for track in frame} == set(ids[0])


def test_the_best_box_comes_first_between_detections():
    near, far = walking(100, 200), walking(500, -200)
    world = World([near, far])
    stream = Stream(world, detect_every=100)
    first = stream.update(0.0)
    stream.state = replace(stream.state, tracks=replace(stream.state.tracks, bbox_scores=np.array([0.6, 0.9])))
    poses = stream.update(0.04)
    assert poses.bbox_scores.tolist() == pytest.approx([0.9, 0.6])
    assert poses.track_ids.tolist() == first.track_ids.tolist()[::-1]
    lefts = [walker.left(0.04) for walker in (far, near)]
    np.testing.assert_allclose(poses.bboxes[:, 0], lefts, atol=10)
    assert [entry["track_id"] for entry in poses.to_coco(1)] == poses.track_ids.tolist()


def test_of_two_detections_of_a_person_the_better_one_keeps_the_id():
    world = World([still()])
    stream = Stream(world)
    poses = stream.update(0.0)
    box = poses.bboxes[0]
    narrow = box + np.float32([0.1 * WIDTH, 0, -0.1 * WIDTH, 0])
    twice = {name: np.repeat(getattr(poses, name), 2, axis=0) for name in ("keypoints", "keypoint_scores")}
    for scores, kept in (([0.6, 0.9], 1), ([0.9, 0.6], 0)):
        both = replace(
            poses, bboxes=np.stack([box, narrow]), bbox_scores=np.float32(scores), persons_detected=2, **twice
        )
        match = associate(stream.state.tracks, 1, both, looks(None, both), 0.04)
        assert list(zip(match.tracks, match.people, strict=True)) == [(0, kept)]


@pytest.mark.parametrize(("absent_s", "kept"), [(1.5, True), (2.5, False)])
def test_a_lost_person_keeps_the_id_for_a_while_and_no_id_is_used_twice(absent_s, kept):
    person = still(present=lambda time_s: not 1.0 <= time_s < 1.0 + absent_s)
    stream = Stream(World([person, still(500)]), max_lost_s=2.0)
    ids = [lefts_by_id(stream.update(time_s)) for time_s in times(100)]
    (before,) = [track for track, left in ids[0].items() if left == 100]
    (after,) = [track for track, left in ids[-1].items() if left == 100]
    assert (before == after) is kept
    assert len(ids[30]) == 1
    assert after == (before if kept else 3)


def test_two_streams_share_nothing():
    one, other = Stream(World([still(100)])), Stream(World([still(900), still(500)]))
    for time_s in times(5):
        assert one.update(time_s).track_ids.tolist() == [1]
        assert sorted(other.update(time_s + 7).track_ids.tolist()) == [1, 2]


@pytest.mark.parametrize("failure", [RequestRejected("no"), ServerUnavailable("gone")])
def test_a_frame_that_fails_changes_nothing(failure):
    def answers(fails_at):
        world = World([walking(100, 50), still(500)])
        stream, outcome = Stream(world, detect_every=4, smooth=True), []
        for index, time_s in enumerate(times(16)):
            if index == fails_at:
                world.failures = [failure]
                with pytest.raises(type(failure)):
                    stream.update(time_s)
            outcome.append(stream.update(time_s))
        return outcome

    for smooth, failed in zip(answers(None), answers(6), strict=True):
        np.testing.assert_array_equal(smooth.keypoints, failed.keypoints)
        np.testing.assert_array_equal(smooth.track_ids, failed.track_ids)


def test_the_detector_runs_in_every_nth_frame():
    world = World([still(100), still(400)])
    stream = Stream(world, detect_every=5)
    for time_s in times(11):
        poses = stream.update(time_s)
    assert world.asked == [None, 2, 2, 2, 2, None, 2, 2, 2, 2, None]
    np.testing.assert_allclose(poses.bbox_scores, 0.9)


@pytest.mark.parametrize("rate", [25, 50])
def test_detections_may_be_counted_in_seconds(rate):
    world = World([still()])
    stream = Stream(world, detect_every_s=0.2)
    for time_s in times(2 * rate + 1, rate):
        stream.update(time_s)
    assert world.asked.count(None) == 11


def test_without_detector_boxes_and_scores_are_those_of_the_detector():
    """A request's box is larger and ahead; the answer's is where the keypoints are."""
    world = World([walking(100, 100)])
    stream = Stream(world, detect_every=10)
    for time_s in times(10):
        poses = stream.update(time_s)
        np.testing.assert_allclose(poses.bboxes[0], world.walkers[0].box(time_s), atol=1.0)
        np.testing.assert_allclose(poses.bbox_scores, 0.9)


def test_a_falling_score_starts_the_detector_in_the_same_frame():
    gone = still(400, score=lambda time_s: 0.8 if time_s < 0.2 else 0.2, present=lambda time_s: time_s < 0.2)
    world = World([still(100), gone])
    stream = Stream(world, detect_every=100)
    found = [len(stream.update(time_s)) for time_s in times(10)]
    assert found == [2] * 5 + [1] * 5
    assert world.asked[:7] == [None, 2, 2, 2, 2, 2, None]


@pytest.mark.parametrize("rate", [25, 50])
def test_a_lost_person_is_looked_for_at_growing_intervals_for_as_long_as_the_id_lasts(rate):
    gone = still(400, present=lambda time_s: time_s < 0.2, score=lambda time_s: 0.8 if time_s < 0.2 else 0.2)
    world = World([still(100), gone])
    stream, detections = Stream(world, detect_every=1000, max_lost_s=1.0), []
    for frame, time_s in enumerate(times(3 * rate, rate)):
        asked = len(world.asked)
        stream.update(time_s)
        detections += [frame] * (None in world.asked[asked:])
    lost = rate // 5
    assert detections == [0, *(lost - 1 + 2**power for power in range(5 if rate == 25 else 6))]


def test_a_hidden_person_is_found_again_before_the_next_detection_is_due():
    hidden = still(400, present=lambda time_s: not 0.38 < time_s < 0.5, score=lambda time_s: 0.8)
    hidden.score = lambda time_s: 0.8 if hidden.present(time_s) else 0.2
    stream = Stream(World([still(100), hidden]), detect_every=100)
    found = [lefts_by_id(stream.update(time_s)) for time_s in times(20)]
    assert [len(people) for people in found] == [2] * 10 + [1] * 3 + [2] * 7
    assert {track for people in found for track in people} == {1, 2}


def test_a_person_with_the_keypoints_of_another_starts_the_detector():
    """The farther one's box shows the nearer one."""
    near, far = walking(100, 0), walking(200, -50)
    world = World([near, far])
    far.present = lambda time_s: far.left(time_s) > near.left(time_s) + 0.2 * WIDTH
    world._nearest = lambda box, time_s: near if abs(far.left(time_s) - 100) < 30 or box[0] < 110 else far
    stream = Stream(world, detect_every=1000)
    for time_s in times(60):
        poses = stream.update(time_s)
    assert len(poses) == 1
    assert world.asked.count(None) >= 2


def test_answers_that_keep_failing_are_not_asked_for_in_every_frame():
    world = World([still(100), still(150)])
    world._nearest = lambda box, time_s: world.walkers[0]
    stream = Stream(world, detect_every=10)
    for time_s in times(40):
        assert len(stream.update(time_s)) == 2
    assert len(world.asked) - world.asked.count(None) < 8


def test_while_nobody_is_known_the_detector_runs_in_every_frame():
    world = World([still(present=lambda time_s: time_s >= 60)])
    stream = Stream(world, detect_every=10)
    for time_s in times(1500):
        assert stream.update(time_s).keypoints.shape == (0, 17, 2)
    assert set(world.asked) == {None}
    assert stream.update(60.0).track_ids.tolist() == [1]


@pytest.mark.parametrize("smooth", [False, True])
def test_one_person_and_forty(smooth):
    for count in (1, 40):
        world = World([walking(60 * index, 20, top=50.0 + 3 * index) for index in range(count)], noise=0.5)
        stream = Stream(world, detect_every=3, smooth=smooth)
        first = lefts_by_id(stream.update(0.0))
        for time_s in times(25)[1:]:
            last = lefts_by_id(stream.update(time_s))
        assert {track: round(left) for track, left in last.items()} == pytest.approx(
            {track: left + 20 * 24 / 25 for track, left in first.items()}, abs=4
        )


@pytest.mark.parametrize("to_s", [0.0, 30.0])
def test_a_seek_begins_with_new_people_and_smears_nothing(to_s):
    world = World([still(100)])
    stream = Stream(world, detect_every=100, smooth=True)
    for time_s in times(50):
        before = stream.update(5 + time_s)
    world.walkers = [still(110)]
    after = stream.update(to_s)
    assert before.track_ids.tolist() == [1]
    assert after.track_ids.tolist() == [2]
    assert world.asked[-1] is None
    np.testing.assert_allclose(after.keypoints - before.keypoints, np.broadcast_to([10, 0], (1, 17, 2)), atol=1e-3)


@pytest.mark.parametrize("event", ["jump", "loss"])
def test_smoothing_never_smears_across_a_jump_or_a_loss(event):
    person = Walker(lambda time_s: 100.0 if time_s < 1 else 160.0 if event == "jump" else 110.0)
    person.present = lambda time_s: event == "jump" or not 0.9 < time_s < 1.2
    stream = Stream(World([person]), smooth=True)
    seen, speeds = {}, {}
    for time_s in times(50):
        seen[time_s] = stream.update(time_s)
        speeds[time_s] = stream.state.tracks.point_speeds
    assert not any(speed.any() for speed in speeds.values()), "a restarted filter has no speed yet"
    left = {time_s: float(poses.keypoints[0, 0, 0]) for time_s, poses in seen.items() if len(poses)}
    expected = {time_s: person.left(time_s) + 40 for time_s in left}
    assert left == pytest.approx(expected, abs=1e-3)
    assert set(np.concatenate([poses.track_ids for poses in seen.values()])) == {1}


def test_a_second_frame_of_the_same_time_is_answered_as_measured():
    world = World([still(100)])
    stream = Stream(world, smooth=True)
    stream.update(1.0)
    world.walkers = [still(120)]
    poses = stream.update(1.0)
    assert poses.track_ids.tolist() == [1]
    np.testing.assert_array_equal(poses.keypoints, world.poses(1.0, None).keypoints)


@pytest.mark.parametrize("apart_s", [0.0, 1e-6, 1e-4, 1e-3])
def test_frames_that_come_in_pairs_need_no_more_detections(apart_s):
    """Keypoints shake from one to the other; this is no speed."""
    world = World([walking(100, 50), walking(500, -20)], noise=1.0)
    stream = Stream(world, detect_every=10)
    for time_s in times(50):
        for later_s in (0.0, apart_s):
            assert sorted(stream.update(time_s + later_s).track_ids.tolist()) == [1, 2]
    assert world.asked.count(None) == 10


def test_an_exact_answer_that_rests_is_not_changed_by_smoothing():
    world = World([still(100)])
    stream = Stream(world, smooth=Smoothing(min_cutoff_hz=0.5))
    for time_s in times(9):
        poses = stream.update(time_s)
    np.testing.assert_array_equal(poses.keypoints, world.poses(0.0, None).keypoints)


def test_dropped_frames_change_neither_ids_nor_speed():
    world = World([walking(100, 150), walking(600, -150)], noise=0.5)
    stream, rng = Stream(world, detect_every=4, smooth=True), np.random.default_rng(0)
    kept = [time_s for time_s in times(100) if rng.random() < 0.6 or time_s == 0]
    ids = [lefts_by_id(stream.update(time_s)) for time_s in kept]
    assert ids[-1][1] > ids[0][1]
    assert set(ids[-1]) == {1, 2}


def test_a_bottom_up_network_detects_in_every_frame():
    world = World([still(100)], kind="bottom_up")
    stream = Stream(world, detect_every=10)
    for time_s in times(20):
        assert stream.update(time_s).track_ids.tolist() == [1]
    assert world.asked == [None] * 20


def test_a_server_without_the_ensemble_for_boxes_detects_in_every_frame():
    """A server may hide the kind of its network."""
    world = World([still(100)], kind="")
    stream = Stream(world, detect_every=10)
    stream.update(0.0)
    world.failures = [ModelNotReady("'pose_from_boxes_x' is not found")]
    for time_s in times(20)[1:]:
        stream.update(time_s)
    assert world.asked == [None, 1] + [None] * 19


def test_points_in_space_are_smoothed_in_metres():
    world = World([still(100)], noise=1.5, lifter=True)
    raw, smooth = (
        np.array([stream.update(time_s).keypoints_3d[0] for time_s in times(60)])
        for stream in (Stream(world), Stream(world, smooth=True))
    )
    acceleration = [np.abs(np.diff(points, 2, axis=0)).mean() for points in (raw, smooth)]
    assert acceleration[1] < 0.5 * acceleration[0]
    np.testing.assert_allclose(smooth.mean(axis=0), raw.mean(axis=0), atol=0.02)


def test_another_network_begins_with_new_people():
    world = World([still(100)])
    stream = Stream(world)
    stream.update(0.0)
    world.lifter = True
    assert stream.update(0.04).track_ids.tolist() == [2]


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"detect_every": 0}, "detect_every is 0; give a whole number of frames from 1 on"),
        ({"detect_every": 2.5}, "detect_every is 2.5"),
        ({"detect_every_s": 0}, "detect_every_s is 0; give a finite number above 0"),
        ({"detect_every_s": "0.5"}, "detect_every_s is '0.5'; give a finite number above 0"),
        ({"smooth": "yes"}, "smooth is 'yes'; give True, False or Smoothing"),
        ({"max_lost_s": -1}, "max_lost_s is -1; give seconds from 0 on"),
        ({"max_lost_s": None}, "max_lost_s is None; give seconds from 0 on"),
        ({"score_fall": 1}, "score_fall is 1; give a share"),
        ({"appearance": "yes"}, "appearance is 'yes'; give True or False"),
    ],
)
def test_options_are_checked(wrong, text):
    with pytest.raises(ValueError, match=text.replace("(", r"\(")):
        StreamOptions(**wrong)
