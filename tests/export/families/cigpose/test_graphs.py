"""The graphs of the network: sizes, structure and equality with the recorded tables."""

import json
from itertools import chain

import pytest

from ensemble.keypoints import keypoint_set
from export.families.cigpose.graphs import graph

SIZES = {"coco_wholebody": (180, 32), "coco": (19, 6), "crowdpose": (14, 7)}


@pytest.mark.parametrize(("name", "sizes"), SIZES.items())
def test_sizes_are_those_of_the_official_tables(name, sizes):
    assert (len(graph(name).connections), len(graph(name).groups)) == sizes


@pytest.mark.parametrize("name", SIZES)
def test_every_keypoint_has_a_connection_and_a_group(name):
    everyone = set(range(len(keypoint_set(name))))
    undirected = {frozenset(pair) for pair in graph(name).connections}
    assert len(undirected) == len(graph(name).connections)
    assert all(len(pair) == 2 for pair in undirected)
    assert set(chain.from_iterable(undirected)) == everyone
    assert set(chain.from_iterable(graph(name).groups)) == everyone
    assert all(len(set(group)) == len(group) for group in graph(name).groups)


def test_notation_of_ranges_stars_and_closed_paths():
    connections = {frozenset(pair) for pair in graph("coco_wholebody").connections}
    assert {
        frozenset(pair) for pair in ((38, 39), (64, 59), (59, 60), (0, 3), (0, 53), (91, 96), (10, 113))
    } <= connections
    assert frozenset((39, 40)) not in connections


def test_an_unknown_set_is_named():
    with pytest.raises(ValueError, match=r"'halpe'.*known: coco_wholebody"):
        graph("halpe")


@pytest.mark.parametrize("name", SIZES)
def test_the_graphs_equal_the_recorded_tables(name, reference):
    recorded = json.loads((reference / "cigpose_tables.json").read_text())[str(len(keypoint_set(name)))]
    assert {frozenset(p) for p in graph(name).connections} == {frozenset(p) for p in recorded["connections"]}
    assert [sorted(group) for group in graph(name).groups] == [sorted(group) for group in recorded["groups"]]
