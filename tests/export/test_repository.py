from pathlib import Path

import pytest
from cigpose_client.outputs import OutputRefused
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb

from ensemble.triton.profiles import PROFILES
from export.__main__ import main
from export.repository import build_repository
from server import preflight
from server.installation import Installation
from server.process import ServerOptions, free_port
from tests.export.seams.files import save_lifter
from tests.networks import save_detector, save_pose_network


@pytest.fixture
def files(tmp_path):
    names = ("spots", 17, (192, 256)), ("spots-14", 14, (288, 384))
    poses = [save_pose_network(tmp_path / f"{name}.onnx", count, size) for name, count, size in names]
    return poses, save_detector(tmp_path / "red_cells.onnx")


def snapshot(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_building_twice_gives_the_same_bytes(files, tmp_path):
    poses, detector = files
    build_repository(poses, detector, tmp_path / "a")
    first = snapshot(tmp_path / "a")
    build_repository(poses, detector, tmp_path / "a")
    build_repository(poses, detector, tmp_path / "b")
    assert first == snapshot(tmp_path / "a") == snapshot(tmp_path / "b")


def test_a_repository_is_self_contained(files, tmp_path):
    models = build_repository(*files, tmp_path / "r")
    for model in models:
        folder = tmp_path / "r" / model.name
        config = text_format.Parse((folder / "config.pbtxt").read_text(), pb.ModelConfig())
        assert config.name == model.name
        if config.backend == "onnxruntime":
            assert (folder / "1" / "model.onnx").stat().st_size > 1000
        elif config.backend == "python":
            assert (folder / "1" / "model.py").is_file()
            assert (folder / "1" / "ensemble" / "triton" / "python_step.py").is_file()


def test_profiles_exist_for_what_they_change(files, tmp_path):
    build_repository(*files, tmp_path / "r")
    for network in ("spots", "spots-14", "detector"):
        profiles = {path.stem for path in (tmp_path / "r" / network / "configs").iterdir()}
        assert profiles == set(PROFILES)
    assert not (tmp_path / "r" / "pose" / "configs").exists()


def test_the_command_seals_what_it_built(files, tmp_path):
    (pose, _), detector = files
    folder = tmp_path / "r"
    (folder / "spots" / "1" / "__pycache__").mkdir(parents=True)
    assert main(["repository", "--pose", str(pose), "--detector", str(detector), "--output", str(folder)]) == 0
    assert preflight.problems(Installation(Path("tritonserver")), ServerOptions(folder, grpc_port=free_port())) == []
    network = folder / "spots" / "1" / "model.onnx"
    network.write_bytes(network.read_bytes()[:-1])
    (found,) = preflight.problems(Installation(Path("tritonserver")), ServerOptions(folder, grpc_port=free_port()))
    assert "spots/1/model.onnx was changed" in found


def test_foreign_models_are_not_touched(files, tmp_path):
    stranger = tmp_path / "r" / "theirs"
    stranger.mkdir(parents=True)
    (stranger / "config.pbtxt").write_text("")
    refused = "holds models that are not part of this repository: theirs; choose another --output"
    with pytest.raises(OutputRefused, match=refused):
        build_repository(*files, tmp_path / "r")


def test_foreign_models_of_the_same_names_are_not_touched(files, tmp_path):
    """The folder lacks the model that every build writes first, so its other models are foreign."""
    theirs = tmp_path / "r" / "detector" / "1" / "model.onnx"
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(b"theirs")
    for _ in range(2):
        with pytest.raises(OutputRefused, match="repository: detector; choose another --output"):
            build_repository(*files, tmp_path / "r")
        (tmp_path / "r" / "detector" / "config.pbtxt").touch()
    assert theirs.read_bytes() == b"theirs"


def test_another_network_is_not_added_to_an_existing_repository(files, tmp_path, capsys):
    """The models of the other network, which git may track, are kept."""
    (first, second), detector = files
    folder = ["--detector", str(detector), "--output", str(tmp_path / "r")]
    assert main(["repository", "--pose", str(first), *folder]) == 0
    assert main(["repository", "--pose", str(second), *folder]) == 2
    message = capsys.readouterr().err
    assert "pose_from_boxes_spots, pose_spots, spots; choose another --output" in message and "remove" not in message


def test_two_models_of_one_name_are_rejected_with_both_files(files, tmp_path):
    (pose, _), detector = files
    (tmp_path / "other").mkdir()
    twin = save_pose_network(tmp_path / "other" / "spots.onnx", 14)
    with pytest.raises(ValueError, match=f"two different models would be called spots: {pose} and {twin}; rename"):
        build_repository([pose, twin], detector, tmp_path / "r")
    called_detector = save_pose_network(tmp_path / "detector.onnx")
    with pytest.raises(ValueError, match=f"would be called detector: {called_detector} and {detector}; rename"):
        build_repository([called_detector], detector, tmp_path / "r")
    called_step = save_pose_network(tmp_path / "crop_persons.onnx")
    with pytest.raises(ValueError, match=r"would be called crop_persons: .*CropPersons .* and crop_persons\.onnx"):
        build_repository([called_step], detector, tmp_path / "r")
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("special", [" ", "(", '"', "'", "$", "`", ";", "\n", "\\"])
def test_a_name_that_a_shell_would_split_is_rejected(files, tmp_path, capsys, special):
    pose = save_pose_network(tmp_path / f"a{special}b.onnx")
    folder = tmp_path / "r"
    assert main(["repository", "--pose", str(pose), "--detector", str(files[1]), "--output", str(folder)]) == 1
    message = capsys.readouterr().err
    assert (
        f"with {special!r} in its name no Python model starts; rename the file" in message
        and repr(str(pose)) in message
    )
    assert not folder.exists()


@pytest.mark.parametrize("name", ["pöse", "UPPER", "a.b"])
def test_other_names_are_accepted(files, tmp_path, name):
    build_repository([save_pose_network(tmp_path / f"{name}.onnx")], files[1], tmp_path / "r")
    assert preflight._repository_problems(tmp_path / "r") == []


def test_a_missing_detector_is_reported_with_the_network(files, tmp_path, capsys):
    (pose, _), _ = files
    assert main(["repository", "--pose", str(pose), "--output", str(tmp_path / "r")]) == 1
    assert "error: spots takes crops of single persons, so it needs a detector; add --detector FILE" in (
        capsys.readouterr().err
    )


def test_the_command_prints_what_it_built(files, tmp_path, capsys):
    (pose, _), detector = files
    assert main(["repository", "--pose", str(pose), "--detector", str(detector), "--output", str(tmp_path / "r")]) == 0
    assert "spots: max_batch_size 32" in capsys.readouterr().out
    assert (tmp_path / "r" / "pose" / "config.pbtxt").is_file()


def test_the_command_explains_a_wrong_file(files, tmp_path, capsys):
    detector = str(files[1])
    assert main(["repository", "--pose", detector, "--detector", detector, "--output", str(tmp_path / "r")]) == 1
    assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--pose", "{lift}"], "lift.onnx lifts the keypoints of a pose network; give it with --lifter"),
        (["--pose", "{pose}", "--lifter", "{pose}"], "spots.onnx is no lifter; give it with --pose"),
        (["--pose", "{pose}", "--lift-from", "spots"], "--lift-from spots is for a lifter; add --lifter FILE"),
        (["--pose", "{pose}", "--lifter", "{lift}", "--lift-from", "x"], "and x is none; the repository has spots"),
    ],
)
def test_a_misplaced_lifter_is_explained(files, tmp_path, capsys, options, message):
    (pose, _), detector = files
    lift = save_lifter(tmp_path / "lift.onnx")
    given = [option.format(pose=pose, lift=lift) for option in options]
    assert main(["repository", *given, "--detector", str(detector), "--output", str(tmp_path / "r")]) != 0
    assert message in capsys.readouterr().err
