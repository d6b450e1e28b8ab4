"""Heat-map files of other publishers: recognised by their form, described by metadata, flip test in the graph."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from ensemble.keypoints import keypoint_set
from ensemble.networks import Detector
from ensemble.pipelines import pipelines
from export import graph_edit
from export.__main__ import main
from export.families import PoseOptions, serve_pose_file
from export.families.top_down import MEAN, STD
from tests.networks import graph_of, save_detector, save_heatmap_network


def save(path, change=None, meta=None, **sizes):
    save_heatmap_network(path, **sizes)
    model = onnx.load(path)
    if change:
        change(model)
    if meta is not None:
        helper.set_model_props(model, {"cigpose_meta": json.dumps(meta)})
    onnx.save(model, path)
    return path


def crops_of(size=(192, 256), count=2):
    return np.random.default_rng(1).integers(0, 256, (count, size[1], size[0], 3), np.uint8)


def run(served, crops):
    return graph_edit.cpu_session(graph_of(served)).run(["heatmaps"], {"crops": crops})[0]


def maps_of(path, crops, order="rgb", mean=MEAN, std=STD):
    """Run the file itself on normalised crops."""
    channels = (crops[..., ::-1] if order == "rgb" else crops).transpose(0, 3, 1, 2).astype(np.float32)
    normalised = (channels - np.float32(mean).reshape(3, 1, 1)) / np.float32(std).reshape(3, 1, 1)
    return graph_edit.cpu_session(onnx.load(path)).run(None, {"input": normalised})[0]


def test_a_file_without_metadata_is_served(tmp_path):
    path = save(tmp_path / "warm.onnx")
    served = serve_pose_file(path)
    model = served.model
    assert (model.name, model.keypoint_set, model.crop.size, model.max_batch_size) == ("warm", "coco", (192, 256), 32)
    assert (model.crop.padding, model.crop.warp) == (1.25, "affine")
    assert (model.head.size, model.head.decoding, model.head.decoder.name) == ((48, 64), "quarter", "decode_heatmaps")
    np.testing.assert_array_equal(run(served, crops_of()), maps_of(path, crops_of()))


@pytest.mark.parametrize("batch", ["batch", "1"])
@pytest.mark.parametrize(("keypoints", "size"), [(17, (288, 384)), (133, (96, 128)), (14, (256, 256))])
def test_other_sizes_and_batch_axes(tmp_path, batch, keypoints, size):
    path = save(tmp_path / "a.onnx", keypoints=keypoints, size=size, batch=batch)
    served = serve_pose_file(path)
    assert (served.model.crop.size, served.model.max_batch_size) == (size, 32)
    assert served.model.head.size == (size[0] // 4, size[1] // 4)
    expected = np.concatenate([maps_of(path, crop[None]) for crop in crops_of(size, 3)])
    np.testing.assert_array_equal(run(served, crops_of(size, 3)), expected)


def test_shapes_may_be_left_out(tmp_path):
    def open_shapes(model):
        del model.graph.output[0].type.tensor_type.shape.dim[:]
        for dim, name in zip(model.graph.input[0].type.tensor_type.shape.dim[2:], "hw", strict=True):
            dim.dim_param = name

    path = save(tmp_path / "a.onnx", open_shapes)
    with pytest.raises(ValueError, match="set them with --input-size WIDTHxHEIGHT"):
        serve_pose_file(path)
    assert serve_pose_file(path, PoseOptions(input_size=(192, 256))).model.head.size == (48, 64)


def test_a_batch_of_four_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"a\.onnx: the batch is fixed to 4; export the network with a dynamic batch"):
        serve_pose_file(save(tmp_path / "a.onnx", batch="4"))


DESCRIBED = {
    "mean": [1, 2.5, 3],
    "std": [2, 4.5, 5],
    "channel_order": "bgr",
    "keypoint_set": "coco",
    "padding": 1.1,
    "decoding": "udp",
    "blur_kernel_size": 17,
    "search": "box",
    "offset": 0.5,
}


def test_the_metadata_describe_the_network(tmp_path):
    path = save(tmp_path / "a.onnx", meta=DESCRIBED)
    served = serve_pose_file(path)
    crop, head = served.model.crop, served.model.head
    assert (crop.padding, crop.warp, head.decoding, head.blur) == (1.1, "udp", "udp", 17)
    assert (head.search, head.offset) == ("box", 0.5)
    assert head.decoder.name == "decode_heatmaps_udp_blur17_in_box_offset0.5"
    expected = maps_of(path, crops_of(), "bgr", DESCRIBED["mean"], DESCRIBED["std"])
    np.testing.assert_array_equal(run(served, crops_of()), expected)


@pytest.mark.parametrize(
    ("meta", "warp"),
    [({}, "affine"), ({"decoding": "dark"}, "affine"), ({"decoding": "udp"}, "udp"), ({"warp": "udp"}, "udp")],
)
def test_udp_maps_come_from_udp_crops(tmp_path, meta, warp):
    model = serve_pose_file(save(tmp_path / "a.onnx", meta=meta)).model
    crop_persons = next(m for m in pipelines([model], Detector((416, 416), 1))[0].members if m.name == "crop_persons")
    assert (crop_persons.warp, crop_persons.padding) == (warp, 1.25)


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        ({"decoding": "msra"}, "says decoding 'msra'; known: quarter, dark, udp"),
        ({"warp": "perspective"}, "says warp 'perspective'; known: affine, udp"),
        ({"channel_order": "RGB"}, "says channel_order 'RGB'; known: rgb, bgr"),
        ({"blur_kernel_size": 10}, "says blur_kernel_size 10; it must be odd"),
        ({"search": "picture"}, "says search 'picture'; known: crop, box"),
        ({"offset": "half"}, r"says offset 'half'; it must be a number, such as 0"),
        ({"blur_kernel_size": "11"}, "says blur_kernel_size '11'; it must be a number above 0, such as 11"),
        ({"padding": 0}, r"says padding 0; it must be a number above 0, such as 1\.25"),
        ({"padding": float("inf")}, "says padding inf; it must be"),
        ({"mean": [1, 2]}, r"says mean \[1, 2\]; it must be 3 numbers, such as 123\.675, 116\.28, 103\.53"),
        ({"std": [1, 2, 0]}, r"says std \[1, 2, 0\]; it must be 3 numbers above 0, such as"),
        ({"mean": [1, [2, 3]]}, r"says mean \[1, \[2, 3\]\]; it must be 3 numbers"),
        ({"input_w": "192"}, "says input_w '192'; it must be a whole number above 0"),
        ({"input_h": 0}, "says input_h 0; it must be a whole number above 0"),
        ({"family": []}, r"says family \[\]; it must be text"),
        ({"keypoint_set": ["coco"]}, r"says keypoint_set \['coco'\]; it must be text"),
        ({"flip_test": "false"}, "says flip_test 'false'; it must be true or false"),
        ({"split_ratio": "x"}, "says split_ratio 'x'; it must be a number above 0"),
        ({"paddding": 3}, "has the unknown key 'paddding'; rename it to 'padding' or remove it"),
        ({"num_keypoints": 133}, "says num_keypoints 133, is 17"),
        ({"input_w": 96, "input_h": 128}, "says input_w 96, is 192; says input_h 128, is 256"),
    ],
)
def test_unusable_metadata_are_refused(tmp_path, meta, message):
    with pytest.raises(ValueError, match=rf"a\.onnx: the metadata .*{message}"):
        serve_pose_file(save(tmp_path / "a.onnx", meta=meta))


@pytest.mark.parametrize("meta", [{"input_w": None, "padding": None}, {"input_w": 192.0}, {"dataset": "coco"}])
def test_nulls_whole_floats_and_other_keys_are_accepted(tmp_path, meta):
    assert serve_pose_file(save(tmp_path / "a.onnx", meta=meta)).model.crop.padding == 1.25


def leave_size_open(model):
    for dim in model.graph.input[0].type.tensor_type.shape.dim[2:]:
        dim.dim_param = "side"


def test_the_metadata_fix_an_open_size(tmp_path):
    path = save(tmp_path / "a.onnx", leave_size_open, meta={"input_w": 96.0, "input_h": 128})
    assert serve_pose_file(path).model.crop.size == (96, 128)


def test_metadata_that_are_no_object_are_refused_with_the_path(tmp_path):
    path = save(tmp_path / "a.onnx", meta=[])
    with pytest.raises(ValueError, match=r"a\.onnx: metadata key cigpose_meta is no JSON object but '\[\]'"):
        serve_pose_file(path)


@pytest.mark.parametrize("meta", [{}, {"decoding": "dark"}, {"decoding": "udp"}, {"offset": 0.5}])
def test_the_flip_test_shifts_mirrored_maps_whose_points_are_on_the_first_corner(tmp_path, meta):
    path = save(tmp_path / "a.onnx", meta=meta)
    plain, tested = serve_pose_file(path), serve_pose_file(path, PoseOptions(flip_test=True))
    crops = crops_of(count=3)
    back = run(plain, np.ascontiguousarray(crops[:, :, ::-1]))[:, list(keypoint_set("coco").flip_indices), :, ::-1]
    if meta.get("decoding") != "udp" and "offset" not in meta:
        back = np.concatenate([back[..., :1], back[..., :-1]], axis=3)
    np.testing.assert_allclose(run(tested, crops), (run(plain, crops) + back) / 2, atol=1e-5)
    assert tested.model.source["flip_test"] == "True"


def test_another_output_is_refused(tmp_path):
    def second(model):
        model.graph.node.append(helper.make_node("Identity", [model.graph.output[0].name], ["again"]))
        model.graph.output.append(helper.make_tensor_value_info("again", TensorProto.FLOAT, [None] * 4))

    with pytest.raises(ValueError, match=r"the outputs are output .*, again .*; a heat-map network has one"):
        serve_pose_file(save(tmp_path / "a.onnx", second, {"family": "heatmaps"}))


def test_the_command(tmp_path, capsys):
    pose, detector = save(tmp_path / "warm.onnx", meta={"decoding": "udp"}), save_detector(tmp_path / "d.onnx")
    other = save(tmp_path / "other.onnx", size=(288, 384))
    arguments = [
        "--pose",
        str(pose),
        "--pose",
        str(other),
        "--detector",
        str(detector),
        "--output",
        str(tmp_path / "r"),
    ]
    assert main(["repository", *arguments, "--flip-test"]) == 0
    assert "warm: max_batch_size 32, 192x256 pixels" in capsys.readouterr().out
    names = {path.parent.name for path in (tmp_path / "r").glob("*/config.pbtxt")}
    assert {"decode_heatmaps", "decode_heatmaps_udp", "crop_persons", "crop_persons_384x288_affine"} < names
