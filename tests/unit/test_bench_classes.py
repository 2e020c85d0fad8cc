"""The bench of new classes: what the network never saw, what the user gives, what is tested."""

from dataclasses import replace

import numpy as np
import pytest

from edgehff.bench import classes as bench
from edgehff.data.dataset import Dataset, from_arrays
from edgehff.errors import DataError
from edgehff.recipe import Recipe, UnknownRecipe

RECIPE = Recipe(layers=(16,), epochs=2, scale=12.0, personal_lr=0.1, unknown=UnknownRecipe())


@pytest.fixture(scope="module")
def people() -> Dataset:
    """Six people, four classes that lie apart, two series of 60 samples a class."""
    rng = np.random.default_rng(3)
    y, group = np.tile(np.repeat(np.arange(4), 60), 12), np.repeat(np.arange(6), 480)
    centers = 40 * rng.standard_normal((4, 12))
    x = centers[y] + 10 * rng.standard_normal((6, 12))[group] + rng.normal(0, 12, (2880, 12))
    series = np.tile(np.repeat([False, True], 240), 6)
    return from_arrays("p", np.clip(x, -127, 127).astype(np.int8), y, group=group, is_test=series)


def test_classes_left_out_are_gone_and_the_others_numbered_anew(people):
    left = bench.without(people, [0, 2])
    assert left.class_names == ("1", "3")
    assert len(left) == len(people) / 2
    assert np.array_equal(left.x[left.y == 1], people.x[people.y == 3])


@pytest.mark.parametrize("n", [4, 10, 11, 242])
def test_each_class_is_new_once(n):
    dealt = bench.groups(n)
    assert sorted(label for group in dealt for label in group) == list(range(n))
    assert len(dealt) == min(n, 10)


def test_figures_are_of_other_people_and_characters_than_settings():
    chosen, measured = (bench.Protocol(validation=v) for v in (True, False))
    by_person = [{k for _, k in bench.plan(4, True, p)} for p in (chosen, measured)]
    assert by_person == [{0}, {1, 2, 3, 4}]
    of_many = [[c for g, _ in bench.plan(242, False, p) for c in g] for p in (chosen, measured)]
    assert not set(of_many[0]) & set(of_many[1])
    assert len(of_many[0]) + len(of_many[1]) == 242


def test_the_network_is_trained_without_people_and_class(people, monkeypatch):
    """What training and calibration are given holds neither the fold's people nor the new class."""
    given = []
    monkeypatch.setattr(
        bench, "trained", lambda recipe, rows: given.append(rows) or bench.local.trained(recipe, rows)
    )
    found = bench.of_people(people, RECIPE, [2], 1, bench.Protocol(own=5))
    unseen = bench.folds_by_person(bench.people_with_both(people), bench.FOLDS, 0)[1]
    assert not set(given[0].group.tolist()) & set(unseen)
    assert given[0].class_names == ("0", "1", "3")
    assert [label for label, _ in found] == [2] * len(unseen)


@pytest.mark.parametrize("by_person", [True, False])
def test_a_new_class_is_learned_and_counted(people, by_person):
    data = people if by_person else replace(people, group=None)
    *steps, last = bench.run(data, RECIPE, by_person, bench.Protocol(score="answer"), workers=1)
    assert len(steps) == (16 if by_person else 4)
    assert last["cases"] == (4 * 4 if by_person else 4)  # of six people two are in the fold to choose on
    assert last["new"] > 0.7
    assert abs(last["drop"] - (last["before"] - last["after"])) < 1e-9
    assert last["after"] > 0.7
    assert 0 <= last["flagged"] <= 1
    assert [c["class"] for c in last["per_class"]] == ["0", "1", "2", "3"]


def test_no_class_is_two_users():
    assert [len(e) for e in bench.episodes(7, 0, 1)] == [7]
    users = bench.episodes(47, 20, seed=3)
    assert [len(e) for e in users] == [20, 20]
    assert len(set(np.concatenate(users).tolist())) == 40
    assert not np.array_equal(users[0], bench.episodes(47, 20, seed=4)[0])
    with pytest.raises(DataError, match="50 of 47"):
        bench.episodes(47, 50, 1)


def test_a_user_of_few_classes_knows_no_others(people, monkeypatch):
    """Two of the network's three classes: the third is forgotten, is learned by nobody and is not tested."""
    told = []
    kept = bench.measure

    def measure(network, own, old, new, forgotten):
        told.append((set(own.y.tolist()), set(old.y.tolist()), list(forgotten)))
        return kept(network, own, old, new, forgotten)

    monkeypatch.setattr(bench, "measure", measure)
    data = replace(people, group=None)
    p = bench.Protocol(score="answer", validation=True)
    three = dict(bench.of_split(data, RECIPE, [1], p))[1]
    two = dict(bench.of_split(data, RECIPE, [1], replace(p, ways=2)))[1]
    assert told[0] == ({0, 1, 2}, {0, 1, 2}, [])
    own, old, forgotten = told[1]
    assert own == old
    assert sorted([*own, *forgotten]) == [0, 1, 2]
    assert len(forgotten) == 1
    assert two["before"] >= three["before"]
    network = bench.trained(RECIPE, bench.without(data, [1]))
    rows = bench.without(data, [1]).rows(np.arange(0, 1080, 50))
    new = [bench.New(1, people.x[people.y == 1][:10], people.x[people.y == 1][100:])]
    assert (
        kept(network, rows.rows(rows.y != 2), rows.rows(rows.y == 2), new, [2])[1]["before"] == 0
    )  # answered no more


def test_each_new_class_of_a_group_is_added_alone(people):
    """The second class finds the session as the first one did."""
    p = bench.Protocol(score="answer", validation=True)
    both = dict(bench.of_split(replace(people, group=None), RECIPE, [1, 3], p))
    assert both[1]["before"] == both[3]["before"]
    own = bench.without(people, [1, 3])
    network = bench.trained(RECIPE, own)
    new = [bench.New(c, people.x[people.y == c][:10], people.x[people.y == c][100:]) for c in (1, 3)]
    rows = own.rows(np.arange(0, len(own), 120))
    assert bench.measure(network, rows, own, new)[3] == bench.measure(network, rows, own, new[1:])[3]
