"""Splits: every row once, balanced, whole groups, and the same for the same seed on every machine."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from edgehff.data.dataset import Dataset, from_arrays
from edgehff.data.split import by_order, group_folds, holdout, shuffled, stratified_folds, train_test
from edgehff.errors import DataError

seeds = st.integers(0, 2**64)
labels = st.integers(1, 200).flatmap(lambda n: arrays(np.uint16, n, elements=st.integers(0, 5)))
groups = st.integers(2, 200).flatmap(lambda n: arrays(np.int64, n, elements=st.integers(-3, 9)))


def data(y: list[int], group: list[int] | None = None, is_test: list[bool] | None = None) -> Dataset:
    return from_arrays(
        "d",
        np.arange(len(y), dtype=np.uint8),
        np.array(y),
        group=None if group is None else np.array(group),
        is_test=None if is_test is None else np.array(is_test),
    )


def assert_each_row_once(parts: list[NDArray[np.int64]] | tuple[NDArray[np.int64], ...], n: int) -> None:
    assert sorted(np.concatenate(parts).tolist()) == list(range(n))
    assert all((np.diff(part) > 0).all() for part in parts)


def test_the_order_of_a_seed_never_changes() -> None:
    assert shuffled(10, 0).tolist() == [3, 2, 1, 8, 6, 0, 7, 4, 5, 9]
    assert shuffled(10, 2**40).tolist() == [8, 9, 3, 0, 5, 1, 4, 7, 6, 2]
    folds = stratified_folds(np.arange(12) % 3, 2, 7)
    assert [fold.tolist() for fold in folds] == [[4, 6, 7, 8, 9, 11], [0, 1, 2, 3, 5, 10]]
    parts = group_folds(np.arange(12) // 2, 3, 7)
    assert [part.tolist() for part in parts] == [[4, 5, 6, 7], [8, 9, 10, 11], [0, 1, 2, 3]]


@given(n=st.integers(0, 300), seed=seeds)
def test_shuffled_is_a_permutation(n: int, seed: int) -> None:
    assert sorted(shuffled(n, seed).tolist()) == list(range(n))


def test_seeds_differ() -> None:
    orders = {tuple(shuffled(50, seed).tolist()) for seed in range(100)}
    assert len(orders) == 100


@given(y=labels, n_folds=st.integers(2, 6), seed=seeds)
def test_stratified_folds(y: NDArray[np.uint16], n_folds: int, seed: int) -> None:
    counts = np.bincount(y)
    if counts[counts > 0].min() < n_folds:
        with pytest.raises(DataError, match="folds need"):
            stratified_folds(y, n_folds, seed)
        return
    folds = stratified_folds(y, n_folds, seed)
    assert len(folds) == n_folds
    assert_each_row_once(folds, len(y))
    assert np.ptp([len(fold) for fold in folds]) <= 1
    for c in np.unique(y):
        assert np.ptp([(y[fold] == c).sum() for fold in folds]) <= 1
    again = stratified_folds(y, n_folds, seed)
    assert all((a == b).all() for a, b in zip(folds, again, strict=True))


def test_folds_follow_the_seed() -> None:
    y = np.arange(100) % 3
    assert stratified_folds(y, 5, 0)[0].tolist() != stratified_folds(y, 5, 1)[0].tolist()
    group = np.arange(100) // 5
    assert group_folds(group, 5, 0)[0].tolist() != group_folds(group, 5, 1)[0].tolist()


@given(group=groups, n_folds=st.integers(2, 6), seed=seeds)
def test_group_folds(group: NDArray[np.int64], n_folds: int, seed: int) -> None:
    sizes = np.unique(group, return_counts=True)[1]
    if len(sizes) < n_folds:
        with pytest.raises(DataError, match=f"{n_folds} folds need {n_folds} groups; there are {len(sizes)}"):
            group_folds(group, n_folds, seed)
        return
    folds = group_folds(group, n_folds, seed)
    assert_each_row_once(folds, len(group))
    members = [set(group[fold].tolist()) for fold in folds]
    assert all(members)
    assert sum(map(len, members)) == len(sizes)
    assert np.ptp([len(fold) for fold in folds]) <= sizes.max()


def test_the_largest_groups_are_dealt_first() -> None:
    group = np.repeat(np.arange(5), [1, 1, 4, 1, 1])
    for seed in range(20):
        assert [len(fold) for fold in group_folds(group, 2, seed)] == [4, 4]


@given(y=labels, fraction=st.floats(0.01, 0.99), seed=seeds)
def test_holdout_of_each_class(y: NDArray[np.uint16], fraction: float, seed: int) -> None:
    y = np.concatenate([y % 3, [0, 0, 1, 1, 2, 2]])
    train, test = holdout(data(y.tolist()), fraction, seed)
    assert_each_row_once((train, test), len(y))
    for c, n in enumerate(np.bincount(y)):
        held = int((y[test] == c).sum())
        assert 1 <= held <= n - 1
        assert abs(held - n * fraction) <= 0.5 or held in (1, n - 1)


@given(group=groups, fraction=st.floats(0.01, 0.99), seed=seeds)
def test_holdout_of_whole_groups(group: NDArray[np.int64], fraction: float, seed: int) -> None:
    names, sizes = np.unique(group, return_counts=True)
    rows = np.repeat(group, 2)
    dataset = data([0, 1] * len(group), rows.tolist())
    if len(names) < 2:
        with pytest.raises(DataError, match="all rows are of group"):
            holdout(dataset, fraction, seed)
        return
    train, test = holdout(dataset, fraction, seed)
    assert_each_row_once((train, test), len(rows))
    assert not set(rows[train].tolist()) & set(rows[test].tolist())
    held = len(np.unique(rows[test]))
    assert held == min(max(int(len(names) * fraction + 0.5), 1), len(names) - 1)
    assert sizes.sum() == len(group)


def test_holdout_rounds_half_up() -> None:
    assert len(holdout(data([0] * 5 + [1] * 5), 0.5, 3)[1]) == 6


def test_holdout_that_would_lose_a_class() -> None:
    dataset = data([0, 0, 1, 1], [1, 1, 2, 2])
    with pytest.raises(DataError, match=r"class '[01]' is only in the groups held out"):
        holdout(dataset, 0.5, 0)


def test_holdout_of_a_class_with_one_row() -> None:
    with pytest.raises(DataError, match="class '1' has one row"):
        holdout(data([0, 0, 1]), 0.5, 0)


@given(n=st.integers(2, 300), fraction=st.floats(0.01, 0.99))
def test_by_order(n: int, fraction: float) -> None:
    first, last = by_order(n, fraction)
    assert np.concatenate([first, last]).tolist() == list(range(n))
    assert 1 <= len(last) <= n - 1
    assert abs(len(last) - n * fraction) <= 0.5 or len(last) in (1, n - 1)


def test_train_test_takes_the_suggestion() -> None:
    train, test = train_test(data([0, 1, 0, 1], is_test=[True, False, False, True]))
    assert (train.tolist(), test.tolist()) == ([1, 2], [0, 3])


def test_train_test_without_a_suggestion_is_a_holdout_of_a_fifth() -> None:
    dataset = data([0, 1] * 50)
    train, test = train_test(dataset, seed=4)
    expected = holdout(dataset, 0.2, 4)
    assert test.tolist() == expected[1].tolist()
    assert (len(train), len(test)) == (80, 20)


@pytest.mark.parametrize("is_test", [[True] * 4, [False] * 4])
def test_train_test_with_a_useless_suggestion(is_test: list[bool]) -> None:
    with pytest.raises(DataError, match=f"is_test marks {sum(is_test)} of 4 rows"):
        train_test(data([0, 1, 0, 1], is_test=is_test))


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, 2.0, float("nan")])
def test_impossible_fractions(fraction: float) -> None:
    with pytest.raises(DataError, match="leaves nothing on one side"):
        by_order(10, fraction)
    with pytest.raises(DataError, match="leaves nothing on one side"):
        holdout(data([0, 1, 0, 1]), fraction, 0)


def test_other_impossible_requests() -> None:
    with pytest.raises(DataError, match="1 rows cannot be divided"):
        by_order(1, 0.5)
    with pytest.raises(DataError, match="1 folds"):
        stratified_folds(np.array([0, 0, 1, 1]), 1, 0)
    with pytest.raises(DataError, match="0 folds"):
        group_folds(np.array([0, 0, 1, 1]), 0, 0)
    with pytest.raises(DataError, match="there are no rows"):
        stratified_folds(np.zeros(0, np.uint16), 2, 0)
    with pytest.raises(DataError, match="the seed is -1"):
        shuffled(3, -1)
