"""A class that the factory never saw: learned from a few samples, and unknown before that.

Every class is held out in turn. The network is trained without it, and all that follows goes through a
session. Thresholds and settings come from rows that no figure is measured on.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from multiprocessing import get_context
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehff.bench.one_pass import folds_by_person, people_with_both
from edgehff.data.dataset import Dataset
from edgehff.data.split import shuffled
from edgehff.errors import DataError
from edgehff.model.network import Network
from edgehff.personalize.calibrate import calibrate
from edgehff.personalize.session import MEMORY_BYTES, PersonalSession
from edgehff.recipe import Recipe, UnknownRecipe
from edgehff.train.local import trained
from edgehff.train.metrics import accuracy

FOLDS = 5
VALIDATION = (0,)
"""The folds of people that settings may be chosen on."""
LAST = 1.0 / 9
"""Without people: the last part of the training rows of each class, for thresholds and for validation."""


@dataclass(frozen=True)
class Protocol:
    """What is held fixed.

    shots: samples of the new class.  own: samples of each old class that the session learns before.
    score: of unknown samples, "nearest" or "logp"; false_alarms: the share that sets its threshold.
    validation: measure on the rows and people that settings are chosen on.
    """

    shots: int = 10
    own: int = 10
    score: str = "nearest"
    false_alarms: float = 0.06
    validation: bool = False


@dataclass(frozen=True)
class Case:
    """One new class for one user: the rows that the user gives, and those that the answers are tested on."""

    own: Dataset
    shots: NDArray[Any]
    old: Dataset
    new: NDArray[Any]


def without(data: Dataset, label: int) -> Dataset:
    """The rows of all classes but one, numbered anew."""
    rows = data.rows(data.y != label)
    names = tuple(name for i, name in enumerate(data.class_names) if i != label)
    return replace(rows, y=(rows.y - (rows.y > label)).astype(np.uint16), class_names=names)


def measure(network: Network, case: Case) -> dict[str, float]:
    """One session: the user's own samples, then the new class's; accuracies, and what was unknown."""
    session = PersonalSession(network, memory_bytes=MEMORY_BYTES)
    for x, y in zip(case.own.x, case.own.y, strict=True):
        session.learn_one(x, int(y))
    before = accuracy(session.predict(case.old.x), case.old.y)
    false_alarms = np.mean([session.answer_one(x).unknown for x in case.old.x])
    flagged = np.mean([session.answer_one(x).unknown for x in case.new])
    number = session.add_class("the new one")
    for x in case.shots:
        session.learn_one(x, number)
    return {
        "new": float(np.mean(session.predict(case.new) == number)),
        "before": before,
        "after": accuracy(session.predict(case.old.x), case.old.y),
        "false_alarms": float(false_alarms),
        "flagged": float(flagged),
    }


def of_people(data: Dataset, recipe: Recipe, label: int, fold: int, p: Protocol) -> list[dict[str, float]]:
    """A fold's people, unseen by the network: own rows of the first series, tested on the second."""
    assert data.group is not None
    assert data.is_test is not None
    unseen = folds_by_person(people_with_both(data), FOLDS, 0)[fold]
    others = without(data.rows(~np.isin(data.group, unseen)), label)
    network = calibrate(trained(recipe, others), others, p.score, p.false_alarms, p.own).network
    found = []
    for person in unseen:
        own = data.rows((data.group == person) & ~data.is_test)
        later = data.rows((data.group == person) & data.is_test)
        if not (own.y == label).any() or not (later.y == label).any():
            continue
        shots = _some(own.x[own.y == label], p.shots, seed=person)
        case = Case(
            _first(without(own, label), p.own), shots, without(later, label), later.x[later.y == label]
        )
        found.append(measure(network, case))
    return found


def of_split(data: Dataset, recipe: Recipe, label: int, p: Protocol) -> list[dict[str, float]]:
    """Data without people: own rows and shots are training rows; a part of those sets the threshold."""
    if data.is_test is None:
        raise DataError(f"{data.name} marks no test rows", hint="edgehff data show NAME")
    rows, test = data.rows(~data.is_test), data.rows(data.is_test)
    last = np.zeros(len(rows), np.bool_)
    for c in range(data.n_classes):
        own = np.flatnonzero(rows.y == c)
        last[own[len(own) - max(1, round(LAST * len(own))) :]] = True
    train, held = rows.rows(~last), rows.rows(last)
    known = without(train, label)
    network = _calibrated(trained(recipe, known), known, without(held, label), p)
    tested = held if p.validation else test
    shots = _some(train.x[train.y == label], p.shots, seed=label)
    own_rows = known.rows(shuffled(len(known), seed=label))
    case = Case(_first(own_rows, p.own), shots, without(tested, label), tested.x[tested.y == label])
    return [measure(network, case)]


def _calibrated(network: Network, train: Dataset, held: Dataset, p: Protocol) -> Network:
    """The threshold of rows that the network was not trained on."""
    both = replace(
        train,
        x=np.concatenate([train.x, held.x]),
        y=np.concatenate([train.y, held.y]),
        group=None,
        is_test=np.arange(len(train) + len(held)) >= len(train),
    )
    return calibrate(network, both, p.score, p.false_alarms, p.own).network


def _first(data: Dataset, per_class: int) -> Dataset:
    rows = [np.flatnonzero(data.y == c)[:per_class] for c in range(data.n_classes)]
    return data.rows(np.sort(np.concatenate(rows)))


def _some(x: NDArray[Any], n: int, seed: int) -> NDArray[Any]:
    return x[np.sort(shuffled(len(x), seed)[:n])]


def _job(
    data: Dataset, recipe: Recipe, label: int, fold: int | None, p: Protocol
) -> tuple[int, int | None, list[dict[str, float]]]:
    found = of_split(data, recipe, label, p) if fold is None else of_people(data, recipe, label, fold, p)
    return label, fold, found


def run(
    data: Dataset, recipe: Recipe, by_person: bool, p: Protocol, workers: int | None = None
) -> Iterator[dict[str, Any]]:
    """Yields {"class": ..., "fold": ...} as classes are done, and last the summary.

    by_person: unseen people, in folds; else the data's own split. Summary: the means over all cases, and of
    each class. Drop is old classes' accuracy before less after.
    """
    chosen = [k for k in range(FOLDS) if (k in VALIDATION) == p.validation]
    folds: list[int | None] = [*chosen] if by_person else [None]
    jobs = [(label, fold) for label in range(data.n_classes) for fold in folds]
    recipe = recipe.replace(unknown=UnknownRecipe())
    done: dict[int, list[dict[str, float]]] = {label: [] for label in range(data.n_classes)}
    with ProcessPoolExecutor(workers or os.cpu_count(), mp_context=get_context("spawn")) as pool:
        waiting = [pool.submit(_job, data, recipe, label, fold, p) for label, fold in jobs]
        for job in as_completed(waiting):
            label, fold, found = job.result()
            done[label] += found
            yield {"class": data.class_names[label], "fold": fold}
    cases = [case for label in sorted(done) for case in done[label]]
    per_class = [_mean(done[label]) | {"class": data.class_names[label]} for label in sorted(done)]
    yield {"cases": len(cases), **_mean(cases), "per_class": per_class}


def _mean(cases: list[dict[str, float]]) -> dict[str, float]:
    if not cases:
        return {}
    mean = {name: float(np.mean([case[name] for case in cases])) for name in cases[0]}
    return mean | {"drop": mean["before"] - mean["after"]}
