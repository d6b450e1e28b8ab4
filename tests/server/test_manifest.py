import subprocess

import pytest

from server import manifest


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "pose" / "1").mkdir(parents=True)
    (tmp_path / "pose" / "config.pbtxt").write_text('name: "pose"\n')
    (tmp_path / "pose" / "1" / "model.py").write_text("pass\n")
    manifest.write(tmp_path)
    return tmp_path


def test_an_untouched_folder_has_no_problems(folder):
    assert manifest.problems(folder) == []


def test_sha256sum_reads_the_manifest(folder):
    subprocess.run(["sha256sum", "--check", "--strict", manifest.NAME], cwd=folder, check=True, capture_output=True)


@pytest.mark.parametrize(
    ("tamper", "problem"),
    [
        (lambda f: (f / "pose/1/model.py").write_text("evil\n"), "pose/1/model.py was changed"),
        (lambda f: (f / "pose/1/model.py").unlink(), "pose/1/model.py is missing"),
        (lambda f: (f / "pose/1/more.py").touch(), "pose/1/more.py is not in the manifest"),
        (lambda f: (f / "pose/1/link.py").symlink_to("/etc/passwd"), "pose/1/link.py is a link"),
        (lambda f: (f / "pose/1/model.pyc").touch(), "pose/1/model.pyc is compiled Python"),
        (lambda f: (f / manifest.NAME).unlink(), "is missing; write it"),
        (lambda f: (f / manifest.NAME).write_text("nonsense\n"), "line 1 is not a SHA-256"),
        (lambda f: (f / manifest.NAME).write_text(("0" * 64 + "  a\n") * 2), "line 2 lists a a second time"),
    ],
)
def test_every_kind_of_change_is_found(folder, tamper, problem):
    tamper(folder)
    assert any(problem in found for found in manifest.problems(folder))


def test_write_rejects_compiled_python(folder):
    (folder / "pose/1/model.pyc").touch()
    with pytest.raises(ValueError, match="compiled Python"):
        manifest.write(folder)


def test_write_refuses_an_empty_folder(tmp_path):
    with pytest.raises(ValueError, match="holds no files"):
        manifest.write(tmp_path)


def test_the_command_reports_problems_and_fails(folder, capsys):
    assert manifest.main(["verify", str(folder)]) == 0
    (folder / "pose/1/more.py").touch()
    assert manifest.main(["verify", str(folder)]) == 1
    assert capsys.readouterr().err == "error: pose/1/more.py is not in the manifest\n"
    assert manifest.main(["write", str(folder)]) == 0
    assert manifest.main(["verify", str(folder)]) == 0
