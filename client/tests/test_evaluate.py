import contextlib
import copy
import io
import itertools
import json
import sys

import numpy as np
import pytest
from cigpose_client import Poses, keypoint_sets
from cigpose_client.__main__ import main
from cigpose_client.evaluation import (
    Dataset,
    evaluate,
    keypoint_similarities,
    load_dataset,
    published,
    without_duplicates,
)
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from client.tests.fake_server import FakeServer, Request, people

FIELDS = ("keypoints", "foot_kpts", "face_kpts", "lefthand_kpts", "righthand_kpts")
SIZES = (17, 6, 68, 21, 21)
FIRST_SIX = ("AP", "AP50", "AP75", "APM", "APL", "AR")  # of pycocotools' statistics


def annotation(number, image, keypoints, **changes):
    """One person of 100 x 200 pixels with visible keypoints; 133 of them in COCO-WholeBody's fields."""
    flat = np.column_stack([keypoints, np.full(len(keypoints), 2)]).ravel().tolist()
    ends = [3 * end for end in itertools.accumulate(SIZES)]
    fields = {"keypoints": flat}
    if len(keypoints) == 133:
        fields = {name: flat[end - 3 * size : end] for name, end, size in zip(FIELDS, ends, SIZES, strict=True)}
    common = {"id": number, "image_id": image, "category_id": 1, "iscrowd": 0, "area": 9000.0}
    return common | {"bbox": [10, 20, 100, 200], "num_keypoints": len(keypoints)} | fields | changes


def result(person, score=0.9, shift=0.0):
    move = np.array([shift, 0, 0])
    moved = {name: (np.reshape(person[name], (-1, 3)) + move).ravel().tolist() for name in FIELDS if name in person}
    return {"image_id": person["image_id"], "category_id": 1, "score": score} | moved


def dataset(points, count=3):
    random = np.random.default_rng(points)
    images = [
        {"id": number, "file_name": f"{number}.jpg", "width": 640, "height": 480, "crowdIndex": crowd}
        for number, crowd in zip(range(1, count + 1), itertools.cycle([0.15, 0.5, 0.9]))
    ]
    annotations = [annotation(7 * image["id"], image["id"], random.uniform(10, 200, (points, 2))) for image in images]
    return Dataset(images, annotations)


def set_of(points):
    return next(known for known in keypoint_sets().values() if len(known) == points)


def one_point(shift):
    """A person with one labelled keypoint (the nose), and a result that misses it by `shift` pixels."""
    data = dataset(17, 1)
    (person,) = data.people
    person["keypoints"] = person["keypoints"][:3] + [0, 0, 0] * 16
    return data, [result(person, shift=shift)]


def by_pycocotools(data, results):
    """The first six statistics of pycocotools, with unchanged annotations and results."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        categories = [{"id": 1, "name": "person"}]
        truth.dataset = {"images": data.images, "annotations": data.people, "categories": categories}
        truth.createIndex()
        direct = COCOeval(truth, truth.loadRes(copy.deepcopy(results)), "keypoints")
        direct.evaluate()
        direct.accumulate()
        direct.summarize()
    return direct.stats[:6].tolist()


@pytest.mark.parametrize(
    ("points", "rows"),
    [
        (17, ["body"]),
        (14, ["all", "easy", "medium", "hard"]),
        (133, ["body", "foot", "face", "left_hand", "right_hand", "hand", "whole"]),
    ],
)
def test_the_truth_as_prediction_is_perfect(points, rows):
    data = dataset(points)
    metrics = evaluate(data, [result(person) for person in data.people], set_of(points))
    assert list(metrics) == rows
    assert [row["AP"] for row in metrics.values()] == pytest.approx([1.0] * len(metrics))


@pytest.mark.parametrize(("similarity", "ap"), [(0.99, 1.0), (0.72, 0.5), (0.52, 0.1), (0.49, 0.0)])
def test_a_known_similarity_gives_the_ap_computed_by_hand(similarity, ap):
    """One keypoint of sigma s, missed by d: similarity = exp(-d^2 / ((2 s)^2 * area * 2)); AP is the share of the ten
    thresholds 0.50, 0.55, ... 0.95 that it reaches."""
    sigma = set_of(17).sigmas[0]
    shift = np.sqrt(-np.log(similarity) * (2 * sigma) ** 2 * 9000.0 * 2)
    data, results = one_point(shift)
    assert evaluate(data, results, set_of(17))["body"]["AP"] == pytest.approx(ap)


def test_a_wrong_person_lowers_ap_as_computed_by_hand():
    """Right, wrong, right by score: precision 1 up to recall 0.5 (51 of 101 points), then 2/3."""
    data = dataset(17, 2)
    first, second = data.people
    results = [result(first, 0.9), result(first, 0.8, shift=500.0), result(second, 0.7)]
    assert evaluate(data, results, set_of(17))["body"]["AP"] == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_parts_without_keypoints_are_not_counted():
    data = dataset(133, 2)
    for person in data.people:
        person["face_kpts"] = [0.0] * 3 * 68
    metrics = evaluate(data, [result(person) for person in data.people], set_of(133))
    assert metrics["face"]["AP"] == -1
    assert metrics["body"]["AP"] == pytest.approx(1.0)


def test_fields_that_a_person_lacks_are_not_labelled():
    data = dataset(133, 2)
    del data.people[0]["foot_kpts"]
    for person in data.people:
        del person["face_kpts"]
    metrics = evaluate(data, [result(person) for person in dataset(133, 2).people], set_of(133))
    assert metrics["face"]["AP"] == -1
    assert (metrics["foot"]["AP"], metrics["whole"]["AP"]) == pytest.approx((1.0, 1.0))


@pytest.mark.parametrize("index", [None, "x"])
def test_without_crowd_index_all_pictures_are_evaluated(index):
    data = dataset(14)
    data.images[0]["crowdIndex"] = index
    for person in data.people:
        del person["num_keypoints"]
    metrics = evaluate(data, [result(person) for person in data.people], set_of(14))
    assert list(metrics) == ["all"] and metrics["all"]["AP"] == pytest.approx(1.0)


def test_a_person_with_another_number_of_keypoints_is_named():
    data = dataset(17)
    data.people[1]["keypoints"] = [1.0, 2.0, 2.0] * 14
    with pytest.raises(ValueError, match="annotation 14 has 14 keypoints; 17 are expected"):
        evaluate(data, [], set_of(17))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_id": [1]}, r"image_id of annotation 7 must be one number or text, is \[1\]"),
        ({"bbox": [1, 2, 3]}, r"bbox of annotation 7 must be four finite numbers, is \[1, 2, 3\]"),
        ({"bbox": [1, 2, 3, float("nan")]}, "bbox of annotation 7 must be four finite numbers"),
        ({"keypoints": None}, "keypoints of annotation 7 must be numbers, x, y, visibility of each keypoint, is null"),
        ({"keypoints": ["a"] * 51}, "keypoints of annotation 7 must be numbers"),
        ({"foot_kpts": [1, 2]}, "foot_kpts of annotation 7 must be numbers"),
    ],
)
def test_a_wrong_annotation_is_named(tmp_path, change, message):
    data = dataset(17)
    data.people[0] |= change
    path = tmp_path / "truth.json"
    path.write_text(json.dumps({"images": data.images, "annotations": data.people}))
    with pytest.raises(ValueError, match=f"truth.json is no annotation file in COCO's format: {message}"):
        load_dataset(str(path))


def test_a_person_without_a_box_is_named(tmp_path):
    data = dataset(17)
    del data.people[2]["bbox"]
    path = tmp_path / "truth.json"
    path.write_text(json.dumps({"images": data.images, "annotations": data.people}))
    with pytest.raises(ValueError, match="bbox of annotation 21 must be four finite numbers, is missing"):
        load_dataset(str(path))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"annotations": None}, "annotations must be a list, is null"),
        ({"images": [{"id": 1, "file_name": 5}]}, "an image needs one id and the name of a file"),
    ],
)
def test_other_content_is_named(tmp_path, change, message):
    path = tmp_path / "truth.json"
    path.write_text(json.dumps({"images": [], "annotations": []} | change))
    with pytest.raises(ValueError, match=message):
        load_dataset(str(path))


def test_annotations_of_another_set_are_refused():
    with pytest.raises(ValueError, match="no keypoints of the set crowdpose"):
        evaluate(dataset(17), [], set_of(14))


def test_no_results_give_zero():
    assert evaluate(dataset(17), [], set_of(17))["body"]["AP"] == 0


def test_pycocotools_missing_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocotools.coco", None)
    with pytest.raises(ModuleNotFoundError, match=r"cigpose-client\[evaluate\]"):
        evaluate(dataset(17), [], set_of(17))


def test_similarity_equals_that_of_pycocotools():
    rng = np.random.default_rng(0)
    truth = np.column_stack((rng.uniform(0, 100, (17, 2)), rng.integers(0, 3, 17)))
    found = (truth[:, :2] + rng.normal(0, 3, (17, 2))).astype(np.float32)
    labelled, known = truth[:, 2] > 0, keypoint_sets()["coco"]
    run = COCOeval(iouType="keypoints")
    person = {"keypoints": truth.ravel().tolist(), "area": 3000.0, "num_keypoints": int(labelled.sum())}
    run._gts[1, 1] = [person | {"bbox": [0, 0, 100, 100], "ignore": 0, "iscrowd": 0}]
    run._dts[1, 1] = [{"keypoints": np.column_stack((found, np.ones(17))).ravel().tolist(), "score": 1.0}]
    each = keypoint_similarities(found, truth[:, :2], 3000.0, known.sigmas)
    assert each[labelled].mean() == pytest.approx(run.computeOks(1, 1).item(), abs=1e-6)


def test_duplicates_lose_to_the_better_score():
    random = np.random.default_rng(1)
    keypoints = random.uniform(0, 100, (1, 17, 2))
    everybody = Poses(
        bboxes=np.array([[0, 0, 100, 100]] * 3, np.float32),
        bbox_scores=np.array([0.5, 0.9, 0.7], np.float32),
        persons_detected=3,
        keypoints=np.concatenate([keypoints, keypoints + 0.1, keypoints + 50]).astype(np.float32),
        keypoint_scores=np.ones((3, 17), np.float32),
    )
    kept = without_duplicates(everybody)
    np.testing.assert_allclose(kept.bbox_scores, [0.9, 0.7])


def test_annotated_boxes_are_clipped_and_crowds_dropped(tmp_path):
    data = dataset(17, 1)
    (person,) = data.people
    others = [person | {"iscrowd": 1}, person | {"keypoints": [0] * 51}, person | {"bbox": [-5, 400, 900, 200]}]
    boxes = Dataset(data.images, [person, *others]).ground_truth_boxes()
    np.testing.assert_array_equal(boxes[1], [[10, 20, 110, 220], [0, 400, 639, 479]])


def test_published_numbers():
    assert published("cigpose-m_coco_256x192") == {"body": {"AP": 0.766, "AR": 0.793}}
    assert published("cigpose-x_coco-ubody_384x288")["whole"]["AP"] == 0.675
    assert published("cigpose-m_crowdpose_256x192")["hard"]["AP"] == 0.589
    assert published("other") == {}


class Files:
    """Annotations that equal the fake server's answers for the annotated boxes."""

    def __init__(self, folder, points):
        self.annotations, self.images = folder / "truth.json", folder / "images"
        self.images.mkdir()
        data = dataset(points)
        self.boxes = []
        for number, (image, person) in enumerate(zip(data.images, data.people, strict=True)):
            (self.images / image["file_name"]).write_bytes(b"2")
            box = np.array([[10, 20, 110 + number, 220]], np.float32)
            answer = people(Request("", b"", box, (), {}, 0, {}), points)
            fields = annotation(0, 0, answer["keypoints"][0])
            person |= {name: fields[name] for name in FIELDS if name in fields}
            person["bbox"] = [10, 20, 100 + number, 200]
            self.boxes.append({"image_id": image["id"], "category_id": 1, "bbox": person["bbox"], "score": 0.5})
        content = {"images": data.images, "annotations": data.people, "categories": [{"id": 1, "name": "person"}]}
        self.annotations.write_text(json.dumps(content))

    def argv(self, server: FakeServer, *more):
        common = ["evaluate", "--annotations", self.annotations, "--images", self.images, "--url", server.url]
        return [str(word) for word in (*common, *more)]


@pytest.mark.parametrize(("model", "points"), [("pose", 133), ("body", 17), ("crowd", 14)])
def test_the_command_on_the_annotated_boxes(server, tmp_path, capsys, model, points):
    files = Files(tmp_path, points)
    assert main(files.argv(server, "--model", model, "--json", "-")) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["pictures"], report["people"]) == (3, 3)
    assert [row["AP"] for row in report["metrics"].values()] == pytest.approx([1.0] * len(report["metrics"]))


def test_the_command_on_boxes_of_a_file_and_of_the_detector(server, tmp_path, capsys):
    files = Files(tmp_path, 17)
    (tmp_path / "boxes.json").write_text(json.dumps(files.boxes))
    saved = tmp_path / "results.json"
    argv = ("--model", "body", "--boxes", tmp_path / "boxes.json", "--save-results", saved, "--limit", "2")
    assert main(files.argv(server, *argv)) == 0
    entries = json.loads(saved.read_text())
    assert len(entries) == 2
    assert entries[0]["score"] < 0.5  # the box's own score counts
    assert main(files.argv(server, "--model", "body", "--boxes", "detector")) == 0
    assert "3 pictures answered, 0 failed, 0 left out, 6 people" in capsys.readouterr().err


def test_a_bottom_up_network_is_evaluated_as_it_is(server, tmp_path, capsys):
    """On the people that it finds, ranked by their own scores; without a second removal of duplicates."""
    server.bottom_up = ("pose_body",)
    files, saved = Files(tmp_path, 17), tmp_path / "results.json"
    argv = ("--model", "pose_body", "--save-results", saved, "--json", "-")
    assert main(files.argv(server, *argv)) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["boxes"], report["people"]) == ("detector", 6)
    entries = json.loads(saved.read_text())
    assert [round(entry["score"], 4) for entry in entries[:2]] == [0.9, 0.6]
    assert all(request.boxes is None for request in server.requests)
    assert main(files.argv(server, "--model", "pose_body", "--boxes", "gt")) == 2
    assert "finds people without boxes; leave the option out" in capsys.readouterr().err


def test_metrics_equal_pycocotools_on_the_saved_results(server, tmp_path, capsys):
    files, saved = Files(tmp_path, 17), tmp_path / "results.json"
    argv = ("--model", "body", "--boxes", "detector", "--save-results", saved, "--json", tmp_path / "report.json")
    assert main(files.argv(server, *argv)) == 0
    direct = by_pycocotools(load_dataset(str(files.annotations)), json.loads(saved.read_text()))
    body = json.loads((tmp_path / "report.json").read_text())["metrics"]["body"]
    assert list(body.values()) == direct
    capsys.readouterr()
    again = ["evaluate", "--annotations", files.annotations, "--results", saved, "--json", "-"]
    assert main([str(word) for word in again]) == 0
    assert json.loads(capsys.readouterr().out)["metrics"]["body"] == body


def test_boxes_in_a_results_file_change_no_number(server, tmp_path, capsys):
    """`--format coco` and `to_coco` write the box of each person, from which pycocotools would take sizes."""
    files, saved = Files(tmp_path, 17), tmp_path / "results.json"
    run = ["evaluate", "--annotations", str(files.annotations), "--json", "-"]
    assert main(files.argv(server, "--model", "body", "--boxes", "detector", "--save-results", saved)) == 0
    capsys.readouterr()
    assert main([*run, "--results", str(saved)]) == 0
    without = json.loads(capsys.readouterr().out)["metrics"]
    argv = ["folder", files.images, "--format", "coco", "--json", saved, "--model", "body", "--url", server.url]
    assert main([str(word) for word in argv]) == 0
    assert all(len(entry["bbox"]) == 4 for entry in json.loads(saved.read_text()))
    capsys.readouterr()
    assert main([*run, "--results", str(saved)]) == 0
    assert json.loads(capsys.readouterr().out)["metrics"] == without


@pytest.mark.parametrize(("bbox", "different"), [(False, []), (True, ["APM"])])
def test_boxes_change_the_sizes_of_pycocotools(bbox, different):
    """A false person with a better score than the true one: medium by its keypoints, large by its box."""
    data = dataset(17, 1)
    right = np.reshape(data.people[0]["keypoints"], (17, 3))[:, :2]
    poses = Poses(
        bboxes=np.array([[0, 0, 400, 400], [10, 20, 110, 220]], np.float32),
        bbox_scores=np.array([0.9, 0.5], np.float32),
        persons_detected=2,
        keypoints=np.stack([right / 3 + 300, right]).astype(np.float32),
        keypoint_scores=np.ones((2, 17), np.float32),
    )
    entries = poses.to_coco(1, bbox=bbox)
    ours = evaluate(data, entries, set_of(17))["body"]
    assert ours["APM"] < 1
    theirs = dict(zip(FIRST_SIX, by_pycocotools(data, entries), strict=True))
    assert [name for name in FIRST_SIX if theirs[name] != ours[name]] == different


def test_the_table_shows_published_numbers_beside_the_measured(server, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("cigpose_client._cli.evaluate.published", lambda _: published("cigpose-m_coco_256x192"))
    assert main(Files(tmp_path, 17).argv(server, "--model", "body")) == 0
    head, body, note = capsys.readouterr().out.splitlines()
    assert head.split()[-4:] == ["AP", "publ.", "AR", "publ."]
    assert body.split()[0::6] == ["body", "100.0"]
    assert body.split()[-2:] == ["76.6", "79.3"]
    assert "flip test" in note


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--annotations", "nowhere.json"], "nowhere.json: No such file"),
        (
            ["--annotations", "{bad}"],
            "{bad} is no annotation file in COCO's format: an object without images, annotations",
        ),
        (
            ["--annotations", "{text}"],
            "{text} is no annotation file in COCO's format: JSON was expected, found 'a text'",
        ),
        (["--annotations", "{image}"], "{image} is no annotation file in COCO's format: JSON was expected, found"),
        (["--annotations", "{good}", "--boxes", "{bad}"], "{bad} is neither this command's output nor COCO"),
        (["--annotations", "{good}", "--boxes", "{text}"], "{text} is neither this command's output nor COCO"),
        (["--annotations", "{good}", "--results", "{empty}"], "nothing to evaluate"),
        (
            ["--annotations", "{good}", "--results", "{text}"],
            "{text} is no file of COCO keypoint results: JSON was expected",
        ),
        (["--annotations", "{good}", "--results", "{good}"], "{good} is no file of COCO keypoint results: a list was"),
        (["--annotations", "{good}", "--results", "{boxes}"], "an object without keypoints was found: "),
    ],
)
def test_mistakes_are_named(tmp_path, capsys, argv, words):
    files = Files(tmp_path, 17)
    contents = {"bad": b'{"a": 1}', "text": b"a text", "image": b"\x89PNG", "empty": b"[]"}
    contents["boxes"] = json.dumps(files.boxes).encode()
    names = {name: tmp_path / f"{name}.json" for name in contents} | {"good": files.annotations}
    for name, content in contents.items():
        names[name].write_bytes(content)
    assert main(["evaluate", "--images", str(files.images), *(word.format(**names) for word in argv)]) == 1
    err = capsys.readouterr().err
    assert words.format(**names) in err
    assert not any(name in err for name in ("Error", "Expecting value", "codec", "dict"))


def test_neither_pictures_nor_results_is_wrong_usage(tmp_path, capsys):
    assert main(["evaluate", "--annotations", str(Files(tmp_path, 17).annotations)]) == 2
    assert "--images" in capsys.readouterr().err
