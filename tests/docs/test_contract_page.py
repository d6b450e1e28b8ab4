"""Checks the tables and examples of docs/contract.md against a running server."""

import json
import re
import shutil
import struct
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc

from ensemble.request_parameters import RequestParameters
from ensemble.steps.decode_image import PictureLimits
from tests.pictures import encode, noise_picture, picture_with_persons
from tests.triton import call, counters

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "contract.md").read_text(encoding="utf-8")
pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def photo():
    return encode(picture_with_persons([(10, 10), (30, 20)]), ".png")


def rows(title):
    """Return the cells of the table rows in one section of the page."""
    section = PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line.startswith("|")
    ]


@pytest.mark.parametrize("model", ["pose", "pose_from_boxes", "pose_spots", "pose_from_boxes_spots"])
def test_tensors_match_the_page(server, model):
    documented = {
        cells[0].strip("`"): cells[1].replace(" ", "").replace("K", "17")
        for cells in rows("Ensembles")
        if "[" in cells[1]
    }
    with tritonclient.grpc.InferenceServerClient(server.grpc_url) as client:
        config = client.get_model_config(model, as_json=True)["config"]
        parameters = {key: value["string_value"] for key, value in config["parameters"].items()}
    tensors = [*config["input"], *config["output"]]
    assert {tensor["name"] for tensor in tensors} == set(documented)
    for tensor in tensors:
        kind = tensor["data_type"].removeprefix("TYPE_").replace("STRING", "BYTES")
        assert documented[tensor["name"]] == f"{kind}[{','.join(tensor['dims'])}]"
    facts = {"kind": "top_down", "keypoint_set": "coco", "network": "spots", "max_persons": "32", "networks": "spots"}
    assert parameters == facts


def test_defaults_and_limits_match_the_page():
    defaults = {cells[0].strip("`"): float(cells[1]) for cells in rows("Request parameters")[2:]}
    assert defaults == vars(RequestParameters())
    limits = [int(cells[1].split()[0]) for cells in rows("Limits")[2:4]]
    assert limits == [PictureLimits().max_bytes, PictureLimits().max_pixels]


def refusals(server):
    good, damaged = encode(noise_picture()), encode(noise_picture())[:-900]
    bomb = good[:16] + struct.pack(">II", 60_000, 60_000) + good[24:]
    for encoded in (b"", bytes(32_000_001), bomb, damaged, good[:12]):
        yield call(server, "pose", encoded, error=True)
    for boxes in ([[0, 0, np.nan, 1]], [[5, 5, 5, 5]], [[0, 0, 5, 5]] * 33):
        yield call(server, "pose_from_boxes", good, np.array(boxes, np.float32), error=True)
    for parameters in ({"nms_threshold": -1}, {"max_persons": 0}, {"max_persons": 33}, {"typo": 1}):
        yield call(server, "pose", good, error=True, **parameters)


def test_error_texts_match_the_page(server):
    templates = [cells[0].strip("`") for cells in rows("Refusals")[2:]]
    patterns = [".+".join(map(re.escape, template.split("..."))) for template in templates]
    seen = set()
    for failure in refusals(server):
        assert failure.status() == "StatusCode.INVALID_ARGUMENT"
        match = re.fullmatch(r"in ensemble 'pose(_from_boxes)?', (.*)", failure.message())
        assert match, failure.message()
        fitting = [pattern for pattern in patterns if re.fullmatch(pattern, match[2])]
        assert fitting, match[2]
        seen.update(fitting)
    assert seen == set(patterns)


def test_metrics_match_the_page(server, photo):
    call(server, "pose", photo)
    call(server, "pose", encode(noise_picture()))
    call(server, "pose", b"no picture", error=True)
    for cells in rows("Metrics")[2:]:
        assert counters(server, cells[0].strip("`").split("{")[0])


def test_the_tritonclient_example_runs(server, photo, tmp_path, monkeypatch):
    (tmp_path / "photo.jpg").write_bytes(photo)
    monkeypatch.chdir(tmp_path)
    code = PAGE.split("```python\n")[1].split("```")[0].replace("localhost:8001", server.grpc_url)
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.count("[") > 2 * 17


@pytest.mark.parametrize("shell", ["bash", "dash", "zsh"])
def test_the_curl_example_runs(server, photo, tmp_path, shell):
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    (tmp_path / "photo.jpg").write_bytes(photo)
    code = PAGE.split("```sh\n")[1].split("```")[0].replace("localhost:8000", f"127.0.0.1:{server.options.http_port}")
    done = subprocess.run([shell, "-euc", code], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert done.stderr == ""
    outputs = {output["name"]: output for output in json.loads(done.stdout)["outputs"]}
    expected = call(server, "pose", photo)
    for name in ("bboxes", "keypoints"):
        assert outputs[name]["shape"] == list(expected[name].shape)
        np.testing.assert_allclose(np.ravel(outputs[name]["data"]), expected[name].ravel(), rtol=1e-6)


def test_http_rejects_like_grpc(server):
    header = json.dumps(
        {"inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "data": ["no picture"]}]}
    ).encode()
    url = f"http://127.0.0.1:{server.options.http_port}/v2/models/pose/infer"
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(urllib.request.Request(url, header), timeout=10)
    assert error.value.code == 400
    assert "are no JPEG, PNG, WebP or BMP" in json.loads(error.value.read())["error"]


def test_a_plain_grpc_stub_gets_an_answer(server, photo, tmp_path, monkeypatch):
    command = ["grpc_tools.protoc", f"-I{DOCS}", f"--python_out={tmp_path}", f"--grpc_python_out={tmp_path}"]
    subprocess.run([sys.executable, "-m", *command, "kserve_v2.proto"], check=True)
    script = f"""
import struct, sys, grpc, kserve_v2_pb2 as pb, kserve_v2_pb2_grpc as rpc
picture = sys.stdin.buffer.read()
request = pb.ModelInferRequest(model_name="pose", raw_input_contents=[struct.pack("<I", len(picture)) + picture])
request.inputs.add(name="image", datatype="BYTES", shape=[1])
request.outputs.add(name="persons_detected")
request.parameters["max_persons"].int64_param = 1
answer = rpc.GRPCInferenceServiceStub(grpc.insecure_channel("{server.grpc_url}")).ModelInfer(request, timeout=10)
print(answer.outputs[0].name, struct.unpack("<i", answer.raw_output_contents[0])[0])
"""
    done = subprocess.run([sys.executable, "-c", script], input=photo, cwd=tmp_path, check=True, capture_output=True)
    assert done.stdout == b"persons_detected 2\n"
