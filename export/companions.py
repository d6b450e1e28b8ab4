"""Files that belong to an input without being named on the command line: the weights beside a network."""

from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from export import graph_edit
from export.tfjs import graph_model


def companions(path: Path) -> list[Path]:
    """Return the files of weights of an ONNX file or a graph model (.json); none for another or a damaged file."""
    try:
        if path.suffix == ".json":
            return graph_model.weight_files(path)
        return graph_edit.external_files(path, onnx.load(path, load_external_data=False))
    except (DecodeError, ValueError, OSError):  # the command itself reports what is wrong with the file
        return []
