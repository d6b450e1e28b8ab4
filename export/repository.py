"""Write a whole Triton model repository: configs, adapters with the `ensemble` package beside them, networks."""

import shutil
from pathlib import Path

from cigpose_client.outputs import OutputRefused, write_file

from ensemble.graph.model import Ensemble, Model
from ensemble.graph.pbtxt import render
from ensemble.graph.pipeline import pipeline
from ensemble.graph.profiles import PROFILES
from ensemble.graph.steps import DETECTOR
from export import graph_edit
from export.detector_file import DetectorOptions, serve_detector_file
from export.pose_file import PoseOptions, serve_pose_file
from server import manifest

CHECKOUT = Path(__file__).parents[1]
_ADAPTERS = CHECKOUT / "model_repository"
_PACKAGE = CHECKOUT / "ensemble"


def build_repository(
    pose_files: list[Path],
    detector_file: Path,
    output: Path,
    pose_options: PoseOptions | None = None,
    detector_options: DetectorOptions | None = None,
) -> tuple[Model | Ensemble, ...]:
    """Make `output` a complete, self-contained repository; the first pose file is the default network.

    The options are for what the files leave unsaid.

    Raises:
        ValueError: a file cannot be served.
        OutputRefused: `output` holds models that do not belong to this repository.
    """
    networks = [serve_pose_file(path, pose_options) for path in pose_files]
    detector = serve_detector_file(detector_file, detector_options)
    models = pipeline(tuple(served.network for served in networks), detector.detector)
    _refuse_strangers(output, [model.name for model in models])
    for model in models:
        write_configs(model, output / model.name)
        if isinstance(model, Model) and model.adapter:
            _copy_adapter(model.adapter, output / model.name / "1")
    for served in networks:
        graph_edit.save(served.model, output / served.network.name / "1" / "model.onnx")
    graph_edit.save(detector.model, output / DETECTOR / "1" / "model.onnx")
    return models


def seal(output: Path) -> None:
    """Write the manifest, by which a server finds out at its start whether a file was changed or cut short since."""
    for cache in list(output.glob("*/*/**/__pycache__")):
        shutil.rmtree(cache)
    manifest.write(output)


def write_configs(model: Model | Ensemble, folder: Path) -> None:
    """Write `config.pbtxt`, the profiles that differ from it, and the version folder."""
    (folder / "1").mkdir(parents=True, exist_ok=True)
    text = render(model)
    write_file(folder / "config.pbtxt", text)
    if isinstance(model, Ensemble):
        (folder / "1" / ".gitkeep").touch()  # Triton wants the folder, git keeps no empty ones
        return
    for name, profile in PROFILES.items():
        profile_text = render(profile(model))
        if profile_text != text:
            write_file(folder / "configs" / f"{name}.pbtxt", profile_text)


def _refuse_strangers(output: Path, names: list[str]) -> None:
    """Every build writes the first model first; in a folder without it, models of the same names are others'."""
    described = {path.parent.name for path in output.glob("*/config.pbtxt")}
    present = described | {name for name in names if any(path.is_file() for path in (output / name).rglob("*"))}
    strangers = sorted(present - set(names) if names[0] in described else present)
    if strangers:
        raise OutputRefused(
            f"{output} holds models that are not part of this repository: {', '.join(strangers)}; "
            "choose another --output"
        )


def _copy_adapter(adapter: str, folder: Path) -> None:
    source = _ADAPTERS / adapter / "1" / "model.py"
    if source.resolve() != (folder / "model.py").resolve():
        shutil.copyfile(source, folder / "model.py")
    package = folder / "ensemble"
    shutil.rmtree(package, ignore_errors=True)
    package.mkdir()
    for path in (*_PACKAGE.glob("*.py"), *_PACKAGE.glob("*.json")):  # not graph/: the server needs no generator
        shutil.copyfile(path, package / path.name)
