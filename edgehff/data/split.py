"""Divide rows into folds and into training and test parts; the same seed gives the same rows everywhere.

The order comes from sorting the raw words of PCG64, which numpy keeps the same in all its versions; its
shuffling functions carry no such promise.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehff.data.dataset import Dataset
from edgehff.errors import DataError

Rows = NDArray[np.int64]


def shuffled(n: int, seed: int) -> Rows:
    """The numbers 0 to n - 1 in an order that seed (0 or more) determines."""
    words = np.random.PCG64(_seed(seed)).random_raw(n)
    return np.argsort(words, kind="stable").astype(np.int64)


def stratified_folds(y: NDArray[Any], n_folds: int, seed: int) -> list[Rows]:
    """Divide all rows into n_folds folds; each class, and the rows in all, differ by one at most.

    y: class index of each row.  Returns sorted row numbers.

    Raises:
        DataError: fewer than 2 folds, or a class with fewer rows than folds.
    """
    classes, counts = np.unique(y, return_counts=True)
    _check_folds(n_folds)
    if not len(classes) or counts.min() < n_folds:
        few = f"class {classes[counts.argmin()]} has {counts.min()}" if len(classes) else "there are no rows"
        raise DataError(
            f"{n_folds} folds need {n_folds} rows of each class; {few}", hint="ask for fewer folds"
        )
    order = shuffled(len(y), seed)
    by_class = order[np.argsort(np.asarray(y)[order], kind="stable")]
    return [np.sort(by_class[fold::n_folds]) for fold in range(n_folds)]


def group_folds(group: NDArray[np.int64], n_folds: int, seed: int) -> list[Rows]:
    """Divide all rows into n_folds folds, each group wholly in one; the largest groups are dealt first.

    group: the group of each row.  Returns sorted row numbers; no fold is empty.

    Raises:
        DataError: fewer than 2 folds, or fewer groups than folds.
    """
    groups, member, counts = np.unique(group, return_inverse=True, return_counts=True)
    _check_folds(n_folds)
    if len(groups) < n_folds:
        raise DataError(
            f"{n_folds} folds need {n_folds} groups; there are {len(groups)}", hint="ask for fewer folds"
        )
    order = shuffled(len(groups), seed)
    fold_of = np.zeros(len(groups), np.int64)
    filled = np.zeros(n_folds, np.int64)
    for g in order[np.argsort(-counts[order], kind="stable")]:
        fold_of[g] = filled.argmin()
        filled[fold_of[g]] += counts[g]
    return [np.flatnonzero(fold_of[member] == fold) for fold in range(n_folds)]


def holdout(dataset: Dataset, fraction: float, seed: int) -> tuple[Rows, Rows]:
    """Keep a fraction of the rows for testing: whole groups where there are groups, else rows of each class.

    fraction: 0 to 1, exclusive; rounded half up to whole groups, or to whole rows of each class, at least
        one and never all.  Returns (training rows, test rows), sorted.

    Raises:
        DataError: a fraction outside (0, 1), a single group, a class with one row, or a class that only
            groups held out have.
    """
    _check_fraction(fraction)
    test = np.zeros(len(dataset), np.bool_)
    if dataset.group is not None:
        groups = np.unique(dataset.group)
        if len(groups) < 2:
            raise DataError(
                f"{dataset.name}: all rows are of group {groups[0] if len(groups) else 'none'}",
                hint="mark test rows with is_test, or leave group out",
            )
        chosen = groups[shuffled(len(groups), seed)[: _share(len(groups), fraction)]]
        test = np.isin(dataset.group, chosen)
        lost = np.setdiff1d(dataset.y, dataset.y[~test])
        if lost.size:
            raise DataError(
                f"{dataset.name}: class {dataset.class_names[int(lost[0])]!r} is only in the groups held out",
                hint="take another seed, or mark test rows with is_test",
            )
    else:
        order = shuffled(len(dataset), seed)
        for c in np.unique(dataset.y):
            rows = order[dataset.y[order] == c]
            if len(rows) < 2:
                raise DataError(
                    f"{dataset.name}: class {dataset.class_names[int(c)]!r} has one row; two are needed",
                    hint="add samples of it, or mark test rows with is_test",
                )
            test[rows[: _share(len(rows), fraction)]] = True
    return np.flatnonzero(~test), np.flatnonzero(test)


def by_order(n: int, fraction: float) -> tuple[Rows, Rows]:
    """Divide n rows in recording order: the first part, and the last one with a fraction of the rows.

    Raises:
        DataError: a fraction outside (0, 1), or fewer than 2 rows.
    """
    _check_fraction(fraction)
    if n < 2:
        raise DataError(f"{n} rows cannot be divided in two", hint="give more samples")
    n_last = _share(n, fraction)
    return np.arange(n - n_last), np.arange(n - n_last, n)


def train_test(dataset: Dataset, seed: int = 0) -> tuple[Rows, Rows]:
    """The suggested training and test rows, or where none are suggested, a holdout of 20 %.

    Raises:
        DataError: is_test marks all rows or none, or `holdout` refuses.
    """
    if dataset.is_test is None:
        return holdout(dataset, 0.2, seed)
    n_test = int(dataset.is_test.sum())
    if n_test in (0, len(dataset)):
        raise DataError(
            f"{dataset.name}: is_test marks {n_test} of {len(dataset)} rows",
            hint="mark some rows, or leave is_test out",
        )
    return np.flatnonzero(~dataset.is_test), np.flatnonzero(dataset.is_test)


def _seed(seed: int) -> int:
    if seed < 0:
        raise DataError(f"the seed is {seed}", hint="give a seed of 0 or more")
    return seed


def _share(n: int, fraction: float) -> int:
    return min(max(int(n * fraction + 0.5), 1), n - 1)


def _check_folds(n_folds: int) -> None:
    if n_folds < 2:
        raise DataError(f"{n_folds} folds", hint="ask for 2 or more")


def _check_fraction(fraction: float) -> None:
    if not 0 < fraction < 1:
        raise DataError(
            f"a fraction of {fraction} leaves nothing on one side", hint="give one between 0 and 1"
        )
