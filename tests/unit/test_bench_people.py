"""The bench of people: which rows are whose, what is counted, and who is measured against whom."""

from dataclasses import replace

import numpy as np
import pytest

from edgehff.bench import personalize as bench
from edgehff.bench.methods import METHODS, Factory, NearestMean, Neighbors, Session
from edgehff.bench.rows import Person, continual, divided, rows_of
from edgehff.data.dataset import Dataset, from_arrays
from edgehff.errors import DataError, InputError
from edgehff.personalize.memory import to_int8
from edgehff.recipe import PretrainRecipe, Recipe
from edgehff.train.local import trained

RECIPE = Recipe(layers=(8,), epochs=2, scale=12.0, pretrain=PretrainRecipe(epochs=2, batch_size=8))


@pytest.fixture(scope="module")
def people() -> Dataset:
    """Four people whose three classes lie apart, each person a little elsewhere; two series each."""
    rng = np.random.default_rng(3)
    n = 60
    y, group = np.tile(np.repeat(np.arange(3), 10), 8), np.repeat(np.arange(4), n)
    centers = 40 * rng.standard_normal((3, 12))
    own = 25 * rng.standard_normal((4, 3, 12))
    x = centers[y] + own[group, y] + rng.normal(0, 12, (4 * n, 12))
    series = np.tile(np.repeat([False, True], 30), 4)
    return from_arrays("p", np.clip(x, -127, 127).astype(np.int8), y, group=group, is_test=series)


@pytest.fixture(scope="module")
def factory(people):
    rows = people.rows(people.group != 0)
    network = trained(RECIPE, rows)
    return Factory(network, rows, rows_of(network, rows))


@pytest.fixture(scope="module")
def person(people, factory):
    mine = people.rows(people.group == 0)
    first, second = divided(mine, None)
    rows = rows_of(factory.network, mine)
    return Person(0, rows.at(first), rows.at(second))


def test_a_series_is_learned_and_the_other_tested(people):
    first, second = divided(people.rows(people.group == 1), None)
    assert first.tolist() == list(range(30))
    assert second.tolist() == list(range(30, 60))


def test_without_series_each_class_is_divided_in_order_with_a_gap(people):
    mine = replace(people.rows(people.group == 1), is_test=None)
    first, second = divided(mine, None)
    for label in range(3):
        rows = np.flatnonzero(mine.y == label)
        assert first[mine.y[first] == label].tolist() == rows[:12].tolist()
        assert second[mine.y[second] == label].tolist() == rows[14:].tolist()


def test_drawn_rows_are_of_all_classes_and_the_rest_is_tested(people):
    mine = people.rows(people.group == 2)
    first, second = divided(mine, 7)
    assert np.bincount(mine.y[first]).tolist() == [3, 2, 2]
    assert sorted([*first, *second]) == list(range(60))
    other = divided(people.rows(people.group == 3), 7)[0]
    assert first.tolist() != other.tolist()


def test_a_person_with_nothing_to_test_is_refused(people):
    with pytest.raises(DataError, match="0 to be tested"):
        divided(people.rows(people.group == 2), 60)


def test_forgetting_is_counted_as_avalanche_does():
    """Class 0 is learned twice: its last time counts; the class learned last has nothing to forget yet."""
    after = [
        (0, np.array([0.9, 0.1, 0.0])),
        (1, np.array([0.8, 0.9, 0.0])),
        (0, np.array([1.0, 0.7, 0.0])),
        (2, np.array([0.7, 0.6, 0.8])),
    ]
    found = continual(after)
    assert found["forgetting"] == pytest.approx(((1.0 - 0.7) + (0.9 - 0.6)) / 2)
    assert found["bwt"] == -found["forgetting"]
    assert found["acc"] == pytest.approx(0.7)


def test_a_class_that_is_not_tested_counts_for_nothing():
    after = [(0, np.array([0.9, np.nan])), (1, np.array([0.5, np.nan])), (0, np.array([0.8, np.nan]))]
    assert continual(after) == {"acc": 0.8, "bwt": -0.0, "forgetting": 0.0}


def test_the_nearest_mean_moves_as_far_as_its_samples_weigh(factory, person):
    values, y = factory.rows.x.astype(float), factory.rows.y
    means = np.array([values[y == c].mean(axis=0) for c in range(3)])
    learner = NearestMean(factory).begin({"of": "x", "factory_counts": 10}, 0)
    learner.learn(person.first, 0)
    label = person.first.y[0]
    means[label] = (10 * means[label] + person.first.x[0]) / 11
    cosines = person.second.x @ (means / np.linalg.norm(means, axis=1, keepdims=True)).T
    assert learner.predict(person.second).tolist() == cosines.argmax(axis=1).tolist()


@pytest.mark.parametrize("of", ["x", "u"])
def test_neighbors_have_no_more_bytes_than_a_session(factory, of):
    session = Session(factory).begin(Session.settings[0], 500)
    neighbors = Neighbors(factory).begin({"of": of, "k": 1, "of_factory": 10_000}, 500)
    width = getattr(factory.rows, of).shape[1]
    taken = factory.ram_bytes if of == "u" else factory.network.encoding.to_core().ram_bytes
    assert neighbors.ram_bytes == session.ram_bytes
    most = (session.ram_bytes - taken) // (width + 1) // 3
    held = neighbors._rows
    assert [len(rows) for rows in held] == [min(most, n) for n in np.bincount(factory.rows.y)]


def test_own_samples_take_the_factorys_places(factory, person):
    neighbors = Neighbors(factory).begin({"of": "x", "k": 1, "of_factory": 5}, 0)
    neighbors._most = 6
    for i in range(len(person.first)):
        neighbors.learn(person.first, i)
        assert neighbors.predict(person.first.at(np.array([i])))[0] == person.first.y[i]
    own = [[to_int8(x).tolist() for x in person.first.x[person.first.y == c][-6:]] for c in range(3)]
    held = [[to_int8(row).tolist() for row in rows] for rows in neighbors._rows]
    assert [sorted(rows) for rows in held] == [sorted(rows) for rows in own]


def test_the_summary_is_of_every_person(people):
    p = bench.Protocol(n_folds=0, methods=("edgehff", "nearest mean", "neighbors"), budgets=(0, 100))
    *folds, last = bench.run(people, RECIPE, p, workers=1)
    assert [f["fold"] for f in folds] == [0, 1, 2, 3]
    assert last["people"] == 4
    assert last["samples"] == 30
    ours, other = last["methods"]["edgehff"], last["methods"]["nearest mean"]
    assert len(ours["shuffled"]["per_person"]) == 4
    difference = np.subtract(ours["recording"]["per_person"], other["recording"]["per_person"])
    assert other["recording"]["edgehff_minus_it"]["mean"] == pytest.approx(difference.mean())
    assert [b["memory_bytes"] for b in ours["budgets"]] == [0, 100]
    assert other["budgets"] == []
    assert [c["samples"] for c in ours["shuffled"]["curve"]] == [0, 5, 10, 20, 30]
    assert ours["shuffled"]["mean"] > ours["before"]
    assert all(setting in Session.settings for setting in ours["settings"])


def test_how_far_edgehff_is_ahead_is_counted_by_person():
    def fold(*ends):
        courses = [bench.Course([(0, 0.5), (4, end)], [(0, np.array([end, 0.2]))], 100) for end in ends]
        return {"setting": {}, "courses": dict.fromkeys(bench.ORDERS, courses), "budgets": {}}

    by_fold = [
        {"edgehff": fold(0.9, 0.7), "other": fold(0.8, 0.8)},
        {"edgehff": fold(0.9), "other": fold(0.4)},
    ]
    found = bench.summary(by_fold, bench.Protocol(methods=("edgehff", "other")))
    ahead = found["other"]["shuffled"]["edgehff_minus_it"]
    assert ahead["mean"] == pytest.approx((0.1 - 0.1 + 0.5) / 3)
    assert ahead["worst"] == pytest.approx(-0.1)
    assert ahead["interval"] == pytest.approx([-0.1, 0.5])
    assert found["other"]["before"] == 0.5
    assert found["edgehff"]["recording"]["per_person"] == [0.9, 0.7, 0.9]


def test_settings_are_chosen_by_a_network_that_saw_neither_fold(people, monkeypatch):
    seen = []
    monkeypatch.setattr(
        bench, "trained", lambda r, rows: seen.append(set(rows.group.tolist())) or trained(r, rows)
    )
    p = bench.Protocol(methods=("edgehff",), budgets=())
    bench.run_fold(people, RECIPE, [0], [1], p)
    assert seen == [{2, 3}, {1, 2, 3}]


def test_tested_rows_pick_no_setting(people):
    """With other labels on a fold's tested rows, what it was learned with stays."""
    p = bench.Protocol(methods=("edgehff", "nearest mean"), budgets=())
    folds = [[0], [1]]
    found = bench.run_fold(people, RECIPE, folds[0], folds[1], p)
    other = people.y.copy()
    tested = np.isin(people.group, folds[0]) & people.is_test
    other[tested] = (other[tested] + 1) % 3
    again = bench.run_fold(replace(people, y=other), RECIPE, folds[0], folds[1], p)
    for name in p.methods:
        assert found[name]["setting"] == again[name]["setting"]
        ends = [c.end for c in found[name]["courses"]["shuffled"]]
        assert ends != [c.end for c in again[name]["courses"]["shuffled"]]


@pytest.mark.torch
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("name", ["linear head", "backprop", "river softmax"])
def test_each_other_way_learns_and_starts_each_person_anew(factory, person, name):
    pytest.importorskip("river" if "river" in name else "torch")
    method = METHODS[name](factory)
    setting = method.settings[-2]
    before = method.begin(setting, 1000).predict(person.second)
    learner = method.begin(setting, 1000)
    for _ in range(3):
        for i in range(len(person.first)):
            learner.learn(person.first, i)
    after = np.mean(learner.predict(person.second) == person.second.y)
    assert after > np.mean(before == person.second.y)
    assert method.begin(setting, 1000).predict(person.second).tolist() == before.tolist()
    assert learner.ram_bytes > 0


@pytest.mark.parametrize("methods", [("nearest mean",), ("edgehff", "guessing")])
def test_methods_that_are_none_are_refused(people, methods):
    with pytest.raises(InputError, match="not methods"):
        next(bench.run(people, RECIPE, bench.Protocol(methods=methods)))


def test_two_folds_leave_nobody_to_choose_on(people):
    with pytest.raises(DataError, match="2 folds"):
        next(bench.run(people, RECIPE, bench.Protocol(n_folds=2)))


def test_data_without_people_are_refused(people):
    with pytest.raises(DataError, match="no people"):
        next(bench.run(replace(people, group=None), RECIPE, bench.Protocol()))
