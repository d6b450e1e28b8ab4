import os

import pytest
from cigpose_client.outputs import (
    OutputRefused,
    Part,
    check_apart,
    check_outputs,
    claim_folder,
    leftovers,
    replacing,
    write_file,
)


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"mine")
    return path


@pytest.mark.parametrize("spelling", ["photo.jpg", "./photo.jpg", "folder/../photo.jpg", "link.jpg", "hard.jpg"])
def test_an_output_that_is_an_input_is_refused(tmp_path, photo, monkeypatch, spelling):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "link.jpg").symlink_to(photo)
    os.link(photo, tmp_path / "hard.jpg")
    with pytest.raises(OutputRefused, match=r"would overwrite the input .*photo.jpg; choose another output"):
        check_outputs([spelling], [photo])


def test_two_outputs_in_one_file_are_refused(tmp_path):
    with pytest.raises(OutputRefused, match="would overwrite the output"):
        check_outputs([tmp_path / "a.json", f"{tmp_path}/./a.json"])


def test_other_outputs_and_devices_are_accepted(tmp_path, photo):
    check_outputs([tmp_path / "new.jpg", tmp_path / "people.json", os.devnull, os.devnull], [photo])


@pytest.mark.parametrize(("output", "folder"), [("a", "a"), ("a/b", "a"), ("a", "a/b"), ("link/b", "a")])
def test_overlapping_folders_are_refused(tmp_path, output, folder):
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    with pytest.raises(OutputRefused, match="choose a separate output folder"):
        check_apart(tmp_path / output, tmp_path / folder)
    check_apart(tmp_path / "ab", tmp_path / "a")


def test_a_file_is_replaced_when_complete(tmp_path, photo):
    photo.chmod(0o640)
    with replacing(photo) as stream:
        stream.write(b"new")
        assert photo.read_bytes() == b"mine"
    assert photo.read_bytes() == b"new"
    assert photo.stat().st_mode & 0o777 == 0o640
    assert os.listdir(tmp_path) == ["photo.jpg"]


def test_a_failure_leaves_the_old_file_and_no_other(tmp_path, photo):
    with pytest.raises(RuntimeError), replacing(photo) as stream:
        stream.write(b"half")
        raise RuntimeError
    assert photo.read_bytes() == b"mine"
    assert os.listdir(tmp_path) == ["photo.jpg"]


def test_a_link_stays_a_link(tmp_path, photo):
    link = tmp_path / "link.jpg"
    link.symlink_to(photo)
    write_file(link, "text")
    assert link.is_symlink()
    assert photo.read_text() == "text"


def test_missing_folders_are_created_and_pipes_written(tmp_path):
    write_file(tmp_path / "a" / "b" / "new.json", "{}")
    assert (tmp_path / "a" / "b" / "new.json").read_text() == "{}"
    read, write = os.pipe()
    write_file(f"/dev/fd/{write}", b"bytes")
    assert os.read(read, 10) == b"bytes"
    os.close(read)
    os.close(write)


def test_a_claimed_folder_loses_only_what_a_run_wrote(tmp_path):
    out = claim_folder(tmp_path / "out", ["people.json", "pictures"])
    (out / "pictures").mkdir()
    (out / "pictures" / "a.jpg").touch()
    (out / "mine.txt").write_text("mine")
    claim_folder(out, ["people.json", "pictures"])
    assert sorted(os.listdir(out)) == [".cigpose-output", "mine.txt"]


def test_foreign_files_in_a_folder_are_refused(tmp_path):
    (tmp_path / "pictures").mkdir()
    with pytest.raises(OutputRefused, match="holds pictures, not written by this command"):
        claim_folder(tmp_path, ["people.json", "pictures"])
    (tmp_path / "file").touch()
    with pytest.raises(OutputRefused, match="is a file"):
        claim_folder(tmp_path / "file", [])


def test_leftovers_of_killed_processes_are_found(tmp_path):
    parts = [Part(tmp_path / name) for name in ("people.json", "people.json", "other.json", "people.jsonl", "people")]
    assert leftovers([tmp_path / "people.json"]) == []  # this process is writing them
    for part in parts:
        part.leave()
    assert set(leftovers([tmp_path / "people.json"])) == {part.path for part in parts[:2]}
    assert set(leftovers([tmp_path / "people"])) == {parts[4].path}
    assert leftovers([tmp_path / "nowhere" / "people.json"]) == []


def test_the_newest_comes_first(tmp_path):
    parts = [Part(tmp_path / "people.json") for _ in range(3)]
    for part, age in zip(parts, (5, 1, 3), strict=True):
        part.leave()
        os.utime(part.path, (1e9 - age, 1e9 - age))
    assert leftovers([tmp_path / "people.json"]) == [parts[1].path, parts[2].path, parts[0].path]


@pytest.mark.parametrize("letter", ["a", "é", "姿"])
def test_long_names_are_written_and_found(tmp_path, letter):
    """A file system allows 255 bytes; names with the same beginning get different temporary files."""
    stem = letter * (245 // len(letter.encode()))
    targets = [tmp_path / f"{stem}{number}.json" for number in (1, 2)]
    for target in targets:
        write_file(target, "{}")
        part = Part(target)
        part.leave()
        assert leftovers([target]) == [part.path]


def test_an_error_names_the_target(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError) as caught:
        write_file(tmp_path / "file" / "people.json", "{}")
    assert caught.value.filename == str(tmp_path / "file" / "people.json")


def test_a_folder_in_place_of_a_file_is_named(tmp_path):
    with pytest.raises(OSError) as caught:
        write_file(tmp_path, "{}")
    assert str(caught.value) == f"{tmp_path} is a folder; give the name of a file"
