"""Post-training quantisation by NNCF, and the order in which layers return to float32 when it loses too much."""

import contextlib
import io
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from ensemble.steps import Arrays
from export import graph_edit
from export.comparison import difference, joined
from export.quantization import graph
from export.quantization.loss import Loss

Measure = Callable[[onnx.ModelProto], Loss]
_MOST_RETURNED = 0.75  # of the work; beyond it, eight bits gain too little
_OPSET = 13  # the first with a scale for each channel


class TooMuchLost(ValueError):
    """No version of a network loses as little as is allowed.

    Attributes:
        loss: the last measured one.
    """

    def __init__(self, loss: Loss, version: str, may_lose: float, remedy: str = ""):
        super().__init__(f"{loss}, {version}; {may_lose:g} is allowed (--may-lose){remedy}")
        self.loss = loss


@dataclass(frozen=True)
class Found:
    """An eight-bit model that loses no more than allowed.

    Attributes:
        model: the model.
        eight_bits: its layers in eight bits.
        returned: layers that could be in eight bits but cost too much -> the error of each alone, in standard
            deviations.
        loss: the measured loss.
    """

    model: onnx.ModelProto
    eight_bits: list[str]
    returned: Mapping[str, float]
    loss: Loss


def quantise(original: onnx.ModelProto, feeds: Sequence[Arrays]) -> onnx.ModelProto:
    """Return the model with all candidates in eight bits, as pairs of QuantizeLinear and DequantizeLinear.

    Args:
        original: float32 model from `graph.readied`.
        feeds: calibration inputs, one item each.

    Raises:
        ValueError: the model's opset is too old, or no layer may be in eight bits.
    """
    import nncf  # imported here: the command line and its help do not need it

    names = graph.candidates(original)
    if not names:
        why = "; ".join(dict.fromkeys(graph.reasons(original).values())) or "none has weights"
        raise ValueError(f"no layer of this network can be in eight bits: {why}")
    (opset,) = [each.version for each in original.opset_import if each.domain in ("", "ai.onnx")]
    if opset < _OPSET:
        original = onnx.version_converter.convert_version(original, _OPSET)
    part = graph_edit.with_outputs(original, graph.last(original, names))  # NNCF does not know every kind of node
    rest = [node.name for node in part.graph.node if node.name not in set(names)]
    with _quiet():
        quantised = nncf.quantize(
            part,
            nncf.Dataset([dict(feed) for feed in feeds]),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(feeds),
            ignored_scope=nncf.IgnoredScope(names=rest, validate=False),
        )
    return graph.unsigned(graph.transplanted(quantised, original))


def search(original: onnx.ModelProto, feeds: Sequence[Arrays], measure: Measure, may_lose: float) -> Found:
    """Quantise, and return layers to float32, those with the largest error for their work first.

    The squares of the errors of single layers add up, as those of independent noise do.

    Args:
        original: float32 model from `graph.readied`.
        feeds: calibration inputs, one item each.
        measure: returns the loss of a version.
        may_lose: largest allowed loss, including its standard error.

    Raises:
        TooMuchLost: even with most of the work in float32, the loss is not allowed.
    """
    quantised = quantise(original, feeds)
    names, loss = graph.in_eight_bits(quantised), measure(quantised)
    if loss.bound <= may_lose:
        return Found(quantised, names, {}, loss)
    shares, errors = graph.multiplications(original, names), sensitivities(original, quantised, feeds[::8])
    order = sorted(names, key=lambda name: -(errors[name] ** 2) / shares[name])
    count, tried = 1, 0
    while sum(shares[name] for name in order[:count]) <= _MOST_RETURNED:
        model = graph.with_float(quantised, original, order[:count])
        loss = measure(model)
        if loss.bound <= may_lose:
            returned = {name: errors[name] for name in order[:count]}
            return Found(model, graph.in_eight_bits(model), returned, loss)
        count, tried = count + max(1, count // 3), count
    raise TooMuchLost(loss, f"with {tried} layers in float32", may_lose)


def sensitivities(original: onnx.ModelProto, quantised: onnx.ModelProto, feeds: Sequence[Arrays]) -> dict[str, float]:
    """Return the error at the last layers when one layer alone is in eight bits, in standard deviations, by layer."""
    names = graph.in_eight_bits(quantised)
    ends = graph.last(original, names)
    expected = _answers(graph_edit.with_outputs(original, ends), feeds)
    errors = {}
    for name in names:
        alone = graph.with_float(quantised, original, [each for each in names if each != name])
        errors[name] = difference(expected, _answers(graph_edit.with_outputs(alone, ends), feeds)).rms
    return errors


def _answers(model: onnx.ModelProto, feeds: Sequence[Arrays]) -> dict[str, Any]:
    session, names = graph_edit.cpu_session(model, 1), [value.name for value in model.graph.output]
    runs = (session.run(names, dict(feed)) for feed in feeds)
    return joined([dict(zip(names, map(np.ravel, arrays), strict=True)) for arrays in runs])  # sizes may differ


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep NNCF's progress bars and notes away from the command's output."""
    logger = logging.getLogger("nncf")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)
