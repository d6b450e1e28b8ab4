"""A server does not start on a repository that differs from its manifest, and names the file."""

import shutil

import pytest

from server import manifest, preflight
from server.__main__ import main


@pytest.fixture
def sealed(repository, tmp_path):
    copy = shutil.copytree(repository, tmp_path / "repository", ignore=shutil.ignore_patterns("__pycache__"))
    manifest.write(copy)
    return copy


def test_compiled_files_of_the_stubs_are_accepted(sealed):
    cache = sealed / "decode_image" / "1" / "__pycache__" / "model.cpython-311.pyc"
    cache.parent.mkdir()
    cache.touch()
    assert preflight.manifest_problems(sealed) == []


def test_a_changed_network_is_rejected_by_name(sealed, capsys):
    path = sealed / "spots" / "1" / "model.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert main(["--repository", str(sealed)]) == 1
    assert "spots/1/model.onnx was changed" in capsys.readouterr().err


def test_a_truncated_network_is_rejected_by_name(sealed, capsys):
    path = sealed / "detector" / "1" / "model.onnx"
    path.write_bytes(path.read_bytes()[:-100])
    assert main(["--repository", str(sealed)]) == 1
    assert "detector/1/model.onnx was changed" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["spots/1/other.py", "added/config.pbtxt"])
def test_added_files_are_rejected(sealed, name, capsys):
    (sealed / name).parent.mkdir(exist_ok=True)
    (sealed / name).touch()
    assert main(["--repository", str(sealed)]) == 1
    assert f"{name} is not in the manifest" in capsys.readouterr().err
