"""The distribution that `pip install ./client` installs."""

import re
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

CLIENT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=CLIENT, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return path


def test_it_depends_on_tritonclient_and_numpy_alone(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        metadata = Parser().parsestr(archive.read(name).decode())
    required = [line for line in metadata.get_all("Requires-Dist") if "extra ==" not in line]
    assert sorted(re.split("[<>]", line)[0] for line in required) == ["numpy", "tritonclient[grpc]"]


def test_it_carries_the_keypoint_sets_and_its_types(wheel):
    with zipfile.ZipFile(wheel) as archive:
        data = archive.read("cigpose_client/keypoint_sets.json")
        assert "cigpose_client/py.typed" in archive.namelist()
        assert not any("tests" in name for name in archive.namelist())
    assert data == (CLIENT / "cigpose_client" / "keypoint_sets.json").read_bytes()


def test_it_works_without_the_checkout_and_without_opencv(wheel, server, tmp_path):
    script = (
        f"import sys; sys.path.insert(0, {str(wheel)!r}); sys.modules['cv2'] = None\n"
        "import cigpose_client\n"
        f"assert cigpose_client.__file__.startswith({str(wheel)!r})\n"
        f"with cigpose_client.PoseClient({server.url!r}) as client: poses = client.estimate(b'3')\n"
        "print(len(poses), poses.keypoint_names[0])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("3 nose\n", "")


@pytest.fixture(scope="module")
def install(wheel, tmp_path_factory):
    """Return a function that installs the wheel, with extras, into an empty environment and returns its programs."""

    def install(extras=""):
        folder = tmp_path_factory.mktemp("venv")
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        command = [folder / "bin" / "python", "-m", "pip", "install", "-q", f"{wheel}{extras}"]
        subprocess.run(command, check=True, capture_output=True)
        return folder / "bin"

    return install


@pytest.mark.slow
def test_it_installs_into_an_empty_environment(install, server, tmp_path):
    programs = install()
    command = [programs / "python", "-m", "pip", "list"]
    installed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "opencv" not in installed
    (tmp_path / "1.jpg").write_bytes(b"1")
    command = [programs / "cigpose-client", "image", "1.jpg", "--url", server.url]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert '"persons_detected":1' in done.stdout


@pytest.mark.slow
def test_supervision_accepts_poses(install, server, tmp_path):
    script = f"""
import numpy as np, supervision
from cigpose_client import PoseClient
for model in ("body", "pose", "crowd"):
    with PoseClient({server.url!r}, model=model) as client:
        poses, nobody = (client.estimate(picture) for picture in (b"3", b"0"))
    people = poses.to_supervision()
    assert isinstance(people, supervision.KeyPoints) and nobody.to_supervision().is_empty()
    annotators = (supervision.EdgeAnnotator(edges=edges) for edges in (None, poses.supervision_edges))
    black = np.zeros((240, 320, 3), np.uint8)
    print(len(people), people.xy.shape, *(bool(a.annotate(black.copy(), people).any()) for a in annotators))
"""
    done = subprocess.run(
        [install("[supervision]") / "python", "-c", script], capture_output=True, text=True, check=False
    )
    # of these three skeletons, supervision itself knows only the one of 17 keypoints
    lines = ["3 (3, 17, 2) True True", "3 (3, 133, 2) False True", "3 (3, 14, 2) False True"]
    assert done.stdout.splitlines() == lines, done.stderr
