"""Learning a person beside others' ways to learn: the same factory, the same samples, the same bytes.

Folds are by person. What a fold's people are learned with is chosen on the people of the fold after it, by
networks that saw neither: no person's tested rows pick anything.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehff.bench.methods import METHODS, Factory, Method, Setting
from edgehff.bench.rows import ORDERS, Person, continual, divided, folds_by_person, rows_of
from edgehff.data.dataset import Dataset
from edgehff.errors import DataError, InputError
from edgehff.recipe import Recipe
from edgehff.train.local import trained
from edgehff.train.metrics import accuracy, bootstrap_interval

MEMORY_BYTES = 64 << 10
BUDGETS = (0, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10)
"""Bytes of memory that accuracy is plotted against."""
OURS = "edgehff"
MIN_FOLDS = 3


@dataclass(frozen=True)
class Protocol:
    """What is held fixed.

    n_folds: of people; 0: each person is one.
    own: samples of a person that are learned; None: as bench.rows.divided.
    factory: groups that a network is trained on in every fold, none of them tested; (): all but the fold's.
    memory_bytes: of own samples.  budgets: other such numbers, in recording order.
    """

    n_folds: int = 5
    own: int | None = None
    factory: tuple[int, ...] = ()
    memory_bytes: int = MEMORY_BYTES
    budgets: tuple[int, ...] = BUDGETS
    methods: tuple[str, ...] = tuple(METHODS)
    seed: int = 0


@dataclass(frozen=True)
class Course:
    """How one person was learned.

    curve: (samples seen, accuracy), from 0 on.  blocks: of each class in a row, the accuracy of every class
    after it; nan for those without a test row.
    """

    curve: list[tuple[int, float]]
    blocks: list[tuple[int, NDArray[np.float64]]]
    ram_bytes: int

    @property
    def end(self) -> float:
        """Accuracy after the last sample."""
        return self.curve[-1][1]


def points(n: int) -> list[int]:
    """After how many of n samples accuracy is measured."""
    return sorted({*(p for p in (5, 10, 20, 45, 90, 180, 360) if p < n), n})


def course(
    method: Method, setting: Setting, person: Person, order: str, memory_bytes: int, end_only: bool = False
) -> Course:
    """One person's first rows, one by one, in an order.  end_only: accuracy after the last one alone."""
    learner = method.begin(setting, memory_bytes)
    y, rows = person.second.y, person.first.at(person.order(order))
    if end_only:
        for i in range(len(rows)):
            learner.learn(rows, i)
        return Course([(len(rows), accuracy(learner.predict(person.second), y))], [], learner.ram_bytes)
    curve, blocks = [(0, accuracy(learner.predict(person.second), y))], []
    at_points = points(len(rows))
    for i in range(len(rows)):
        learner.learn(rows, i)
        ends_block = i + 1 == len(rows) or rows.y[i + 1] != rows.y[i]
        if i + 1 in at_points or (order == "recording" and ends_block):
            right = learner.predict(person.second) == y
            if i + 1 in at_points:
                curve.append((i + 1, float(right.mean())))
            if order == "recording" and ends_block:
                n_classes = int(max(y.max(), rows.y.max())) + 1
                by_class = [right[y == c].mean() if (y == c).any() else np.nan for c in range(n_classes)]
                blocks.append((int(rows.y[i]), np.array(by_class)))
    return Course(curve, blocks, learner.ram_bytes)


def _factory(data: Dataset, recipe: Recipe, unseen: list[int], p: Protocol) -> Factory:
    assert data.group is not None
    seen = np.isin(data.group, p.factory) if p.factory else ~np.isin(data.group, unseen)
    rows = data.rows(seen)
    network = trained(recipe, rows)
    return Factory(network, rows, rows_of(network, rows))


def _people(factory: Factory, data: Dataset, numbers: list[int], own: int | None) -> list[Person]:
    assert data.group is not None
    people = []
    for number in numbers:
        mine = data.rows(data.group == number)
        first, second = divided(mine, own)
        rows = rows_of(factory.network, mine)
        people.append(Person(number, rows.at(first), rows.at(second)))
    return people


def chosen(method: Method, people: list[Person], memory_bytes: int) -> Setting:
    """The setting with the best mean over people and orders at the end."""

    def score(setting: Setting) -> float:
        ends = [
            course(method, setting, q, order, memory_bytes, end_only=True).end
            for q in people
            for order in ORDERS
        ]
        return float(np.mean(ends))

    return max(method.settings, key=score)


def run_fold(
    data: Dataset, recipe: Recipe, unseen: list[int], others: list[int], p: Protocol
) -> dict[str, Any]:
    """A fold's people by every method, and the settings that the others' people chose."""
    validation = _factory(data, recipe, [*unseen, *others], p)
    factory = _factory(data, recipe, unseen, p)
    held, tested = (
        _people(validation, data, others, p.own),
        _people(factory, data, unseen, p.own),
    )
    found: dict[str, Any] = {}
    for name in p.methods:
        setting = chosen(METHODS[name](validation), held, p.memory_bytes)
        method = METHODS[name](factory)
        courses = {
            order: [course(method, setting, q, order, p.memory_bytes) for q in tested] for order in ORDERS
        }
        budgets = (
            {
                n: [course(method, setting, q, "recording", n, end_only=True) for q in tested]
                for n in p.budgets
            }
            if name in _WITH_MEMORY
            else {}
        )
        found[name] = {"setting": dict(setting), "courses": courses, "budgets": budgets}
    return found


_WITH_MEMORY = ("edgehff", "neighbors", "linear head", "backprop")


def _fold(job: tuple[Dataset, Recipe, list[int], list[int], Protocol]) -> dict[str, Any]:
    if "backprop" in job[-1].methods or "linear head" in job[-1].methods:
        import torch

        torch.set_num_threads(1)
    return run_fold(*job)


def run(data: Dataset, recipe: Recipe, p: Protocol, workers: int | None = None) -> Iterator[dict[str, Any]]:
    """Yields {"fold": k} as folds end, and last the summary.

    Raises:
        DataError: data without people, or fewer than three folds of them.
        InputError: a method that is none.
    """
    unknown = [name for name in p.methods if name not in METHODS]
    if unknown or OURS not in p.methods:
        raise InputError(
            f"{unknown or p.methods} are not methods", hint=f"{OURS}, and of {', '.join(METHODS)}"
        )
    if data.group is None:
        raise DataError(f"{data.name} has no people", hint="edgehff data show emg-gestures")
    people = [int(q) for q in np.unique(data.group) if q not in p.factory and _testable(data, int(q), p)]
    n_folds = min(p.n_folds or len(people), len(people))
    if n_folds < MIN_FOLDS:
        raise DataError(
            f"{data.name}: {len(people)} people to test, {n_folds} folds",
            hint=f"{MIN_FOLDS} folds are needed: to be tested, to choose on, to train on",
        )
    folds = folds_by_person(people, n_folds, p.seed)
    jobs = [(data, recipe, f, folds[(k + 1) % len(folds)], p) for k, f in enumerate(folds)]
    done: dict[int, dict[str, Any]] = {}
    with ProcessPoolExecutor(workers or os.cpu_count(), mp_context=get_context("spawn")) as pool:
        waiting = {pool.submit(_fold, job): k for k, job in enumerate(jobs)}
        for job in as_completed(waiting):
            done[waiting[job]] = job.result()
            yield {"fold": waiting[job]}
    by_fold = [done[k] for k in range(len(folds))]
    yield {"people": len(people), "samples": _samples(by_fold), "methods": summary(by_fold, p)}


def _testable(data: Dataset, number: int, p: Protocol) -> bool:
    """Whether a person has what the data's own division needs: of series, both."""
    assert data.group is not None
    if p.own is not None or data.is_test is None:
        return True
    by_series = {g: len(set(data.is_test[data.group == g])) == 2 for g in np.unique(data.group)}
    return not any(by_series.values()) or by_series[number]


def _samples(by_fold: list[dict[str, Any]]) -> float:
    counts = [c.curve[-1][0] for fold in by_fold for c in fold[OURS]["courses"][ORDERS[0]]]
    return float(np.mean(counts))


def summary(by_fold: list[dict[str, Any]], p: Protocol) -> dict[str, Any]:
    """Of each method and order: mean, worst person, interval over people, and how far edgehff is ahead."""
    out: dict[str, Any] = {}
    for name in p.methods:
        entry: dict[str, Any] = {"settings": [fold[name]["setting"] for fold in by_fold]}
        for order in ORDERS:
            courses = _joined(by_fold, name, order)
            ours = np.array([c.end for c in _joined(by_fold, OURS, order)])
            ends = np.array([c.end for c in courses])
            entry["before"] = float(np.mean([c.curve[0][1] for c in courses]))
            entry["ram_bytes"] = max(c.ram_bytes for c in courses)
            entry[order] = _spread(ends, p.seed) | {"per_person": ends.tolist(), "curve": _curve(courses)}
            if name != OURS:
                entry[order]["edgehff_minus_it"] = _spread(ours - ends, p.seed)
        measures = [continual(c.blocks) for c in _joined(by_fold, name, "recording")]
        entry["continual"] = {key: float(np.mean([m[key] for m in measures])) for key in measures[0]}
        entry["budgets"] = [
            {
                "memory_bytes": n,
                "ram_bytes": max(c.ram_bytes for f in by_fold for c in f[name]["budgets"][n]),
                **_spread(np.array([c.end for f in by_fold for c in f[name]["budgets"][n]]), p.seed),
            }
            for n in by_fold[0][name]["budgets"]
        ]
        out[name] = entry
    return out


def _joined(by_fold: list[dict[str, Any]], name: str, order: str) -> list[Course]:
    return [c for fold in by_fold for c in fold[name]["courses"][order]]


def _spread(values: NDArray[np.float64], seed: int) -> dict[str, Any]:
    low, high = bootstrap_interval(values, seed)
    return {"mean": float(values.mean()), "worst": float(values.min()), "interval": [low, high]}


def _curve(courses: list[Course]) -> list[dict[str, float]]:
    """Mean accuracy of the people that have so many samples, where that is at least half of them."""
    at: dict[int, list[float]] = {}
    for c in courses:
        for n, value in c.curve[:-1]:
            at.setdefault(n, []).append(value)
    rows = [
        {"samples": n, "mean": float(np.mean(v))} for n, v in sorted(at.items()) if 2 * len(v) >= len(courses)
    ]
    last = {"samples": float(np.mean([c.curve[-1][0] for c in courses]))}
    return [*rows, last | {"mean": float(np.mean([c.end for c in courses]))}]
