"""The subcommand `parquet`: the records of one or many runs as one table, a row for each picture."""

import argparse
import json
from collections.abc import Iterator
from typing import Any

from cigpose_client._cli import files
from cigpose_client._extras import pyarrow
from cigpose_client.outputs import check_outputs, replacing

_ROWS = 1000  # in memory at a time


def add_parquet(subcommands: Any) -> None:
    """Add `parquet`."""
    text = "Write JSON lines of `folder` or `image`, also of many shards, as one Parquet file."
    parser = subcommands.add_parser("parquet", help="JSON lines as a Parquet table", description=text)
    parser.add_argument("records", nargs="+", metavar="FILE", help="JSON lines of --json FILE --format jsonl")
    parser.add_argument("--output", required=True, metavar="FILE", help="the table")
    parser.set_defaults(run=run_parquet)


def run_parquet(args: argparse.Namespace) -> int:
    """Run `parquet` and return the exit status."""
    if args.output == files.PIPE:
        raise files.UsageError("a Parquet table cannot go to stdout; give --output FILE")
    check_outputs([args.output], args.records)
    arrow, parquet = pyarrow()
    schema = _schema(arrow)
    with replacing(args.output) as file, parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for rows in _in_batches(_records(args.records)):
            writer.write_batch(arrow.RecordBatch.from_pylist(rows, schema=schema))
    return 0


def _schema(arrow: Any) -> Any:
    """Return the columns; a column that a record lacks is null in its row."""
    numbers = arrow.list_(arrow.float32())
    person = [("bbox", numbers), ("bbox_score", arrow.float32()), ("keypoints", arrow.list_(numbers))]
    person.append(("keypoints_3d", arrow.list_(numbers)))
    texts = [(name, arrow.string()) for name in ("picture", "error", "keypoint_set", "keypoint_set_3d")]
    return arrow.schema([*texts, ("persons_detected", arrow.int32()), ("people", arrow.list_(arrow.struct(person)))])


def _records(paths: list[str]) -> Iterator[dict[str, Any]]:
    """Yield the records of all files.

    Raises:
        ValueError: a line is no record, or a picture occurs twice.
    """
    seen: set[str] = set()
    for path in paths:
        with open(path, "rb") as file:
            for number, line in enumerate(file, 1):
                record = _record(line)
                if record is None:
                    raise ValueError(f"{path}, line {number} is no record of `folder --format jsonl`: {line[:40]!r}")
                if record["picture"] in seen:
                    raise ValueError(f"{path}, line {number}: a second record of {record['picture']}")
                seen.add(record["picture"])
                yield record


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and isinstance(record.get("picture"), str) else None


def _in_batches(records: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    rows: list[dict[str, Any]] = []
    for record in records:
        rows.append(record)
        if len(rows) == _ROWS:
            yield rows
            rows = []
    if rows:
        yield rows
