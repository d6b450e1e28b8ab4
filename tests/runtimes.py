"""The same requests for every pipeline of a repository, to be answered by both runtimes."""

import numpy as np
import tritonclient.grpc
from tritonclient.utils import InferenceServerException

from ensemble.triton.stored import read_config
from server.canary import canary_inputs
from tests.triton import call


def pipelines(repository):
    """Return the configs of all pipelines by name."""
    names = sorted(path.parent.name for path in repository.glob("*/config.pbtxt"))
    configs = {name: read_config(repository, name) for name in names}
    return {name: config for name, config in configs.items() if config.platform == "ensemble"}


def failed_canaries(server, repository):
    """Send every model the watchdog's canary; return the errors by model. One would look like a broken model."""
    ensembles, failures = pipelines(repository), {}
    with tritonclient.grpc.InferenceServerClient(server.grpc_url) as client:
        for name in {path.parent.name for path in repository.glob("*/config.pbtxt")} - ensembles.keys():
            try:
                client.infer(name, canary_inputs(read_config(repository, name)), client_timeout=30)
            except InferenceServerException as error:
                failures[name] = str(error)
    return failures


def cases(repository, name, pictures):
    """Return (pipeline, inputs, wanted outputs), for each encoded picture with all outputs, each one, all but one."""
    config, found = pipelines(repository)[name], []
    outputs = [output.name for output in config.output]
    subsets = [None, *([one] for one in outputs), *([other for other in outputs if other != one] for one in outputs)]
    for count, picture in enumerate(pictures):
        inputs = {"image": picture}
        if "bboxes" in {tensor.name for tensor in config.input}:
            corners = np.random.default_rng(count).uniform(0, 200, (count, 2))
            inputs["bboxes"] = np.hstack([corners, corners + np.array([90, 180])]).astype(np.float32)
        found += [(name, inputs, wanted) for wanted in subsets]
    return found


def check(server, case, expected):
    """Ask the server the same; the answer must be equal bit for bit, and is returned."""
    name, inputs, wanted = case
    answer = call(server, name, inputs["image"], inputs.get("bboxes"), wanted)
    assert answer.keys() == expected.keys()
    for output, array in answer.items():
        np.testing.assert_array_equal(array, expected[output], err_msg=f"{name} {wanted} {output}")
    return answer
