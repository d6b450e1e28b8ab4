import pytest

from deploy import start
from server import access


def test_the_repository_must_be_given_once():
    assert str(start.repository(["--allow-http=false", "--model-repository=/models"])) == "/models"
    for flags in ([], ["--model-repository=/a", "--model-repository=/b"]):
        with pytest.raises(ValueError, match="once"):
            start.repository(flags)


def test_an_object_storage_is_refused_because_its_manifest_is_not_verified(capsys):
    assert start.main(["--model-repository=s3://bucket/current"]) == 2
    assert "--model-repository=s3://bucket/current is an object storage" in capsys.readouterr().err


def test_every_start_makes_a_new_lock():
    assert start.lock() != start.lock()
    apis, _, key = start.lock().removeprefix("--grpc-restricted-protocol=").partition(":")
    assert apis.split(",") == list(access.CLOSED_APIS)
    assert len(key.removeprefix("locked=")) == 64


def test_only_the_python_backends_regions_are_removed(tmp_path):
    for name in ("triton_python_backend_shm_region_1", "triton_python_backend_shm_region_2", "other"):
        (tmp_path / name).touch()
    start.remove_stale_regions(tmp_path, start.region_prefix(["--allow-http=false"]))
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


def test_a_repository_without_a_manifest_does_not_start(tmp_path, tritonserver, capsys):
    assert start.main([f"--model-repository={tmp_path}"]) == 1
    assert "MANIFEST.sha256 is missing" in capsys.readouterr().err


def test_an_unknown_profile_and_missing_flags_are_wrong_usage(tmp_path, capsys):
    (tmp_path / "net" / "configs").mkdir(parents=True)
    (tmp_path / "net" / "config.pbtxt").touch()
    (tmp_path / "net" / "configs" / "gpu.pbtxt").touch()
    assert start.main([f"--model-repository={tmp_path}", "--model-config-name=cpux"]) == 2
    assert f"profile 'cpux' is unknown; the models in {tmp_path} have gpu" in capsys.readouterr().err
    assert start.main([]) == 2
    assert "give --model-repository=DIR once" in capsys.readouterr().err


def test_regions_of_a_given_prefix_are_removed():
    assert start.region_prefix(["--backend-config=python,shm-region-prefix-name=mine"]) == "mine"
