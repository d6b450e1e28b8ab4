"""Post-training quantisation by NNCF, and the order in which layers return to float32 when it loses too much."""

import contextlib
import io
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import onnx

from ensemble.steps import Arrays
from export.quantization import graph
from export.quantization.loss import Loss

Measure = Callable[[onnx.ModelProto], Loss]
Harm = Callable[[onnx.ModelProto], float]
_MOST_RETURNED = 0.75  # of the work; beyond it, eight bits gain too little
_OPSET = 13  # the first with a scale for each channel


class TooMuchLost(ValueError):
    """Even with most of the work in float32, the loss is not allowed.

    Attributes:
        loss: the last measured one.
    """

    def __init__(self, loss: Loss, layers: int, may_lose: float):
        super().__init__(f"{loss}, with {layers} layers in float32; {may_lose:g} is allowed (--may-lose)")
        self.loss = loss


@dataclass(frozen=True)
class Found:
    """An eight-bit model that loses no more than allowed.

    Attributes:
        model: the model.
        eight_bits: its layers in eight bits.
        returned: layers that could be in eight bits but cost too much -> the harm of each alone.
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
        raise ValueError("no layer of this network can be in eight bits: it has no dense convolution")
    (opset,) = [each.version for each in original.opset_import if each.domain in ("", "ai.onnx")]
    if opset < _OPSET:
        original = onnx.version_converter.convert_version(original, _OPSET)
    part = graph.with_outputs(original, graph.last(original, names))  # NNCF does not know every kind of node
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


def search(original: onnx.ModelProto, feeds: Sequence[Arrays], harm: Harm, measure: Measure, may_lose: float) -> Found:
    """Quantise, and return layers to float32, the most harmful first, until the loss is allowed.

    Args:
        original: float32 model from `graph.readied`.
        feeds: calibration inputs, one item each.
        harm: returns how far a version is from float32. Called for each layer in eight bits alone, to order them by
            their harm for the work that they save.
        measure: returns the loss of a version.
        may_lose: largest allowed loss, including its standard error.

    Raises:
        TooMuchLost: even with most of the work in float32, the loss is not allowed.
    """
    quantised = quantise(original, feeds)
    names, loss = graph.in_eight_bits(quantised), measure(quantised)
    if loss.bound <= may_lose:
        return Found(quantised, names, {}, loss)
    shares = graph.multiplications(original, names)
    others = {name: [each for each in names if each != name] for name in names}
    harms = {name: harm(graph.with_float(quantised, original, rest)) for name, rest in others.items()}
    order = sorted(names, key=lambda name: -harms[name] / shares[name])
    count, tried = 1, 0
    while sum(shares[name] for name in order[:count]) <= _MOST_RETURNED:
        model = graph.with_float(quantised, original, order[:count])
        loss = measure(model)
        if loss.bound <= may_lose:
            returned = {name: harms[name] for name in order[:count]}
            return Found(model, graph.in_eight_bits(model), returned, loss)
        count, tried = count + max(1, count // 4), count
    raise TooMuchLost(loss, tried, may_lose)


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
