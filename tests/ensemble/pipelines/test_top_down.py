import pytest

from ensemble.geometry import TopDownCrop
from ensemble.networks import Detector, SimCC
from ensemble.pipelines import pipelines
from ensemble.pipelines.top_down import TopDownNetwork
from ensemble.triton.model import Ensemble, Model
from ensemble.triton.render import render

DETECTOR = Detector((416, 416), 3549)
BODY = TopDownNetwork("body", "coco", TopDownCrop((192, 256)), SimCC((384, 512)))
WHOLE = TopDownNetwork("whole", "coco_wholebody", TopDownCrop((288, 384)), SimCC((576, 768)))
SINGLE = TopDownNetwork("single", "crowdpose", TopDownCrop((192, 256)), SimCC((384, 512)), max_batch_size=1)


def names(*networks):
    return [model.name for model in render(pipelines(networks, DETECTOR))]


def test_one_network_has_its_ensembles_and_the_default_ones():
    assert names(BODY) == [
        *("admit_picture", "await_turn", "decode_image", "detector", "select_persons"),
        *("crop_persons", "body", "decode_simcc", "accept_boxes"),
        *("pose", "pose_from_boxes", "pose_body", "pose_from_boxes_body"),
    ]


def test_networks_share_models_where_possible():
    extra = set(names(BODY, WHOLE, SINGLE)) - set(names(BODY))
    assert extra == {
        *("whole", "crop_persons_384x288", "pose_whole", "pose_from_boxes_whole"),
        *("single", "crop_persons_256x192_max1", "select_persons_max1", "pose_single", "pose_from_boxes_single"),
    }


@pytest.mark.parametrize(
    "ensemble", [m for m in render(pipelines((BODY, WHOLE, SINGLE), DETECTOR)) if isinstance(m, Ensemble)]
)
def test_every_tensor_fits_from_step_to_step(ensemble):
    """Dims of the producer and of each consumer agree, with the batch axis where a model has one."""
    models = {m.name: m for m in render(pipelines((BODY, WHOLE, SINGLE), DETECTOR)) if isinstance(m, Model)}
    known = {tensor.name: (tensor.dtype, tensor.dims) for tensor in ensemble.inputs}
    for step in ensemble.steps:
        for tensor in models[step.model].outputs:
            if tensor.name in step.outputs:
                known[step.outputs[tensor.name]] = (tensor.dtype, full_dims(models[step.model], tensor))
    wanted = [(tensor.name, tensor.dtype, tensor.dims) for tensor in ensemble.outputs]
    for step in ensemble.steps:
        model = models[step.model]
        assert set(step.inputs) == {tensor.name for tensor in model.inputs}
        wanted += [(step.inputs[t.name], t.dtype, full_dims(model, t)) for t in model.inputs]
    for name, dtype, dims in wanted:
        assert known[name][0] == dtype
        assert fits(known[name][1], dims), (name, known[name], dims)


def full_dims(model, tensor):
    return (-1, *tensor.dims) if model.max_batch_size else tensor.dims


def fits(given, wanted):
    if len(given) == len(wanted) + 1 and given[0] in (-1, 1):  # Triton drops a batch axis of one
        given = given[1:]
    if len(wanted) == len(given) + 1 and wanted[0] == -1:  # and adds it
        wanted = wanted[1:]
    return len(given) == len(wanted) and all(a == b or -1 in (a, b) for a, b in zip(given, wanted, strict=True))


def test_the_network_limits_persons():
    models = {m.name: m for m in render(pipelines((BODY, SINGLE), DETECTOR))}
    assert models["select_persons"].parameters["max_persons"] == "32"
    assert models["select_persons_max1"].parameters["max_persons"] == "1"
    assert models["crop_persons_256x192_max1"].parameters["max_crops"] == "1"


def test_crops_that_differ_have_steps_of_their_own():
    crops = [TopDownCrop((192, 256)), TopDownCrop((192, 256), 1.1), TopDownCrop((192, 256), warp="udp")]
    networks = [TopDownNetwork(f"n{i}", "coco", crop, SimCC((384, 512))) for i, crop in enumerate(crops)]
    models = {m.name: m for m in render(pipelines(networks, DETECTOR))}
    found = {name: m.parameters for name, m in models.items() if name.startswith("crop_persons")}
    assert {name: (facts["padding"], facts["warp"]) for name, facts in found.items()} == {
        "crop_persons": ("1.25", "affine"),
        "crop_persons_256x192_x1.1": ("1.1", "affine"),
        "crop_persons_256x192_udp": ("1.25", "udp"),
    }


def test_every_ensemble_lists_the_networks_default_first():
    ensembles = [model for model in render(pipelines((BODY, WHOLE), DETECTOR)) if isinstance(model, Ensemble)]
    assert {ensemble.parameters["networks"] for ensemble in ensembles} == {"body,whole"}
    with pytest.raises(ValueError, match="must hold no comma"):
        pipelines((TopDownNetwork("a,b", "coco", TopDownCrop((192, 256)), SimCC((384, 512))),), DETECTOR)


@pytest.mark.parametrize("networks", [(), (BODY, BODY)])
def test_one_network_is_required_and_names_must_differ(networks):
    with pytest.raises(ValueError, match="a repository needs one network at least, and their names must differ"):
        pipelines(networks, DETECTOR)


def test_a_top_down_network_needs_a_detector():
    with pytest.raises(ValueError, match="body takes crops of single persons, so it needs a detector; add --detector"):
        pipelines((BODY,))
