"""Learning a new person: trained on others, one pass over the person's first series, tested on the second.

Folds are by person. Every setting (encoder, prototypes per class, rates) is chosen inside the training
folds, by the same protocol among the training people; an unseen person's second series picks nothing.
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

from edgehff.bench.baselines import SoftmaxRegression
from edgehff.bench.rows import ORDERS, folds_by_person, in_order, people_with_both
from edgehff.core import Net
from edgehff.data.dataset import Dataset
from edgehff.model.encoding import fit_encoding
from edgehff.recipe import EncoderRecipe, Recipe, lr_p_of, lr_w_of
from edgehff.train.local import trained
from edgehff.train.metrics import accuracy, bootstrap_interval

BASE = Recipe(
    layers=(128, 64), scale=12.0, margin=0.1, gate=0.3, lr=0.2, lr_prototypes=0.1, lr_final=0.3, epochs=8
)
CANDIDATES = tuple(
    BASE.replace(
        prototypes_per_class=k,
        encoder=EncoderRecipe(features=("mav", "rms", "wl"), segments=segments, log=True, standardize=True),
    )
    for segments in (1, 5)
    for k in (1, 3)
)
RATES = tuple((lr, lr_p) for lr in (0.02, 0.06, 0.12, 0.2, 0.5) for lr_p in (0.01, 0.03, 0.06, 0.15))
PENALTIES = (0.1, 1.0, 10.0)


@dataclass(frozen=True)
class Person:
    """One person's encoded series: first to learn from, in recording order, second to be tested on."""

    x_first: NDArray[np.int16]
    y_first: NDArray[np.uint16]
    x_second: NDArray[np.int16]
    y_second: NDArray[np.uint16]

    def order(self, name: str) -> NDArray[np.int64]:
        """Row numbers of the first series as they come."""
        return in_order(len(self.y_first), name)


def after_one_pass(
    net: Net, person: Person, order: str, rates: tuple[float, float], first_layer: int = 0
) -> float:
    """Accuracy on the second series after one pass over the first; net is not changed."""
    own = net.copy()
    own.set_rates(lr_w_of(rates[0]), lr_p_of(rates[1]))
    own.set_first_layer(first_layer)
    at = person.order(order)
    own.train(person.x_first[at], person.y_first[at])
    return accuracy(own.predict(person.x_second), person.y_second)


def _rows_of(data: Dataset, people: list[int]) -> NDArray[np.bool_]:
    assert data.group is not None
    return np.isin(data.group, people)


def _pretrained(data: Dataset, unseen: list[int], recipe: Recipe) -> tuple[Net, dict[int, Person]]:
    """A network trained on everyone but the unseen, and the unseen encoded by its encoder."""
    assert data.group is not None
    assert data.is_test is not None
    network = trained(recipe, data.rows(~_rows_of(data, unseen)))
    people = {}
    for person in unseen:
        first = data.rows((data.group == person) & ~data.is_test)
        second = data.rows((data.group == person) & data.is_test)
        people[person] = Person(network.encode(first.x), first.y, network.encode(second.x), second.y)
    return network.to_core(), people


def _mean_after(
    inner: list[tuple[Net, dict[int, Person]]], order: str, rates: tuple[float, float], last_only: bool
) -> float:
    results = [
        after_one_pass(net, person, order, rates, net.config.n_layers - 1 if last_only else 0)
        for net, people in inner
        for person in people.values()
    ]
    return float(np.mean(results))


@dataclass(frozen=True)
class Settings:
    """What the training folds chose: the recipe, and per order the rates, of all layers and of the last."""

    recipe: Recipe
    rates: dict[str, tuple[float, float]]
    last_rates: dict[str, tuple[float, float]]


def choose(data: Dataset, people: list[int], seed: int) -> Settings:
    """Settings by the same protocol among people, in three inner folds. data holds only training people."""
    best: tuple[float, Settings, list[tuple[Net, dict[int, Person]]]] | None = None
    inner_folds = folds_by_person(people, 3, seed)
    for recipe in CANDIDATES:
        inner = [_pretrained(data, unseen, recipe) for unseen in inner_folds]
        rates, total = {}, 0.0
        for order in ORDERS:
            scores = {r: _mean_after(inner, order, r, last_only=False) for r in RATES}
            rates[order] = max(scores, key=lambda r: scores[r])
            total += scores[rates[order]]
        if best is None or total > best[0]:
            best = (total, Settings(recipe, rates, {}), inner)
    assert best is not None
    _, settings, inner = best
    last = {o: max(RATES, key=lambda r: _mean_after(inner, o, r, last_only=True)) for o in ORDERS}
    return Settings(settings.recipe, settings.rates, last)


def _regression(
    data: Dataset, settings: Settings, unseen: list[int], people: list[int], seed: int
) -> dict[str, Any]:
    """Softmax regression on the same features, trained on the others and on the person's first series."""
    assert data.group is not None
    assert data.is_test is not None
    encoding = fit_encoding(data.x, settings.recipe.encoder)
    features = encoding.to_core().raw_features(encoding.quantize_raw(data.x))
    first, n = ~data.is_test, data.n_classes

    def score(train: NDArray[np.bool_], test: NDArray[np.bool_], l2: float) -> float:
        model = SoftmaxRegression(l2).fit(features[train], data.y[train], n)
        return accuracy(model.predict(features[test]), data.y[test])

    def own(person: int, l2: float) -> float:
        mine = data.group == person
        return score(mine & first, mine & ~first, l2)

    held = folds_by_person(people, 3, seed)[0]
    others = _rows_of(data, people) & ~_rows_of(data, held)
    l2_unseen = max(PENALTIES, key=lambda l2: score(others, _rows_of(data, held) & ~first, l2))
    l2_own = max(PENALTIES, key=lambda l2: float(np.mean([own(p, l2) for p in held])))
    everyone = SoftmaxRegression(l2_unseen).fit(
        features[~_rows_of(data, unseen)], data.y[~_rows_of(data, unseen)], n
    )
    tests = {p: (data.group == p) & ~first for p in unseen}
    return {
        "regression_unseen": {
            p: accuracy(everyone.predict(features[t]), data.y[t]) for p, t in tests.items()
        },
        "regression_own": {p: own(p, l2_own) for p in unseen},
    }


def run_fold(data: Dataset, people: list[int], unseen: list[int], seed: int) -> dict[str, Any]:
    """Results of a fold's people, {result: {person: accuracy}}, and the settings chosen without them."""
    training = [p for p in people if p not in unseen]
    settings = choose(data.rows(~_rows_of(data, unseen)), training, seed)
    results: dict[str, Any] = {}
    for arith in ("int16", "int8"):
        net, persons = _pretrained(data, unseen, settings.recipe.replace(arith=arith))
        results[f"{arith}_before"] = {
            p: accuracy(net.predict(v.x_second), v.y_second) for p, v in persons.items()
        }
        for order in ORDERS:
            results[f"{arith}_{order}"] = {
                p: after_one_pass(net, v, order, settings.rates[order]) for p, v in persons.items()
            }
            if arith == "int16":
                last = net.config.n_layers - 1
                results[f"last_layer_{order}"] = {
                    p: after_one_pass(net, v, order, settings.last_rates[order], last)
                    for p, v in persons.items()
                }
    results |= _regression(data, settings, unseen, training, seed)
    return {
        "results": results,
        "settings": {
            "segments": settings.recipe.encoder.segments,
            "prototypes_per_class": settings.recipe.prototypes_per_class,
            "rates": settings.rates,
            "last_layer_rates": settings.last_rates,
        },
    }


def run(
    data: Dataset, n_folds: int = 5, seed: int = 0, workers: int | None = None
) -> Iterator[dict[str, Any]]:
    """Yields {"fold": k} as folds end, and last the summary.

    Summary: for each result the mean, the worst person, and the 95 % bootstrap interval over people.
    """
    people = people_with_both(data)
    folds = folds_by_person(people, n_folds, seed)
    done: dict[int, dict[str, Any]] = {}
    with ProcessPoolExecutor(workers or os.cpu_count(), mp_context=get_context("spawn")) as pool:
        jobs = {pool.submit(run_fold, data, people, unseen, seed): k for k, unseen in enumerate(folds)}
        for job in as_completed(jobs):
            done[jobs[job]] = job.result()
            yield {"fold": jobs[job]}
    rows = {}
    for name in done[0]["results"]:
        per_person = {p: v for k in sorted(done) for p, v in done[k]["results"][name].items()}
        values = np.array([per_person[p] for p in people])
        rows[name] = {
            "mean": float(values.mean()),
            "worst": float(values.min()),
            "interval": list(bootstrap_interval(values, seed)),
            "per_person": {str(p): per_person[p] for p in people},
        }
    yield {"people": len(people), "results": rows, "settings": [done[k]["settings"] for k in sorted(done)]}
