"""Common to all subcommands: the help, the report of a missing server, and remedies that name options."""

import io
import json
import re
import sys
import time

import cv2
import numpy as np
import pytest
from cigpose_client.__main__ import main
from cigpose_client._cli.arguments import in_options

from ensemble.request_parameters import RequestParameters


@pytest.mark.parametrize("command", ["image", "folder", "video", "camera", "cameras"])
def test_help_shows_the_defaults(capsys, command):
    assert main([command, "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    server = RequestParameters()
    for option, default in {
        "--timeout S": "default: 30",
        "--url URL": "default: localhost:8001",
        "--model MODEL": "default: pose",
        "--threshold SCORE": "default: 0.3",
        "--parts PART,...": "default: body,hands,face,feet",
        "--bbox-threshold SCORE": f"server's default: {server.bbox_threshold}",
        "--nms-threshold IOU": f"server's default: {server.nms_threshold}",
        "--max-persons N": f"server's default: {server.max_persons}",
    }.items():
        _, _, after = text.rpartition(f"{option} ")
        assert f"({default})" in after.split(" --")[0], option


@pytest.mark.parametrize("command", ["image", "folder", "video", "camera", "cameras", "evaluate", "info", "check"])
def test_a_dead_server_is_reported_immediately_and_once(tmp_path, monkeypatch, command):
    photo = tmp_path / "photo.png"
    cv2.imwrite(str(photo), np.full((240, 320, 3), 90, np.uint8))
    clip = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter_fourcc(*"MJPG"), 5.0, (64, 48))
    writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.release()
    truth = {"images": [{"id": 1, "file_name": photo.name, "width": 320, "height": 240}], "annotations": []}
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    sources = {
        "image": [photo],
        "folder": [tmp_path],
        "video": [clip],
        "camera": [clip],
        "cameras": [clip],
        "evaluate": ["--annotations", tmp_path / "truth.json", "--images", tmp_path],
    }
    err = TimedStream()
    monkeypatch.setattr(sys, "stderr", err)
    argv = [command, *sources.get(command, []), "--url", "127.0.0.1:1", "--timeout", "2"]
    assert main([str(word) for word in argv]) == 1
    waiting = "waiting for 127.0.0.1:1; no server listens there yet"
    assert err.getvalue().count(waiting) == 1
    assert err.first_s < err.last_s - 0.2  # retries followed the report
    *_, problem, remedy = err.getvalue().splitlines()
    assert re.search(r"no answer from 127.0.0.1:1: no server listens there .*, tried for [\d.]+ s", problem)
    assert remedy == "  is the server running, and is --url its gRPC address?"


class TimedStream(io.StringIO):
    """Records the times of its first and last write, in seconds since its creation."""

    def __init__(self):
        super().__init__()
        self.start_s = time.monotonic()
        self.first_s = None

    def write(self, text):
        self.last_s = time.monotonic() - self.start_s
        self.first_s = self.last_s if self.first_s is None else self.first_s
        return super().write(text)


def test_the_remedies_are_options_of_the_command(server, tmp_path, capsys):
    server.delay_s = 1.0
    (tmp_path / "1.jpg").write_bytes(b"1")
    assert main(["image", str(tmp_path / "1.jpg"), "--timeout", "0.2", "--url", server.url]) == 1
    assert capsys.readouterr().err.splitlines() == [
        f"cigpose-client: {tmp_path}/1.jpg: no answer from {server.url} within 0.2 s",
        "  raise --timeout, or lower --concurrency",
    ]


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--url localhost", "give host:port"),
        ("--url grpc://localhost:8001", "no grpc:// addresses"),
        ("--parts body,tail", "give one or more of body, hands, face, feet"),
        ("--parts ,", "give one or more of body, hands, face, feet"),
        ("--labels name", "score"),
        ("--line-width 0", "0 is not a finite number above 0"),
        ("--timeout nan", "nan is not a finite number above 0"),
        ("--timeout inf", "inf is not a finite number above 0"),
    ],
)
def test_a_wrong_value_is_wrong_usage(capsys, option, words):
    assert main(["image", "a.jpg", *option.split()]) == 2
    assert words in capsys.readouterr().err


def test_only_whole_names_of_parameters_are_replaced():
    assert in_options("give tls=Tls(), or leave out tls") == "give --tls, or leave out --tls"
    assert in_options("the model_repository at curl_url") == "the model_repository at curl_url"
