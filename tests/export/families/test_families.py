"""Which family serves a file: the metadata's, else the first whose form it has; and what families may not do."""

import ast
import json
import sys
from pathlib import Path

import onnx
import pytest

from export.families import FAMILIES, families, serve_pose_file
from tests.networks import save_detector, save_pose_network


def described(path, **meta):
    model = onnx.load(path)
    onnx.helper.set_model_props(model, {"cigpose_meta": json.dumps(meta)})
    onnx.save(model, path)
    return path


def test_registry_names_equal_family_names():
    assert [family.name for family in families().values()] == list(families()) == list(FAMILIES)


def test_the_served_model_repeats_the_family_of_the_metadata(tmp_path):
    path = described(save_pose_network(tmp_path / "net.onnx"), family="cigpose", variant="v")
    assert serve_pose_file(path).model.source.items() >= {"family": "cigpose", "variant": "v"}.items()


def test_files_without_a_family_are_recognised_by_their_form(tmp_path):
    path = described(save_pose_network(tmp_path / "net.onnx"), variant="v", exporter="cigpose-triton export 2")
    source = serve_pose_file(path).model.source
    assert (source["variant"], "family" in source) == ("v", False)


def test_an_unknown_family_is_refused_with_the_known_ones(tmp_path):
    path = described(save_pose_network(tmp_path / "net.onnx"), family="other")
    with pytest.raises(
        ValueError, match=r"net\.onnx: the metadata says family 'other'; known: cigpose, logocap, simcc"
    ):
        serve_pose_file(path)


def test_a_file_of_no_family_is_rejected_with_the_known_forms(tmp_path):
    expected = (
        r"d\.onnx: inputs: images \[1, 3, 416, 416\]; outputs: output \[1, 3549, 6\]; "
        r"no family of pose networks has this form\. logocap: a picture .*; "
        r"simcc: crops \[batch, 3, H, W\] -> two SimCC rows"
    )
    with pytest.raises(ValueError, match=expected):
        serve_pose_file(save_detector(tmp_path / "d.onnx"))


def test_a_file_that_is_not_of_its_family_is_refused(tmp_path):
    path = described(save_detector(tmp_path / "d.onnx"), family="simcc")
    with pytest.raises(ValueError, match=r"the outputs are output \[1, 3549, 6\]; a SimCC network has two"):
        serve_pose_file(path)


_CHECKOUT = Path(__file__).parents[3]
_STEPS = [path for folder in ("export", "tests/export/seams") for path in (_CHECKOUT / folder).rglob("steps.py")]


@pytest.mark.parametrize("path", _STEPS, ids=lambda path: path.parent.name)
def test_a_familys_own_steps_import_what_a_server_has(path):
    nodes = list(ast.walk(ast.parse(path.read_text())))
    imported = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    packages = {name.partition(".")[0] for name in imported} - sys.stdlib_module_names
    assert packages <= {"numpy", "cv2", "ensemble"}
