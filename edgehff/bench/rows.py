"""Which rows of a person are learned, in which order, and which are tested."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehff.data.dataset import Dataset
from edgehff.data.split import shuffled
from edgehff.errors import DataError
from edgehff.model.network import Network

ORDERS = ("shuffled", "recording")
FIRST, LAST = 0.6, 0.3
"""Parts of a person's rows of a class, where the data name no series: learned, and tested. What lies between
is left out, as windows overlap."""


def in_order(n: int, name: str) -> NDArray[np.int64]:
    """The numbers of n rows in one of ORDERS."""
    return shuffled(n, seed=1) if name == "shuffled" else np.arange(n)


def people_with_both(data: Dataset) -> list[int]:
    """The people who have learning and test rows."""
    if data.group is None or data.is_test is None:
        raise DataError(f"{data.name} has no people or no test rows", hint="edgehff data show emg-gestures")
    return [int(p) for p in np.unique(data.group) if len(set(data.is_test[data.group == p])) == 2]


def folds_by_person(people: list[int], n_folds: int, seed: int) -> list[list[int]]:
    """The people dealt to folds in an order drawn from the seed."""
    dealt = [people[i] for i in shuffled(len(people), seed)]
    return [dealt[fold::n_folds] for fold in range(n_folds)]


@dataclass(frozen=True)
class Rows:
    """Samples of one person, or of the factory, in every form that somebody learns from.

    raw: as the data has them.  x: encoded, (n, n_in), Q14.  y: classes.
    u: what the last layer's prototypes of the factory's network see, (n, head), Q14.
    """

    raw: NDArray[Any]
    x: NDArray[np.int16]
    u: NDArray[np.int16]
    y: NDArray[np.uint16]

    def __len__(self) -> int:
        return len(self.y)

    def at(self, index: NDArray[np.int64]) -> Rows:
        """The rows at index, in that order."""
        return Rows(self.raw[index], self.x[index], self.u[index], self.y[index])


def rows_of(network: Network, data: Dataset) -> Rows:
    """A data set's rows as a network sees them."""
    x = network.encode(data.x)
    return Rows(data.x, x, network.to_core().directions(x)[-1], data.y)


@dataclass(frozen=True)
class Person:
    """One person's rows: first, in recording order, to learn from; second to be tested on."""

    number: int
    first: Rows
    second: Rows

    def order(self, name: str) -> NDArray[np.int64]:
        """Row numbers of the first rows as they come."""
        return in_order(len(self.first), name)


def divided(data: Dataset, own: int | None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Row numbers (first, second) of one person's data.

    own: so many rows, as many of each class as there are, are drawn for the first part and all others are
    second. None: the data's test rows are second; data whose person has none, or nothing else, are divided
    class by class in recording order.

    Raises:
        DataError: nothing is left to learn, or to test.
    """
    if own is not None:
        first = _drawn(data, own)
        second = np.setdiff1d(np.arange(len(data)), first)
    elif data.is_test is not None and 0 < data.is_test.sum() < len(data):
        first, second = np.flatnonzero(~data.is_test), np.flatnonzero(data.is_test)
    else:
        parts = [np.flatnonzero(data.y == label) for label in range(data.n_classes)]
        first = np.sort(np.concatenate([part[: round(FIRST * len(part))] for part in parts]))
        second = np.sort(np.concatenate([part[round((1 - LAST) * len(part)) :] for part in parts]))
    if not len(first) or not len(second):
        raise DataError(
            f"{data.name}: a person has {len(first)} rows to learn, {len(second)} to be tested on"
        )
    return first, second


def _drawn(data: Dataset, own: int) -> NDArray[np.int64]:
    """Row numbers, sorted: one of each class in turn, in an order drawn from the person's number."""
    seed = 0 if data.group is None else int(data.group[0])
    order = shuffled(len(data), seed)
    place = np.empty(len(data), np.int64)
    for label in range(data.n_classes):
        mine = order[data.y[order] == label]
        place[mine] = np.arange(len(mine))
    return np.sort(np.lexsort((data.y, place))[:own])


def continual(after: list[tuple[int, NDArray[np.float64]]]) -> dict[str, float]:
    """ACC, BWT and forgetting of classes that came in blocks; what is tested is each class's accuracy.

    after: of each block the class that was learned in it, and the accuracy of every class after it,
    nan for classes that are not tested.

    Forgetting of a class is its accuracy when it had last been learned less that at the end, of all classes
    but the one learned last, and BWT its negative: StreamForgetting and StreamBWT of Avalanche, a class an
    experience. ACC is the mean accuracy of classes at the end (Lopez-Paz, Ranzato, NeurIPS 2017).
    """
    learned_last, end = after[-1]
    first = dict(after)
    lost = [
        float(value[label] - end[label])
        for label, value in first.items()
        if label != learned_last and not np.isnan(end[label])
    ]
    forgetting = float(np.mean(lost)) if lost else 0.0
    return {"acc": float(np.nanmean(end)), "bwt": -forgetting, "forgetting": forgetting}
