"""Names of sources."""

from cigpose_client.__main__ import main


def test_cameras_without_opencv_name_the_extra(server, monkeypatch, capsys):
    def missing(purpose):
        raise ModuleNotFoundError("install the extra")

    monkeypatch.setattr("cigpose_client._cli.sources.opencv", missing)
    assert main(["cameras", "rtsp://127.0.0.1:9/a", "--seconds", "5", "--url", server.url]) == 1
    assert "install the extra" in capsys.readouterr().err
