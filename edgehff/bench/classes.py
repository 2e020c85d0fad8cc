"""A class that the factory never saw: learned from a few samples, and unknown before that.

Every class is held out in turn, and added alone. The network is trained without it, and all that follows goes
through a session. Thresholds and settings come from rows that no figure is measured on.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from multiprocessing import get_context
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehff.bench.rows import folds_by_person, people_with_both
from edgehff.data.dataset import Dataset
from edgehff.data.split import shuffled
from edgehff.errors import DataError
from edgehff.model.network import Network
from edgehff.personalize.calibrate import calibrate
from edgehff.personalize.session import MEMORY_BYTES, PersonalSession
from edgehff.recipe import Recipe, UnknownRecipe
from edgehff.train import local
from edgehff.train.metrics import accuracy

FOLDS = 5
VALIDATION = (0,)
"""The folds of people that settings may be chosen on."""
NINTH = 9
"""Without people: each ninth training row of a class, from the fifth on, is for thresholds and validation."""
GROUPS = 10
"""Without people: at most so many networks are trained, each without all new classes of its group."""


@dataclass(frozen=True)
class Protocol:
    """What is held fixed.

    shots: samples of the new class.  own: samples of each old class that the session learns before.
    ways: old classes of one session, the network's others forgotten; 0 for all. Without people only.
    score: of unknown samples, "nearest" or "answer"; false_alarms: the share that sets its threshold.
    validation: measure on the rows and people that settings are chosen on.
    """

    shots: int = 10
    own: int = 10
    ways: int = 0
    score: str = "nearest"
    false_alarms: float = 0.055
    validation: bool = False


@dataclass(frozen=True)
class New:
    """One new class: the samples that a user gives, and those that the answers are tested on."""

    label: int
    shots: NDArray[Any]
    tested: NDArray[Any]


def trained(recipe: Recipe, rows: Dataset) -> Network:
    """An integer network; a recipe in float is quantized to int16."""
    if recipe.arith != "float":
        return local.trained(recipe, rows)
    from edgehff.quantize.network import quantize
    from edgehff.train import float as in_float

    return quantize(in_float.trained(recipe, rows), "int16")


def without(data: Dataset, labels: Sequence[int]) -> Dataset:
    """The rows of all other classes, numbered anew."""
    kept = [c for c in range(data.n_classes) if c not in labels]
    rows = data.rows(np.isin(data.y, kept))
    number = np.searchsorted(kept, rows.y).astype(np.uint16)
    return replace(rows, y=number, class_names=tuple(data.class_names[c] for c in kept))


def measure(
    network: Network, own: Dataset, old: Dataset, new: Sequence[New], forgotten: Sequence[int] = ()
) -> dict[int, dict[str, float]]:
    """One user: the own samples of old classes, then each new class alone; what is answered, by new class.

    own: learned first.  old: tested before and after.  forgotten: classes that the user has not.
    """
    session = PersonalSession(network, memory_bytes=MEMORY_BYTES)
    for label in forgotten:
        session.forget_class(label)
    for x, y in zip(own.x, own.y, strict=True):
        session.learn_one(x, int(y))
    before = accuracy(session.predict(old.x), old.y)
    false_alarms = float(np.mean([session.answer_one(x).unknown for x in old.x]))
    session.snapshot()
    found = {}
    for case in new:
        flagged = np.mean([session.answer_one(x).unknown for x in case.tested])
        number = session.add_class("the new one")
        for x in case.shots:
            session.learn_one(x, number)
        found[case.label] = {
            "new": float(np.mean(session.predict(case.tested) == number)),
            "before": before,
            "after": accuracy(session.predict(old.x), old.y),
            "false_alarms": false_alarms,
            "flagged": float(flagged),
        }
        session.rollback()
    return found


Found = list[tuple[int, dict[str, float]]]


def of_people(data: Dataset, recipe: Recipe, labels: Sequence[int], fold: int, p: Protocol) -> Found:
    """A fold's people, unseen by the network: own rows of the first series, tested on the second."""
    assert data.group is not None
    assert data.is_test is not None
    unseen = folds_by_person(people_with_both(data), FOLDS, 0)[fold]
    others = without(data.rows(~np.isin(data.group, unseen)), labels)
    network = calibrate(trained(recipe, others), others, p.score, p.false_alarms, p.own).network
    found: Found = []
    for person in unseen:
        own = data.rows((data.group == person) & ~data.is_test)
        later = data.rows((data.group == person) & data.is_test)
        new = [
            New(c, _some(own.x[own.y == c], p.shots, seed=person), later.x[later.y == c])
            for c in labels
            if (own.y == c).any() and (later.y == c).any()
        ]
        known = _first(without(own, labels), p.own)
        found += measure(network, known, without(later, labels), new).items()
    return found


def of_split(data: Dataset, recipe: Recipe, labels: Sequence[int], p: Protocol) -> Found:
    """Data without people: own rows and shots are training rows; a part of those sets the threshold."""
    if data.is_test is None:
        raise DataError(f"{data.name} marks no test rows", hint="edgehff data show NAME")
    rows, test = data.rows(~data.is_test), data.rows(data.is_test)
    is_held = np.zeros(len(rows), np.bool_)
    for c in range(data.n_classes):
        is_held[np.flatnonzero(rows.y == c)[NINTH // 2 :: NINTH]] = True
    train, held = rows.rows(~is_held), rows.rows(is_held)
    known = without(train, labels)
    users = episodes(known.n_classes, p.ways, seed=labels[0])
    network = _calibrated(trained(recipe, known), known, without(held, labels), users, p)
    tested = held if p.validation else test
    old, rows = without(tested, labels), known.rows(shuffled(len(known), seed=labels[0]))
    found: Found = []
    for k, classes in enumerate(users):
        own, of_user = (d.rows(np.isin(d.y, classes)) for d in (rows, old))
        new = [
            New(c, _some(train.x[train.y == c], p.shots, seed=c), tested.x[tested.y == c])
            for c in labels[k :: len(users)]
        ]
        if new:
            forgotten = np.setdiff1d(np.arange(known.n_classes), classes).tolist()
            found += measure(network, _first(own, p.own), of_user, new, forgotten).items()
    return found


def episodes(n_classes: int, ways: int, seed: int) -> list[NDArray[np.int64]]:
    """So many classes for each user, no class twice, those left over for none; ways = 0: all for one."""
    if not ways:
        return [np.arange(n_classes)]
    if ways > n_classes:
        raise DataError(f"{ways} of {n_classes} old classes", hint="fewer --ways")
    order = shuffled(n_classes, seed)
    return [np.sort(order[start : start + ways]) for start in range(0, n_classes - ways + 1, ways)]


def _calibrated(
    network: Network, train: Dataset, held: Dataset, users: Sequence[NDArray[np.int64]], p: Protocol
) -> Network:
    """The threshold of rows that the network was not trained on."""
    user_of = np.full(train.n_classes, -1)
    for k, classes in enumerate(users):
        user_of[classes] = k
    y = np.concatenate([train.y, held.y])
    is_test = np.arange(len(y)) >= len(train)
    both = replace(train, x=np.concatenate([train.x, held.x]), y=y, group=user_of[y], is_test=is_test)
    both = both.rows(user_of[y] >= 0)
    return calibrate(network, both, p.score, p.false_alarms, p.own, only_own=p.ways > 0).network


def _first(data: Dataset, per_class: int) -> Dataset:
    rows = [np.flatnonzero(data.y == c)[:per_class] for c in range(data.n_classes)]
    return data.rows(np.sort(np.concatenate(rows)))


def _some(x: NDArray[Any], n: int, seed: int) -> NDArray[Any]:
    return x[np.sort(shuffled(len(x), seed)[:n])]


def _job(
    data: Dataset, recipe: Recipe, labels: Sequence[int], fold: int | None, p: Protocol
) -> tuple[Sequence[int], int | None, Found]:
    if fold is None:
        return labels, fold, of_split(data, recipe, labels, p)
    return labels, fold, of_people(data, recipe, labels, fold, p)


def groups(n_classes: int) -> list[list[int]]:
    """New classes that share a network: few each alone, many dealt to groups."""
    if n_classes <= GROUPS:
        return [[label] for label in range(n_classes)]
    order = shuffled(n_classes, seed=0).tolist()
    return [sorted(order[k::GROUPS]) for k in range(GROUPS)]


def run(
    data: Dataset, recipe: Recipe, by_person: bool, p: Protocol, workers: int | None = None
) -> Iterator[dict[str, Any]]:
    """Yields {"classes": ..., "fold": ...} as networks are done, and last the summary.

    by_person: unseen people, in folds; else the data's own split. Summary: the means over all cases, and of
    each class. Drop is old classes' accuracy before less after.
    """
    jobs = plan(data.n_classes, by_person, p)
    recipe = recipe.replace(unknown=UnknownRecipe())
    done: Found = []
    with ProcessPoolExecutor(workers or os.cpu_count(), mp_context=get_context("spawn")) as pool:
        waiting = [pool.submit(_job, data, recipe, labels, fold, p) for labels, fold in jobs]
        for job in as_completed(waiting):
            labels, fold, found = job.result()
            done += found
            yield {"classes": [data.class_names[c] for c in labels], "fold": fold}
    done.sort(key=lambda one: one[0])
    per_class = [
        _mean([case for c, case in done if c == label]) | {"class": data.class_names[label]}
        for label in range(data.n_classes)
    ]
    yield {"cases": len(done), **_mean([case for _, case in done]), "per_class": per_class}


def plan(n_classes: int, by_person: bool, p: Protocol) -> list[tuple[list[int], int | None]]:
    """The networks to be trained: without which classes, and which fold of people.

    On validation, of many classes the first group alone is measured, and else all others.
    """
    of_classes = groups(n_classes)
    if by_person:
        return [(g, k) for g in of_classes for k in range(FOLDS) if (k in VALIDATION) == p.validation]
    if n_classes > GROUPS:
        of_classes = of_classes[:1] if p.validation else of_classes[1:]
    return [(g, None) for g in of_classes]


def _mean(cases: list[dict[str, float]]) -> dict[str, float]:
    if not cases:
        return {}
    mean = {name: float(np.mean([case[name] for case in cases])) for name in cases[0]}
    return mean | {"drop": mean["before"] - mean["after"]}
