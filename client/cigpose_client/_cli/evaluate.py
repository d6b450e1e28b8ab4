"""The subcommand `evaluate`: average precision, or errors of joints in space, through the server."""

import argparse
import functools
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeAlias

from cigpose_client._cli import arguments, files
from cigpose_client._cli.boxes import estimate_given, load_boxes, of_picture
from cigpose_client._cli.evaluate_3d import ask_3d, is_3d, table_3d
from cigpose_client._cli.progress import Progress
from cigpose_client._cli.records import open_records
from cigpose_client._cli.resume import remove_leftovers
from cigpose_client._cli.run import INTERRUPTED, running
from cigpose_client._client import PoseClient
from cigpose_client._coco import count_keypoints
from cigpose_client._keypoints import KeypointSet, find_keypoint_set
from cigpose_client._poses import Poses
from cigpose_client.evaluation import Dataset, Metrics, evaluate, load_dataset, published, without_duplicates
from cigpose_client.evaluation.dataset import Entry, load_results
from cigpose_client.outputs import write_file

Question: TypeAlias = Callable[[PoseClient, Entry, Path], Poses]
_Evaluated: TypeAlias = tuple[dict[str, Any] | None, Iterator[str]]
_COLUMNS = ("AP", "AP50", "AP75", "APM", "APL", "AR")


def add_evaluate(subcommands: Any) -> None:
    """Add `evaluate`."""
    parser = subcommands.add_parser(
        "evaluate",
        help="accuracy through the server",
        description="Compare the server's answers with annotations in the format of COCO, COCO-WholeBody or CrowdPose, "
        "or with joints in space.",
    )
    parser.add_argument("--annotations", required=True, metavar="FILE")
    parser.add_argument("--images", metavar="DIR", help="the pictures; not needed with --results")
    parser.add_argument(
        "--boxes",
        metavar="gt|detector|FILE",
        help="source of the boxes: the annotations, the server's detector, or COCO detection results (default: gt; a "
        "bottom-up network has no use for boxes)",
    )
    parser.add_argument("--limit", type=arguments.above_zero(int), metavar="N", help="only the first N pictures")
    parser.add_argument("--results", metavar="FILE", help="evaluate these COCO results and ask no server")
    parser.add_argument("--save-results", metavar="FILE", help="write the COCO results that were evaluated")
    parser.add_argument("--json", metavar="FILE", help="write the metrics as JSON, - for stdout instead of the table")
    arguments.add_concurrency(parser)
    arguments.add_options(parser)
    arguments.add_connection(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run `evaluate` and return the exit status."""
    if args.images is None and args.results is None:
        raise files.UsageError("give the folder of the pictures with --images")
    if args.save_results == files.PIPE:
        raise files.UsageError("--save-results needs the name of a file; stdout takes the metrics")
    _check(args)
    dataset = load_dataset(args.annotations, args.limit)
    report, table = _evaluated_3d(args, dataset) if is_3d(dataset) else _evaluated(args, dataset)
    if report is None:
        return INTERRUPTED
    text = json.dumps(report, indent=2) + "\n"
    if args.json and args.json != files.PIPE:
        write_file(args.json, text)
    print(text if args.json == files.PIPE else "\n".join([*table, ""]), end="")
    remove_leftovers([args.json, args.save_results])
    return 0


def _evaluated(args: argparse.Namespace, dataset: Dataset) -> _Evaluated:
    """Return the report, None after Ctrl-C, and the lines of the table."""
    network, results = _given(args, dataset) if args.results else _asked(args, dataset)
    if results is None:
        return None, iter(())
    metrics = evaluate(dataset, results, _keypoint_set(results))
    counts = {"pictures": len(dataset.images), "people": len(results)}
    report = {
        "network": network,
        "boxes": args.boxes or "gt",
        **counts,
        "metrics": metrics,
        "published": published(network),
    }
    return report, _table(metrics, published(network))


def _evaluated_3d(args: argparse.Namespace, dataset: Dataset) -> _Evaluated:
    """Return the report in mm, None after Ctrl-C, and the lines of the table."""
    errors = ask_3d(args, dataset)
    if errors is None:
        return None, iter(())
    return {"network": args.model, "pictures": len(dataset.images), "errors_mm": errors}, table_3d(errors)


def _check(args: argparse.Namespace) -> None:
    """Refuse outputs that are inputs: every picture below --images counts, whether it is annotated or not."""
    pictures = (path for path in Path(args.images).rglob("*") if path.is_file()) if args.images else ()
    files.check(args, [args.json, args.save_results], [args.annotations, args.results, *pictures])


def _given(args: argparse.Namespace, dataset: Dataset) -> tuple[str, list[Entry]]:
    ids = {image["id"] for image in dataset.images}
    results = [entry for entry in load_results(args.results) if entry["image_id"] in ids]
    if args.save_results:
        write_file(args.save_results, json.dumps(results))
    return "", results


def _asked(args: argparse.Namespace, dataset: Dataset) -> tuple[str, list[Entry] | None]:
    """Return the network's name and the results of all pictures, in the order of the annotations; None after Ctrl-C.

    Results are written on arrival, so that nothing is lost when the run ends early.
    """
    question = _question(args.boxes or "gt", dataset)
    with arguments.connect(args) as client:
        model = next((model for model in client.info().models if model.name == client.ensemble), None)
    network = (model and model.network) or args.model
    if model and not model.takes_boxes:
        if args.boxes not in (None, "detector"):
            raise files.UsageError(f"--boxes {args.boxes}: {network} finds people without boxes; leave the option out")
        args.boxes = "detector"
        question = _question(args.boxes, dataset)
    progress = Progress("pictures", len(dataset.images))
    results: list[Entry] = []
    with ExitStack() as stack:
        run = stack.enter_context(running(args, progress))
        saved = stack.enter_context(open_records(args.save_results, "coco")) if args.save_results else None
        work = functools.partial(_people, run.client, question, Path(args.images))
        for image, poses in run.answers(work, dataset.images, lambda image: str(image["file_name"])):
            assert isinstance(poses, Poses)  # for the type checker: the run does not go on after failures
            entries = poses.to_coco(image["id"], bbox=False)
            if saved is not None:
                saved.write(entries)
            results += entries
            progress.answer(len(poses))
    return network, None if run.interrupted else results


def _people(client: PoseClient, question: Question, folder: Path, image: Entry) -> Poses:
    return without_duplicates(question(client, image, folder / image["file_name"]))


def _question(boxes: str, dataset: Dataset) -> Question:
    """Return how one picture's people are asked for."""
    if boxes == "detector":
        return lambda client, image, path: client.estimate(path)
    if boxes == "gt":
        of_image = dataset.ground_truth_boxes()
        return lambda client, image, path: client.estimate_boxes(path, of_image.get(image["id"], []))
    given = load_boxes(boxes)
    return lambda client, image, path: estimate_given(client, path, of_picture(given, image["id"]))


def _keypoint_set(results: list[Entry]) -> KeypointSet:
    """Return the keypoint set of COCO results.

    Raises:
        ValueError: there are none, or they are of no known set.
    """
    if not results:
        raise ValueError("no person was found in any picture, so there is nothing to evaluate")
    points = count_keypoints(results[0])
    known = find_keypoint_set(points)
    if known is None:
        raise ValueError(f"no keypoint set with {points} points is known")
    return known


def _table(metrics: Metrics, reference: Metrics) -> Iterator[str]:
    """Yield the lines of a table in per cent; published values beside those measured."""
    columns = [name for name in _COLUMNS if any(name in row for row in metrics.values())]
    beside = [name for name in columns if any(name in row for row in reference.values())]
    heads = [name.rjust(7) for name in columns] + [f"{name} publ.".rjust(11) for name in beside]
    yield "".join(["part".ljust(12), *heads])
    for part, row in metrics.items():
        cells = [_percent(row.get(name)).rjust(7) for name in columns]
        cells += [_percent(reference.get(part, {}).get(name)).rjust(11) for name in beside]
        yield "".join([part.ljust(12), *cells])
    if beside:
        yield "Published: with flip test; on a detector's boxes, for COCO (17 points) on the annotated ones."


def _percent(value: float | None) -> str:
    return "-" if value is None or value < 0 else f"{100 * value:.1f}"
