"""`python -m demo` as people run it, on networks that take no time."""

import json

import cv2
import numpy as np
import pytest

from demo.__main__ import main
from demo.scenes import compare, write_scenes
from tests.export.seams.files import save_lifter
from tests.networks import save_detector, save_pose_network
from tests.pictures import encode, picture_with_persons


@pytest.fixture
def networks(tritonserver, tmp_path):
    pose, detector = save_pose_network(tmp_path / "spots.onnx"), save_detector(tmp_path / "red_cells.onnx")
    return ["--pose", str(pose), "--detector", str(detector)]


@pytest.mark.server
def test_two_runs_in_an_existing_folder_keep_its_files(networks, tmp_path, capsys):
    folder, photo = tmp_path / "mine", tmp_path / "photo.png"
    folder.mkdir()
    (folder / "keep.txt").write_text("mine")
    photo.write_bytes(encode(picture_with_persons([(10, 10), (30, 20)])))
    for _ in range(2):
        assert main([*networks, "--out", str(folder), str(photo)]) == 0
        assert "photo.png: 2 people found" in capsys.readouterr().out
        assert (folder / "pictures" / "photo.png").is_file()
        assert len(json.loads((folder / "people.json").read_text())[0]["people"]) == 2
    assert (folder / "keep.txt").read_text() == "mine"
    drawn = folder / "pictures" / "photo.png"  # an output, which the next run removes
    assert main([*networks, "--out", str(folder), str(drawn)]) == 2
    assert "choose another --out" in capsys.readouterr().err
    assert drawn.is_file()


@pytest.mark.server
def test_a_lifter_adds_drawings_in_3d(networks, tmp_path, capsys):
    lifter, photo, folder = save_lifter(tmp_path / "lift.onnx"), tmp_path / "photo.png", tmp_path / "out"
    photo.write_bytes(encode(picture_with_persons([(10, 10), (30, 20)])))
    assert main([*networks, "--lifter", str(lifter), "--out", str(folder), str(photo)]) == 0
    printed = capsys.readouterr().out
    assert "runs on spots.onnx, red_cells.onnx, lift.onnx" in printed
    assert f"see {folder / 'pictures'}, {folder / 'pictures_3d'} and" in printed
    (person, _) = json.loads((folder / "people.json").read_text())[0]["people"]
    assert len(person["keypoints_3d"]) == 17
    assert cv2.imread(str(folder / "pictures_3d" / "photo.png")).shape[1] > 1000


@pytest.mark.server
def test_a_bad_network_is_reported_in_one_sentence(networks, tmp_path, capsys):
    (tmp_path / "text.onnx").write_text("no network")
    assert main(["--pose", str(tmp_path / "text.onnx"), *networks[2:], "--out", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err == f"error: {tmp_path}/text.onnx: not a valid ONNX file (DecodeError)\n"
    with pytest.raises(SystemExit, match="2"):
        main([*networks, "--profile", "cpux"])
    assert "cpu-latency" in capsys.readouterr().err


def test_answers_are_compared_with_the_rendered_people(tmp_path):
    scenes = write_scenes(tmp_path)
    assert [scene.jpeg for scene in scenes] == [path.read_bytes() for path in sorted(tmp_path.iterdir())]
    assert scenes[0].people and not scenes[2].people
    answers = [
        {
            "people": [
                {
                    "bbox": person.bbox_xyxy.tolist(),
                    "keypoints": np.insert(np.add(person.points, (3, 4)), 2, 1, axis=1).tolist(),
                }
                for person in scene.people
            ]
        }
        for scene in scenes
    ]
    count = sum(len(scene.people) for scene in scenes)
    text = compare(answers, scenes)
    assert text.startswith(f"{count} of {count} rendered people found") and text.endswith(": 5.0 pixels")
    body = [
        {"people": [person | {"keypoints": person["keypoints"][:17]} for person in answer["people"]]}
        for answer in answers
    ]
    assert compare(body, scenes).endswith(": 5.0 pixels")
    assert compare([{"people": []}] * 3, scenes) == f"0 of {count} rendered people found"
