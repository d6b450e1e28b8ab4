"""Shape buckets on a tiny LOGO-CAP: the dense part alone takes several pictures, and the numbers add up."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch")

from benchmarks import buckets  # noqa: E402
from ensemble.geometry import PaddedFit  # noqa: E402
from export import graph_edit  # noqa: E402
from export.families.hrnet.variants import Hrnet  # noqa: E402
from export.families.logocap.export import example_picture, export_onnx  # noqa: E402
from export.families.logocap.network import build  # noqa: E402
from export.families.logocap.variants import Variant  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    torch.manual_seed(0)
    architecture = Hrnet(4, (1, 1, 1), blocks=1, stem=8, bottlenecks=1)
    network = build(Variant("tiny", architecture, 64, 8, 4, (12, 8, 8), reach=12, spread=4.0))
    path = tmp_path_factory.mktemp("tiny") / "tiny.onnx"
    export_onnx(network, path)
    return network, path


def test_the_dense_part_takes_several_pictures(tiny):
    network, path = tiny
    session = graph_edit.cpu_session(buckets.dense_part(graph_edit.load(path)))
    pictures = torch.cat([example_picture(64, 128, seed) for seed in range(6)])
    with torch.no_grad():
        expected = network(pictures)
    (feed,) = session.get_inputs()
    found = session.run(None, {feed.name: pictures.numpy()})
    for array, value in zip(found, expected, strict=True):
        np.testing.assert_allclose(array, value, atol=1e-4)


@pytest.mark.parametrize(("batch", "together"), [(1, 1.0), (4, None)])
def test_only_pictures_of_one_size_run_together(batch, together):
    ran = []
    sessions = [lambda planes: ran.append(planes.shape)]
    found = buckets.measure(sessions, PaddedFit(64), callers=6, batch=batch, pictures=24)
    assert sum(shape[0] for shape in ran) == 2 * 24
    assert {shape[2:] for shape in ran} <= {(64, 128), (128, 64), (64, 64)}
    assert max(shape[0] for shape in ran) <= 2 * batch
    assert found.together == (together or pytest.approx(24 / len(ran)))


def test_the_command_writes_its_result(tiny, tmp_path, capsys):
    output = tmp_path / "buckets.json"
    arguments = ["--pose", str(tiny[1]), "--callers", "1", "3", "--pictures", "6", "--output", str(output)]
    assert buckets.main(arguments) == 0
    rows = json.loads(output.read_text())["rows"]
    assert [(row["callers"], row["way"]) for row in rows] == [
        *((1, "one by one"), (1, "buckets"), (3, "one by one"), (3, "buckets"))
    ]
    assert "cpu_ms" in capsys.readouterr().out
