"""Export of trained networks to ONNX files for `python -m export repository`."""

import copy
import sys
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper

from export import graph_edit
from export.detectors.yolox import STRIDES
from export.families.cigpose.export import export_onnx
from export.families.graph_pcnn import export as graph_pcnn
from export.families.graph_pcnn.network import GraphPcnn
from export.families.logocap import export as logocap
from export.families.logocap.network import LogoCap
from export.families.poseformer import export as poseformer
from export.families.poseformer.network import PoseFormer
from export.half_weights import store_half
from export.onnx_export import ExportOptions, trace
from synthetic.detector_task import SIZE
from synthetic.pose_task import POSE, GuidedPose
from synthetic.trainer import Trainer
from synthetic.yolox import SmallYolox

_LARGE = 1024  # smallest number of elements that are stored as int8


def export_pose(trainer: Trainer, path: Path) -> None:
    """Write the averaged pose network, its weights stored in float16."""
    guided = GuidedPose(POSE)
    guided.load_state_dict(trainer.averaged.module.state_dict())
    network = guided.pose.eval()
    report = export_onnx(network, path, ExportOptions(precision="fp16-weights"))
    graph_edit.save(_store_graphs_as_int8(graph_edit.load(path)), path)
    sys.stderr.write(f"{path}: {report}\n")


def export_graph_pcnn(trainer: Trainer, path: Path) -> None:
    """Write the averaged two-stage network in float32."""
    network: GraphPcnn = copy.deepcopy(trainer.averaged.module).eval()
    sys.stderr.write(f"{path}: {graph_pcnn.export_onnx(network, path)}\n")


def export_lifter(trainer: Trainer, path: Path) -> None:
    """Write the averaged lifter, the weights of its backbone stored in float16."""
    network: PoseFormer = copy.deepcopy(trainer.averaged.module).eval()
    report = poseformer.export_onnx(network, path, ExportOptions(precision="fp16-weights"))
    sys.stderr.write(f"{path}: {report}\n")


def export_logocap(trainer: Trainer, path: Path) -> None:
    """Write the averaged bottom-up network in float32."""
    network: LogoCap = copy.deepcopy(trainer.averaged.module).eval()
    sys.stderr.write(f"{path}: {logocap.export_onnx(network, path)}\n")


def export_detector(trainer: Trainer, path: Path) -> None:
    """Write the averaged detector in YOLOX's raw form, its weights stored in float16."""
    network = SmallYolox()
    network.load_state_dict(trainer.averaged.module.state_dict())
    graph_edit.save(store_half(raw_yolox(network.eval(), SIZE)), path)


def raw_yolox(network: SmallYolox, size: int) -> onnx.ModelProto:
    """Return the graph from `images` [batch, 3, size, size] to `output` [batch, A, 6], as Megvii's files have it."""
    candidates = sum((size // stride) ** 2 for stride in STRIDES)
    return trace(network, {"images": torch.zeros(2, 3, size, size)}, {"output": (candidates, 6)})


def _store_graphs_as_int8(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with its large constants of zeros and ones (adjacency of keypoints) stored as int8."""
    for node in list(model.graph.node):
        values = numpy_helper.to_array(node.attribute[0].t) if node.op_type == "Constant" else np.zeros(0)
        if values.size < _LARGE or values.dtype != np.float32 or not np.isin(values, (0, 1)).all():
            continue
        index, name = list(model.graph.node).index(node), node.output[0]
        node.attribute[0].t.CopyFrom(numpy_helper.from_array(values.astype(np.int8)))
        node.output[0] = f"{name}/int8"
        model.graph.node.insert(
            index + 1, helper.make_node("Cast", [node.output[0]], [name], to=onnx.TensorProto.FLOAT)
        )
    return model
