"""The graph: which models a repository holds, and how the ensembles wire them.

image -> admit_picture -> await_turn -> decode_image -> detector -> select_persons -+
image, bboxes -> admit_picture -> await_turn -> decode_image -----> accept_boxes ---+
    crop_persons -> <network> -> decode_simcc <-------------------------------------+
"""

from ensemble.graph import steps
from ensemble.graph.model import Ensemble, Model, Step, Tensor
from ensemble.graph.networks import MAX_PERSONS, Detector, Network
from ensemble.keypoints import keypoint_set


def pipeline(networks: tuple[Network, ...], detector: Detector) -> tuple[Model | Ensemble, ...]:
    """Return every model of the repository; the first network is the default one.

    Raises:
        ValueError: no network, two of one name, or a name with a comma.
    """
    names = [network.name for network in networks]
    if not names or len(set(names)) != len(names):
        raise ValueError(f"the networks' names must differ, and there must be one at least; got {names}")
    if any("," in name for name in names):  # it parts the names in the ensembles' parameter `networks`
        raise ValueError(f"a network's name must hold no comma; got {names}")
    default, listed = networks[0], ",".join(names)
    models = [steps.admit_picture(), steps.await_turn(), steps.decode_image(detector), steps.detector_model(detector)]
    models += [steps.accept_boxes(), steps.decode_simcc()]
    models += [steps.select_persons(_select_name(network, default), network, detector) for network in networks]
    models += [steps.crop_persons(_crop_name(network, default), network) for network in networks]
    models += [steps.network_model(network) for network in networks]
    ensembles = [*_ensembles("", default, default, listed)]
    for network in networks:
        ensembles += _ensembles(f"_{network.name}", network, default, listed)
    return (*{model.name: model for model in models}.values(), *ensembles)


def _ensembles(suffix: str, network: Network, default: Network, listed: str) -> tuple[Ensemble, Ensemble]:
    count = len(keypoint_set(network.keypoint_set))
    outputs = (
        steps.BBOXES,
        steps.BBOX_SCORES,
        Tensor("keypoints", "FP32", (-1, count, 2)),
        Tensor("keypoint_scores", "FP32", (-1, count)),
        steps.PERSONS_DETECTED,
    )
    parameters = {
        "keypoint_set": network.keypoint_set,
        "network": network.name,
        "max_persons": str(network.max_batch_size),
        "networks": listed,  # of the repository, the default first: the list of models is closed to the network
    }
    admit = (_step("admit_picture", "image -> place"), _step("await_turn", "place -> ticket"))
    detect = (
        *admit,
        _step("decode_image", "image ticket -> image_bgr image_size letterboxed"),
        _step(steps.DETECTOR, "letterboxed -> boxes scores"),
        _step(
            _select_name(network, default),
            "boxes scores image_size ticket -> bboxes bbox_scores persons_detected person_boxes",
        ),
    )
    accept = (
        *admit,
        _step("decode_image", "image ticket -> image_bgr image_size"),
        _step("accept_boxes", "bboxes image_size ticket -> bbox_scores persons_detected person_boxes"),
    )
    # The network comes first because of `pose_from_boxes`, where `bboxes` is input and output: Triton 2.51 takes it for
    # an output of the first step. Not asked for, it counts against that step's outputs, and a step with none left is
    # dropped although it is needed. The network's two outputs are used both or not at all, so one may be miscounted.
    estimate = (
        _step(network.name, "crops -> simcc_x simcc_y"),
        _step(_crop_name(network, default), "image_bgr person_boxes ticket -> crops centers scales"),
        _step("decode_simcc", "simcc_x simcc_y centers scales ticket -> keypoints keypoint_scores"),
    )
    return (
        Ensemble(f"pose{suffix}", (steps.IMAGE,), outputs, (*estimate, *detect), parameters),
        Ensemble(f"pose_from_boxes{suffix}", (steps.IMAGE, steps.BBOXES), outputs, (*estimate, *accept), parameters),
    )


def _step(model: str, tensors: str) -> Step:
    """Every tensor has one name, in the models and in the ensembles, so a step is told by `inputs -> outputs`."""
    inputs, outputs = (part.split() for part in tensors.split("->"))
    return Step(model, dict(zip(inputs, inputs, strict=True)), dict(zip(outputs, outputs, strict=True)))


def _select_name(network: Network, default: Network) -> str:
    limit = network.max_batch_size
    return "select_persons" if limit == default.max_batch_size else f"select_persons_max{limit}"


def _crop_name(network: Network, default: Network) -> str:
    size, limit = network.input_size, network.max_batch_size
    if (size, limit) == (default.input_size, default.max_batch_size):
        return "crop_persons"
    return f"crop_persons_{size[1]}x{size[0]}" + ("" if limit == MAX_PERSONS else f"_max{limit}")
