"""Names of sources: passwords, files that do not exist, stdin."""

import pytest
from cigpose_client.__main__ import main
from cigpose_client._cli.sources import masked


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://user:secret@host:554/a", "rtsp://user:***@host:554/a"),
        ("http://user:se@c:r#e?t@host/a@b", "http://user:***@host/a@b"),
        ("https://:secret@host", "https://:***@host"),
        ("rtsp://user@host:554/a:b@c", "rtsp://user@host:554/a:b@c"),
        ("a http://u:p@host/x, b rtsp://v:q@host", "a http://u:***@host/x, b rtsp://v:***@host"),
        ("films/a:b@c.mp4", "films/a:b@c.mp4"),
    ],
)
def test_passwords_of_addresses_are_masked(text, shown):
    assert masked(text) == shown


ADDRESS = "http://user:secret@127.0.0.1:9/a"


@pytest.mark.parametrize(
    ("argv", "status", "words"),
    [
        (["camera", ADDRESS], 1, "http://user:***@127.0.0.1:9/a cannot be opened"),
        (["camera", ADDRESS.replace("secret", "[secret")], 1, "http://user:***@127.0.0.1:9/a cannot be opened"),
        (["cameras", ADDRESS, "--seconds", "1"], 1, "http://user:***@127.0.0.1:9/a gives no frame"),
        (["cameras", ADDRESS, ADDRESS], 2, "http://user:***@127.0.0.1:9/a is given twice"),
        (["video", "nowhere.mp4"], 1, "nowhere.mp4 cannot be opened as a video or camera: there is no such file\n"),
        (["video", __file__], 1, f"{__file__} cannot be opened as a video or camera\n"),
        (["video", "-"], 2, "films are not read from stdin; give a file or an address"),
        (["cameras", "0", "-"], 2, "films are not read from stdin; give a file or an address"),
    ],
)
def test_a_source_that_cannot_be_opened_is_named(server, capsys, argv, status, words):
    assert main([*argv, "--url", server.url]) == status
    err = capsys.readouterr().err
    assert words in err
    assert "secret" not in err


def test_cameras_without_opencv_name_the_extra(server, monkeypatch, capsys):
    def missing(purpose):
        raise ModuleNotFoundError("install the extra")

    monkeypatch.setattr("cigpose_client._cli.sources.opencv", missing)
    assert main(["cameras", "rtsp://127.0.0.1:9/a", "--seconds", "5", "--url", server.url]) == 1
    assert "install the extra" in capsys.readouterr().err
