"""Pictures from the web."""

import http.server
import json
import threading
import time

import pytest
from cigpose_client.__main__ import main
from cigpose_client._cli import web
from cigpose_client._cli.files import listed


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers by path."""

    def do_GET(self):
        action = self.path.partition("?")[0].strip("/").split("/")[0]
        if action == "redirect":
            self.send_response(302)
            self.send_header("Location", self.path.partition("?")[2])
            self.end_headers()
        elif action == "missing":
            self.send_error(404)
        elif action == "slow":
            time.sleep(12)
        elif action == "drip":
            self._begin(100)
            for _ in range(100):
                self.wfile.write(b"x")
                time.sleep(0.12)
        elif action == "cut":
            self._begin(100)
            self.wfile.write(b"x" * 40)
        elif action == "large":
            self._begin(None)
            self.wfile.write(b"x" * 101)
        else:
            self._begin(1)
            self.wfile.write(b"3")

    def _begin(self, length):
        self.send_response(200)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, *arguments):
        pass


@pytest.fixture
def address(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    Quiet = type("Quiet", (http.server.ThreadingHTTPServer,), {"handle_error": lambda *arguments: None})
    with Quiet(("127.0.0.1", 0), Handler) as web_server:
        threading.Thread(target=web_server.serve_forever, kwargs={"poll_interval": 0.02}).start()
        yield f"http://127.0.0.1:{web_server.server_port}"
        web_server.shutdown()


def test_a_picture_is_fetched(server, address, capsys):
    assert main(["image", f"{address}/photo.jpg?width=3", "--url", server.url]) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert (entry["picture"], len(entry["people"])) == (f"{address}/photo.jpg?width=3", 3)
    assert server.requests[0].picture == b"3"


def test_only_redirections_to_web_addresses_are_followed(server, address, tmp_path, capsys):
    (tmp_path / "secret").write_bytes(b"1")
    assert main(["image", f"{address}/redirect?{address}/photo.jpg", "--url", server.url]) == 0
    for target in (f"file://{tmp_path}/secret", "ftp://127.0.0.1/photo.jpg", "data:,1"):
        assert main(["image", f"{address}/redirect?{target}", "--url", server.url]) == 1
    assert [request.picture for request in server.requests] == [b"3"]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/missing", "the web server answers 404 Not Found"),
        ("/slow", "not complete within 0.3 s; raise --timeout"),
        ("/drip", "not complete within 0.3 s; raise --timeout"),
        ("/cut", "cut: 60 of 100 bytes are missing"),
        ("/large", "larger than 100 bytes, the most that the server takes"),
    ],
)
def test_failures_name_the_address_and_the_reason(server, address, capsys, monkeypatch, path, words):
    monkeypatch.setattr(web, "MAX_PICTURE_BYTES", 100)
    start = time.monotonic()
    timeout = "0.3" if path in ("/slow", "/drip") else "10"
    assert main(["image", f"{address}{path}", "--timeout", timeout, "--url", server.url]) == 1
    assert f"cigpose-client: {address}{path}: {words}\n" == capsys.readouterr().err
    assert time.monotonic() - start < 8
    assert not server.requests


def test_a_refused_web_address_is_reported(server, capsys):
    assert main(["image", "http://127.0.0.1:1/photo.jpg", "--url", server.url]) == 1
    assert "http://127.0.0.1:1/photo.jpg: cannot be fetched: Connection refused" in capsys.readouterr().err


def test_a_folder_on_the_web_is_refused(server, capsys):
    assert main(["folder", "http://example.org/photos", "--url", server.url]) == 2
    assert "give addresses of pictures to `image`" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("path", "drawn"),
    [
        ("/a/photo.jpg?x=1#top", "photo.jpg"),
        ("/a%20b.webp", "a b.webp"),
        ("/photo", "photo.png"),
        ("", "picture.png"),
        ("/a/%2e%2e", "picture.png"),
        ("/..%2f..%2fetc%2fpasswd%00.jpg", "passwd.jpg"),
    ],
)
def test_drawings_are_named_by_the_last_part_of_the_path(tmp_path, path, drawn):
    (tmp_path / "drawn").mkdir()
    (source,) = listed([f"https://example.org{path}"], str(tmp_path / "drawn"))
    assert source.target == str(tmp_path / "drawn" / drawn)


def test_numbers_in_addresses_are_ids():
    (source,) = listed(["https://example.org/val/000000000785.jpg?x=1"], None)
    assert source.image_id == 785
    assert source.keys[1] == "000000000785.jpg"
