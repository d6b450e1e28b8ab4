"""Writes a complete Triton model repository: configs, adapters with a copy of the `ensemble` package, and networks."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path

import onnx
from cigpose_client.outputs import OutputRefused, write_file

from ensemble.in_process import InProcess
from ensemble.networks import DETECTOR
from ensemble.pipeline import Pipeline
from ensemble.pipelines import pipelines
from ensemble.pipelines.lifted import LiftingNetwork
from ensemble.triton.model import Ensemble, Model
from ensemble.triton.pbtxt import config_text
from ensemble.triton.profiles import PROFILES
from ensemble.triton.render import render
from export import graph_edit
from export.detectors import DetectorOptions, serve_detector_file
from export.families import PoseOptions, Served, serve_pose_file
from server import manifest
from server.preflight import SHELL_SPECIAL

CHECKOUT = Path(__file__).parents[1]
_PACKAGE = CHECKOUT / "ensemble"
_ADAPTER = _PACKAGE / "triton" / "adapter.py"


@dataclass(frozen=True)
class Plan:
    """The content of a repository.

    Attributes:
        pipelines: the pipelines that it offers.
        graphs: name of each network -> its ONNX graph in served form.
    """

    pipelines: tuple[Pipeline, ...]
    graphs: Mapping[str, onnx.ModelProto]

    def in_process(self, name: str = "pose", threads: int = 1) -> InProcess:
        """Return one of the pipelines for use in process, with `threads` per session (0: one per core)."""
        (found,) = (pipeline for pipeline in self.pipelines if pipeline.name == name)
        graphs = {member: self.graphs[member].SerializeToString() for member in self.graphs}
        return InProcess(found, graphs, threads)


def plan(
    pose_files: Sequence[Path],
    detector_file: Path | None,
    pose_options: PoseOptions | None = None,
    detector_options: DetectorOptions | None = None,
    lifter_files: Sequence[Path] = (),
) -> Plan:
    """Read the files and return the plan of a repository. The first pose file is the default network.

    The options are for files that lack this metadata; the flip test is for pose files. A repository whose pipelines use
    no detector must not get one.

    Raises:
        ValueError: a file cannot be served, two share a name, a name holds a character that is special to the shell, a
            lifter stands among the pose files or the reverse, or the detector is missing or superfluous.
    """
    options = pose_options or PoseOptions()
    poses = [(path, serve_pose_file(path, options)) for path in pose_files]
    lifters = [(path, serve_pose_file(path, replace(options, flip_test=False))) for path in lifter_files]
    _refuse_misplaced(poses, lifters)
    poses += lifters
    files, detector = [(path, served.graphs) for path, served in poses], None
    if detector_file:
        found = serve_detector_file(detector_file, detector_options)
        files, detector = [*files, (detector_file, {DETECTOR: found.model})], found.detector
    graphs = _by_name(files)
    offered = pipelines([served.model for _, served in poses], detector)
    if detector and not any(member.name == DETECTOR for pipeline in offered for member in pipeline.members):
        raise ValueError(f"{detector_file}: no network of this repository needs a detector; leave --detector out")
    for path, served in files:
        for graph in served.values():
            graph_edit.check_runs(path, graph)
    return Plan(offered, graphs)


def _refuse_misplaced(poses: Sequence[tuple[Path, Served]], lifters: Sequence[tuple[Path, Served]]) -> None:
    for path, served in poses:
        if isinstance(served.model, LiftingNetwork):
            raise ValueError(f"{path} lifts the keypoints of a pose network; give it with --lifter")
    for path, served in lifters:
        if not isinstance(served.model, LiftingNetwork):
            raise ValueError(f"{path} is no lifter; give it with --pose")


def _by_name(files: Sequence[tuple[Path, Mapping[str, onnx.ModelProto]]]) -> dict[str, onnx.ModelProto]:
    """Return all graphs by model name. Raises ValueError when two files give one name, or one that no server loads."""
    owners: dict[str, Path] = {}
    for path, graphs in files:
        for name in graphs:
            if special := SHELL_SPECIAL.search(name):
                raise ValueError(
                    f"{str(path)!r}: its model would be called {name!r}, and with {special[0]!r} in its name no Python "
                    "model starts; rename the file"
                )
            if name in owners:
                raise ValueError(
                    f"two different models would be called {name}: {owners[name]} and {path}; rename one of the files"
                )
            owners[name] = path
    return {name: graph for _, graphs in files for name, graph in graphs.items()}


def build_repository(
    pose_files: Sequence[Path],
    detector_file: Path | None,
    output: Path,
    pose_options: PoseOptions | None = None,
    detector_options: DetectorOptions | None = None,
    lifter_files: Sequence[Path] = (),
) -> tuple[Model | Ensemble, ...]:
    """Write a complete, self-contained repository to `output`. Arguments: see `plan`.

    Raises:
        ValueError: see `plan`.
        OutputRefused: `output` holds models that do not belong to this repository.
    """
    planned = plan(pose_files, detector_file, pose_options, detector_options, lifter_files)
    models = render(planned.pipelines)
    _refuse_strangers(output, [model.name for model in models])
    for model in models:
        write_configs(model, output / model.name)
        if isinstance(model, Model) and model.backend == "python":
            _copy_code(model, output / model.name / "1")
    for name, graph in planned.graphs.items():
        graph_edit.save(graph, output / name / "1" / "model.onnx")
    return models


def seal(output: Path) -> None:
    """Write the manifest, with which a server detects at its start files that were changed or truncated later."""
    for cache in list(output.glob("*/*/**/__pycache__")):
        shutil.rmtree(cache)
    manifest.write(output)


def write_configs(model: Model | Ensemble, folder: Path) -> None:
    """Write `config.pbtxt`, the profiles that differ from it, and the version folder."""
    (folder / "1").mkdir(parents=True, exist_ok=True)
    text = config_text(model)
    write_file(folder / "config.pbtxt", text)
    if isinstance(model, Ensemble):
        # Triton requires the folder. Git and object storage keep no empty folder, and KServe copies no empty file.
        write_file(folder / "1" / ".gitkeep", "An ensemble has no files of its own.\n")
        return
    for name, profile in PROFILES.items():
        profile_text = config_text(profile(model))
        if profile_text != text:
            write_file(folder / "configs" / f"{name}.pbtxt", profile_text)


def _refuse_strangers(output: Path, names: list[str]) -> None:
    """Raise OutputRefused when `output` holds other models.

    Every build writes the first model first. In a folder without it, even models of the same names are foreign.
    """
    described = {path.parent.name for path in output.glob("*/config.pbtxt")}
    present = described | {name for name in names if any(path.is_file() for path in (output / name).rglob("*"))}
    strangers = sorted(present - set(names) if names[0] in described else present)
    if strangers:
        raise OutputRefused(
            f"{output} holds models that are not part of this repository: {', '.join(strangers)}; "
            "choose another --output"
        )


def _copy_code(model: Model, folder: Path) -> None:
    """Write `model.py` and, beside it, the code that it imports, so that a repository does not depend on a checkout."""
    shutil.rmtree(folder)
    shutil.copytree(_PACKAGE, folder / "ensemble", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(_ADAPTER, folder / "model.py")
    module = model.parameters["step"].partition(":")[0]
    if not module.startswith("ensemble."):  # a family's own step
        target = (folder / module.replace(".", "/")).with_suffix(".py")
        target.parent.mkdir(parents=True)
        shutil.copyfile(str(import_module(module).__file__), target)
        for package in target.relative_to(folder).parents[:-1]:
            (folder / package / "__init__.py").touch()  # empty: the module needs nothing of its family
