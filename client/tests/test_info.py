import json

import pytest
from cigpose_client import ModelNotReady, PoseClient
from cigpose_client.__main__ import main

CLOSED = ("model-repository", "model-config")


def test_info_lists_every_ensemble_that_finds_people(client):
    info = client.info()
    assert (info.name, info.version) == ("triton", "2.51.0")
    assert [(model.name, model.keypoints, model.keypoint_set) for model in info.models] == [
        ("pose", 133, "coco_wholebody"),
        ("pose_a", 133, "coco_wholebody"),
        ("pose_body", 17, "coco"),
        ("pose_crowd", 14, "crowdpose"),
        ("pose_3d", 17, "coco"),
    ]
    lifted = info.models[-1]
    assert (lifted.kind, lifted.keypoint_set_3d, lifted.lifts_from) == ("lifted", "human36m", "body")
    assert info.models[0].keypoint_set_3d is info.models[0].lifts_from is None
    assert info.models[0].network == "network of pose"
    assert info.models[0].max_persons == 32


def test_the_configuration_lists_models_of_a_closed_index(server, client):
    server.closed, server.networks = CLOSED[:1], "body,crowd"
    info = client.info()
    assert [model.name for model in info.models] == ["pose", "pose_body", "pose_crowd"]
    assert info.complete


def test_a_closed_server_is_described(server, capsys):
    server.closed, server.networks = CLOSED, "body,crowd"
    with PoseClient(server.url, model="body") as client:
        info = client.info()
    (model,) = info.models
    assert not info.complete
    assert main(["check", "--url", server.url]) == 0
    assert "This server does not list its models; use --model to choose one." in capsys.readouterr().err
    assert (model.name, model.keypoints, model.keypoint_set) == ("pose_body", 17, "coco")
    assert model.network is model.max_persons is None


def test_an_unknown_model_of_a_closed_server_is_an_error(server):
    server.closed = CLOSED
    with PoseClient(server.url, model="nope") as client, pytest.raises(ModelNotReady):
        client.info()


def test_the_command_prints_it(server, capsys):
    assert main(["info", "--url", server.url]) == 0
    assert "--model pose_body: network of pose_body, 17 keypoints (coco), at most 32 people" in capsys.readouterr().out
    assert main(["info", "--json", "--url", server.url]) == 0
    assert len(json.loads(capsys.readouterr().out)["models"]) == 5


def test_check_asks_every_ensemble(server, capsys):
    assert main(["check", "--url", server.url]) == 0
    assert capsys.readouterr().out.count("ok ") == 5
    assert {request.model for request in server.requests} >= {
        *("pose", "pose_from_boxes", "pose_from_boxes_crowd", "pose_3d_from_boxes"),
    }


def test_check_sends_no_boxes_to_a_bottom_up_network(server, capsys):
    server.bottom_up = ("pose_body",)
    assert main(["check", "--url", server.url]) == 0
    asked = {request.model for request in server.requests}
    assert "pose_body" in asked and "pose_from_boxes_body" not in asked


def test_check_alive_asks_one_network(server, capsys):
    assert main(["check", "--alive", "--model", "body", "--url", server.url]) == 0
    assert {request.model for request in server.requests} == {"pose_body", "pose_from_boxes_body"}


def test_check_names_failing_ensembles(server, capsys, tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    assert main(["check", str(tmp_path / "bad.jpg"), "--url", server.url]) == 1
    assert capsys.readouterr().out.count("FAILED  pose") == 5
