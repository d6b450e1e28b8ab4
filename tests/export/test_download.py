"""Downloads from a local web server: whole files, broken connections, members of zip files, checksums."""

import contextlib
import hashlib
import http.server
import re
import sys
import threading
import zipfile

import numpy as np
import pytest

pytest.importorskip("gdown", reason="needs requirements/download.txt")
pytest.importorskip("remotezip", reason="needs requirements/download.txt")

from export.__main__ import main
from export.commands import download as command
from export.download import RECORD, fetch
from export.families.cigpose.variants import VARIANTS
from export.zip_member import _CHUNK as ZIP_CHUNK
from export.zoo import Entry, entry, zoo
from server.process import free_port

CONTENT = np.random.default_rng(0).bytes(3_000_000)
CHUNK = 512 * 1024  # gdown writes in chunks of this size, so it keeps a multiple of it after a broken transfer
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Site(http.server.ThreadingHTTPServer):
    """Serves `files` with byte ranges. `breaks` lists the numbers of bytes after which the next answers end."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.breaks, self.ranges, self.sent = {}, [], [], 0

    def handle_error(self, request, client_address):
        pass  # a client that disconnects during a transfer

    def address(self, name):
        return f"http://127.0.0.1:{self.server_port}/{name}"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        content = self.server.files.get(self.path[1:])
        if content is None:
            self.send_error(404)
            return
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        self.server.ranges.append(self.headers.get("Range"))
        first, end = 0, len(content)
        if asked and asked[1]:
            first, end = int(asked[1]), min(int(asked[2]) + 1 if asked[2] else end, end)
        elif asked:
            first = max(len(content) - int(asked[2]), 0)
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(end - first))
        self.send_header("ETag", '"1"')
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{end - 1}/{len(content)}")
        self.end_headers()
        part = content[first:end]
        if self.server.breaks:
            part = part[: self.server.breaks.pop(0)]
            self.close_connection = True
        self.server.sent += len(part)
        with contextlib.suppress(ConnectionError):
            self.wfile.write(part)


@pytest.fixture
def site():
    with Site() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def published(site, name="a.onnx", **fields):
    fields = {"publisher": "us", "licence": "ours", "accuracy": "none", "input": "1x1"} | fields
    return Entry(name, address=fields.pop("address", site.address(name)), **fields)


@pytest.fixture
def at_once(monkeypatch):
    """Retry without a pause."""
    monkeypatch.setattr(sys.modules["gdown.download"], "_wait_or_cancel", lambda **_: None)


def test_a_file_with_a_published_checksum(site, tmp_path):
    site.files["a.onnx"] = CONTENT
    assert fetch(published(site, sha256=SHA256), tmp_path).endswith(f"sha256 {SHA256} as published")
    assert [path.name for path in tmp_path.iterdir()] == ["a.onnx"]
    assert (tmp_path / "a.onnx").read_bytes() == CONTENT
    assert "already present" in fetch(published(site, sha256=SHA256), tmp_path)
    assert site.sent == len(CONTENT)


def test_an_unpublished_checksum_is_recorded_at_first_download(site, tmp_path):
    site.files["a.onnx"] = CONTENT
    assert "recorded in" in fetch(published(site), tmp_path)
    assert (tmp_path / RECORD).read_text() == f"{SHA256}  a.onnx\n"
    assert "as recorded" in fetch(published(site), tmp_path)
    (tmp_path / "a.onnx").unlink()
    site.files["a.onnx"] = CONTENT + b"more"
    with pytest.raises(ValueError, match=rf"a\.onnx: sha256 is \w+, recorded is {SHA256}"):
        fetch(published(site), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [RECORD]


def test_a_wrong_checksum_leaves_no_file(site, tmp_path):
    site.files["a.onnx"] = CONTENT
    with pytest.raises(ValueError, match=rf"sha256 is {SHA256}, published is 0000"):
        fetch(published(site, sha256="0" * 64), tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_existing_damaged_file_is_reported(site, tmp_path):
    (tmp_path / "a.onnx").write_bytes(CONTENT[:-1])
    with pytest.raises(ValueError, match="the file is damaged or not the same"):
        fetch(published(site, sha256=SHA256), tmp_path)


@pytest.mark.usefixtures("at_once")
def test_a_broken_transfer_resumes(site, tmp_path):
    site.files["a.onnx"], site.breaks = CONTENT, [1_000_000, 800_000]
    fetch(published(site, sha256=SHA256), tmp_path)
    assert site.ranges == [None, f"bytes={CHUNK}-", f"bytes={2 * CHUNK}-"]


@pytest.mark.usefixtures("at_once")
def test_the_next_run_resumes_the_last_one(site, tmp_path):
    site.files["a.onnx"], site.breaks = CONTENT, [1_000_000, 0, 0, 0]
    with pytest.raises(OSError, match="try again to continue"):
        fetch(published(site, sha256=SHA256), tmp_path)
    assert not (tmp_path / "a.onnx").exists()
    site.ranges.clear()
    fetch(published(site, sha256=SHA256), tmp_path)
    assert f"bytes={CHUNK}-" in site.ranges
    assert (tmp_path / "a.onnx").read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["a.onnx"]


@pytest.fixture
def archive(site, tmp_path):
    with zipfile.ZipFile(tmp_path / "models.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("before.onnx", CONTENT)
        file.writestr("a.onnx", CONTENT[:1_000_000])
        file.writestr("behind.onnx", CONTENT)
    site.files["models.zip"] = (tmp_path / "models.zip").read_bytes()
    return published(site, address=site.address("models.zip"), member="a.onnx")


def test_only_one_member_of_a_zip_is_fetched(site, archive, tmp_path):
    assert "recorded" in fetch(archive, tmp_path / "d")
    assert (tmp_path / "d" / "a.onnx").read_bytes() == CONTENT[:1_000_000]
    assert site.sent < 1_200_000 < len(site.files["models.zip"])


def test_a_missing_member_is_an_error(site, archive, tmp_path):
    with pytest.raises(OSError, match=r"does not hold b\.onnx whole"):
        fetch(published(site, address=archive.address, member="b.onnx"), tmp_path / "d")
    assert not list((tmp_path / "d").iterdir())


def test_a_file_that_is_no_zip(site, tmp_path):
    site.files["a.zip"] = CONTENT
    with pytest.raises(OSError, match=r"does not hold a\.onnx whole"):
        fetch(published(site, address=site.address("a.zip"), member="a.onnx"), tmp_path)


def first_bytes(site):
    """Return the starts of the requested ranges, except those of the archive's directory."""
    return [int(header[6:].split("-")[0]) for header in site.ranges if not header.startswith("bytes=-")]


def test_a_broken_transfer_of_a_member_resumes(site, archive, tmp_path):
    site.breaks = [1 << 20, 400_000, 1 << 20, 300_000]  # each try reads the directory first
    fetch(archive, tmp_path / "d")
    assert (tmp_path / "d" / "a.onnx").read_bytes() == CONTENT[:1_000_000]
    begin, second, third = first_bytes(site)
    assert 400_000 - ZIP_CHUNK <= second - begin <= 400_000
    assert 300_000 - ZIP_CHUNK <= third - second <= 300_000
    assert {path.name for path in (tmp_path / "d").iterdir()} == {"a.onnx", RECORD}


def broken(site, archive, folder):
    """Fetch a member over a connection that always breaks; return the file with the received bytes."""
    site.breaks = [1 << 20, 400_000] + [1 << 20, 0] * 2
    with pytest.raises(OSError, match=r"a\.onnx: the transfer from .* failed; try again to continue"):
        fetch(archive, folder)
    assert not site.breaks
    site.ranges.clear()
    (part,) = folder.glob("*.part")
    assert not (folder / "a.onnx").exists()
    return part


def test_the_next_run_resumes_the_member(site, archive, tmp_path):
    kept = broken(site, archive, tmp_path / "d").stat().st_size
    fetch(archive, tmp_path / "d")
    assert first_bytes(site)[0] > kept > 300_000
    assert (tmp_path / "d" / "a.onnx").read_bytes() == CONTENT[:1_000_000]
    assert {path.name for path in (tmp_path / "d").iterdir()} == {"a.onnx", RECORD}


def test_kept_bytes_are_not_used_for_another_member(site, archive, tmp_path):
    broken(site, archive, tmp_path / "d")
    with zipfile.ZipFile(tmp_path / "models.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.onnx", CONTENT[1_000_000:])
    site.files["models.zip"] = (tmp_path / "models.zip").read_bytes()
    fetch(archive, tmp_path / "d")
    assert (tmp_path / "d" / "a.onnx").read_bytes() == CONTENT[1_000_000:]


def test_damaged_kept_bytes_are_removed(site, archive, tmp_path):
    part = broken(site, archive, tmp_path / "d")
    part.write_bytes(part.read_bytes()[:-1000] + bytes(1000))
    with pytest.raises(OSError, match=r"does not hold a\.onnx whole"):
        fetch(archive, tmp_path / "d")
    fetch(archive, tmp_path / "d")
    assert (tmp_path / "d" / "a.onnx").read_bytes() == CONTENT[:1_000_000]


def test_a_web_page_is_rejected(site, tmp_path):
    site.files["a.onnx"] = b"\n<!DOCTYPE html><html>quota exceeded</html>"
    with pytest.raises(ValueError, match="received a web page instead of the file"):
        fetch(published(site), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_missing_file_at_the_address_is_an_error(site, tmp_path):
    with pytest.raises(OSError, match=r"is not available: 404"):
        fetch(published(site), tmp_path)


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("member", [None, "a.onnx"])
def test_the_command_reports_a_missing_connection(tmp_path, monkeypatch, capsys, member):
    unreachable = Entry("a.onnx", "us", f"http://127.0.0.1:{free_port()}/a", "ours", "none", "1x1", member=member)
    monkeypatch.setattr(command, "entry", lambda name: unreachable)
    assert main(["download", "a.onnx", "--output", str(tmp_path)]) == 1
    errors = capsys.readouterr().err.splitlines()
    assert re.fullmatch(
        r"error: a\.onnx: 127\.0\.0\.1:\d+ cannot be reached; is this machine online\? \(.*\)", errors[-1]
    )
    assert not list(tmp_path.iterdir())


def test_the_zoo_agrees_with_the_table_of_variants():
    for name, variant in VARIANTS.items():
        for ending in ("pth", "onnx"):
            known = zoo()[f"{name}.{ending}"]
            assert known.keypoints == variant.num_keypoints
            assert known.input == "{}x{}".format(*variant.input_size)
            assert known.accuracy.startswith(f"AP {variant.average_precision} on ")
    whole = [known for known in zoo().values() if not known.package]
    assert len({known.address for known in whole}) == len(whole) - 13  # 14 entries share one zip
    assert all(known.licence and known.address.startswith("https://") for known in whole)


def test_entries_are_found_by_name_or_stem(capsys):
    assert entry("yolox_nano").sha256
    with pytest.raises(ValueError, match=r"published as cigpose-m_coco_256x192\.pth .*; choose one"):
        entry("cigpose-m_coco_256x192")
    with pytest.raises(ValueError, match=r"unknown file 'rtmpose'; known: .*yolox_x\.onnx"):
        entry("rtmpose")
    assert main(["download"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(zoo())
