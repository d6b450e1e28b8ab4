"""`python -m export variants`, which must run without PyTorch."""

import os
import subprocess
import sys

import pytest

from export.__main__ import main
from export.families import cigpose, families, graph_pcnn, hrnet


def test_each_line_begins_with_the_name_of_a_network(capsys):
    assert main(["variants"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [name for family in families().values() for name in family.variants]
    assert "133 points" in lines[0]
    assert "256x192" in lines[0]
    assert "18.7 M" in lines[0]
    assert "AP 59.9 on COCO-WholeBody" in lines[0]
    described = {line.split()[0]: line for line in lines}
    for name in (*cigpose.VARIANTS, *hrnet.VARIANTS):
        assert "; weights: https://drive.google.com/" in described[name]
    assert "17 points      512  36.0 M  bottom-up" in described["logocap-hrnet-w32-coco"]
    assert " 34.0 M  AP 70.4 on COCO val2017" in described["pose_resnet_50_256x192"]
    assert "AP 64.6 on COCO val2017" in described["graphpcnn_resnet_50_128x96"]
    assert "no accuracy published" in described["graphpcnn_hrnet_w48_384x288"]
    assert all("no public weights of stage 2 exist" in described[name] for name in graph_pcnn.VARIANTS)


def test_the_command_needs_no_pytorch():
    code = "import sys; sys.modules['torch'] = None; from export.__main__ import main; sys.exit(main(['variants']))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("buffered", ["", "1"])
def test_a_closed_pipe_is_no_error(buffered):
    environment = {**os.environ, "PYTHONUNBUFFERED": buffered}
    command = [sys.executable, "-m", "export", "variants"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 1
