import json

import pytest

from benchmarks import traces

MS = 1_000_000


def entries(number, model, parent, **moments):
    """Triton writes what a request is, and then each of its moments, apart and in any order."""
    about = {"id": number, "model_name": model, "model_version": 1}
    return [
        *({"id": number, "timestamps": [{"name": name, "ns": ns}]} for name, ns in moments.items()),
        about if parent is None else {**about, "parent_id": parent},
    ]


def step(number, model, parent, begin):
    """A step that is handed its request at `begin`, waits 1 ms, takes 2 ms to copy and 3 ms to compute."""
    names = ("REQUEST_START", "COMPUTE_START", "COMPUTE_INPUT_END", "COMPUTE_OUTPUT_START", "COMPUTE_END")
    return entries(number, model, parent, **dict(zip(names, (begin + it * MS for it in (0, 1, 3, 6, 9)), strict=True)))


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "traces.json"
    ensemble = entries(1, "pose", None, GRPC_WAITREAD_END=0, GRPC_SEND_END=20 * MS)
    path.write_text(json.dumps([*step(3, "second", 1, 12 * MS), *step(2, "first", 1, 4 * MS), *ensemble]))
    return path


def test_every_moment_belongs_to_one_stage(file):
    (picture,) = traces.pictures(traces.read(file))
    own = {"queue_ms": 1, "copy_in_ms": 2, "compute_ms": 3}
    assert list(picture) == ["first", "second", traces.ANSWER]
    assert picture["first"] == {"hand_over_ms": 4, **own}
    assert picture["second"] == {"hand_over_ms": 2, **own}, "it began before the first had ended"
    assert picture[traces.ANSWER] == {"hand_over_ms": 2}
    assert sum(sum(parts.values()) for parts in picture.values()) == 20


def test_means_are_taken_part_by_part():
    rows = [{"a": {"queue_ms": 1.0}, "b": {"queue_ms": 4.0}}, {"a": {"queue_ms": 3.0}, "b": {"queue_ms": 4.0}}]
    assert traces.means(rows) == {"a": {"queue_ms": 2.0}, "b": {"queue_ms": 4.0}}
