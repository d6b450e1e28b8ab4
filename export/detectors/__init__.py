"""A person detector's ONNX file of any known family -> its served form."""

from dataclasses import dataclass
from pathlib import Path

from export import graph_edit, network_file
from export.detectors.contract import ServedDetector
from export.detectors.detr import is_detr, serve_detr
from export.detectors.yolox import serve_yolox

FORMS = ("yolox-raw", "yolox-decoded", "rt-detr")


@dataclass(frozen=True)
class DetectorOptions:
    """What a detector file may leave unsaid.

    Attributes:
        input_size: (w, h) of the letterboxed picture, for files that leave it open.
        form: one of FORMS; None: names, shapes and numbers tell.
        person: index of the class of people; 0 in every numbering of COCO's 80 classes.
    """

    input_size: tuple[int, int] | None = None
    form: str | None = None
    person: int = 0


def serve_detector_file(path: Path, options: DetectorOptions | None = None) -> ServedDetector:
    """Read a YOLOX or RT-DETR file and fold everything around the network into its graph.

    Raises:
        ValueError: the file is no such detector (the message says what it is instead), or leaves something open (the
            message names the option that says it).
    """
    options = options or DetectorOptions()
    model = graph_edit.load(path)
    size = network_file.fix_size(path, model, options.input_size, "--detector-size")
    network_file.with_float32_ends(model)
    if options.form == "rt-detr" or (options.form is None and is_detr(model)):
        if not is_detr(model):
            raise ValueError(f"{path}: outputs {[value.name for value in model.graph.output]} are not RT-DETR's")
        return serve_detr(path, model, size, options.person)
    network_file.refuse_other_inputs(path, model)
    decoded = None if options.form is None else options.form == "yolox-decoded"
    return serve_yolox(path, model, size, decoded, options.person)
