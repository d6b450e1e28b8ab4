import json

import numpy as np
import pytest
from cigpose_client.__main__ import main
from cigpose_client._cli.boxes import load_boxes, of_picture


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for number in (1, 2):
        (folder / f"{number:012}.jpg").write_bytes(b"3")
    return folder


def boxes_sent(server):
    return {len(request.boxes) for request in server.requests if request.boxes is not None}


@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_output_is_accepted_as_boxes(server, folder, tmp_path, capsys, form):
    first, second = tmp_path / "first", tmp_path / "second"
    assert main(["folder", str(folder), "--url", server.url, "--format", form, "--json", str(first)]) == 0
    argv = ["--boxes", str(first), "--format", form, "--json", str(second)]
    assert main(["folder", str(folder), "--url", server.url, *argv]) == 0
    assert boxes_sent(server) == {3}
    assert first.read_text() == second.read_text()


def test_coco_detections_are_found_by_number(server, folder, tmp_path, capsys):
    entries = [
        {"image_id": 2, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.75},
        {"image_id": 2, "category_id": 17, "bbox": [9, 9, 9, 9], "score": 0.99},
    ]
    (tmp_path / "boxes.json").write_text(json.dumps(entries))
    assert main(["folder", str(folder), "--url", server.url, "--boxes", str(tmp_path / "boxes.json")]) == 0
    nobody, somebody = (json.loads(line)["people"] for line in capsys.readouterr().out.splitlines())
    assert nobody == []
    assert [(person["bbox"], person["bbox_score"]) for person in somebody] == [([1, 2, 4, 6], 0.75)]


def test_frames_are_found_by_number(tmp_path):
    people = [{"bbox": [1, 2, 3, 4], "bbox_score": 0.5}]
    (tmp_path / "b.jsonl").write_text("\n".join(json.dumps({"frame": index, "people": people}) for index in range(3)))
    boxes, scores = of_picture(load_boxes(str(tmp_path / "b.jsonl")), 2)
    np.testing.assert_array_equal(boxes, [[1, 2, 3, 4]])
    np.testing.assert_array_equal(scores, [0.5])


def test_pictures_that_failed_have_no_boxes(tmp_path):
    (tmp_path / "b.jsonl").write_text('{"picture": "a.jpg", "error": "no picture"}')
    assert of_picture(load_boxes(str(tmp_path / "b.jsonl")), "a.jpg")[0].shape == (0, 4)


def test_boxes_of_other_pictures_are_a_mistake(server, folder, tmp_path, capsys):
    (tmp_path / "b.jsonl").write_text('{"picture": "other.jpg", "people": [{"bbox": [1, 2, 3, 4], "bbox_score": 1}]}')
    assert main(["folder", str(folder), "--url", server.url, "--boxes", str(tmp_path / "b.jsonl")]) == 1
    assert "its names must be those of the pictures" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"nonsense", "JSON was expected, found 'nonsense'"),
        (b"\x89PNG", "JSON was expected, found "),
        (b"", "the file is empty"),
        (b"[1]", "an object with bbox, score or people was expected, found 1"),
        (b'[{"image_id": 1}]', 'an object without bbox, score was found: {"image_id": 1}'),
        (b'[{"image_id": 1, "bbox": 5, "score": 1}]', "a bbox of four numbers and a score were expected, found "),
        (b'{"picture": "a", "people": [{}]}', "an object without bbox, bbox_score was found: {}"),
        (b'{"picture": "a", "people": 5}', "a list of people was expected, found 5"),
        (b'{"a": 1}', 'an object without picture, people was found: {"a": 1}'),
    ],
)
def test_other_files_are_refused(tmp_path, content, found):
    (tmp_path / "b.json").write_bytes(content)
    with pytest.raises(ValueError) as caught:
        load_boxes(str(tmp_path / "b.json"))
    expected = f"{tmp_path}/b.json is neither this command's output nor COCO detection results: {found}"
    assert str(caught.value).startswith(expected)
