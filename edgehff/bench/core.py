"""The core's figures on digits: folds and seeds against the float twin, a million steps at one rate."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehff.core import Net
from edgehff.data.dataset import Dataset
from edgehff.data.split import stratified_folds
from edgehff.model.encoding import fit_encoding
from edgehff.model.network import Network
from edgehff.recipe import EncoderRecipe, Recipe
from edgehff.train.local import decay, decayed_rates, pass_order
from edgehff.train.metrics import accuracy, bootstrap_interval
from edgehff.train.reference import FloatTwin

# Chosen on validation rows inside the training folds (docs/explanation/results.md).
DIGITS = Recipe(
    layers=(32,),
    scale=30.0,
    margin=0.3,
    prototypes_per_class=3,
    gate=0.2,
    lr=1.2,
    lr_prototypes=0.05,
    lr_final=0.1,
    epochs=20,
    data="digits",
    encoder=EncoderRecipe(center=True),
)
STABILITY = DIGITS.replace(
    scale=16.0, margin=0.2, prototypes_per_class=2, gate=0.3, lr=0.2, lr_prototypes=0.1, lr_final=1.0
)
ABLATIONS: dict[str, dict[str, Any]] = {
    "all": {},
    "no gate": {"gate": None},
    "no cap": {"cap": False},
    "no revive": {"revive": False},
    "none": {"gate": None, "cap": False, "revive": False},
}


def digits_run(data: Dataset, fold: int, seed: int, with_float: bool) -> dict[str, float]:
    """Accuracies on one fold from one seed after the first and the last pass: {"int8_1": ..., ...}."""
    folds = stratified_folds(data.y, 5, seed=0)
    test, rows = (
        data.rows(folds[fold]),
        data.rows(np.concatenate([f for k, f in enumerate(folds) if k != fold])),
    )
    encoding = fit_encoding(rows.x, DIGITS.encoder)
    encoder = encoding.to_core()
    x, x_test = encoder.encode(rows.x), encoder.encode(test.x)
    out: dict[str, float] = {}
    learners: dict[str, tuple[Recipe, Net | FloatTwin]] = {}
    for arith in ("int8", "int16"):
        recipe = DIGITS.replace(arith=arith, seed=seed)
        learners[arith] = recipe, Net(recipe.core_config(encoder.n_features, data.n_classes))
    if with_float:
        recipe, net = learners["int16"]
        assert isinstance(net, Net)
        learners["float"] = recipe, FloatTwin(net, recipe)
    for name, (recipe, learner) in learners.items():
        for epoch in range(recipe.epochs):
            if isinstance(learner, Net):
                learner.set_rates(*decayed_rates(recipe, epoch))
            else:
                learner.lr = recipe.lr * decay(recipe, epoch)
                learner.lr_prototypes = recipe.lr_prototypes * decay(recipe, epoch)
            order = pass_order(len(rows), seed, epoch)
            learner.train(x[order], rows.y[order])
            if epoch + 1 in (1, recipe.epochs):
                out[f"{name}_{epoch + 1}"] = accuracy(learner.predict(x_test), test.y)
        if isinstance(learner, Net):
            small = Network.from_core(learner, recipe, data.class_names, encoding).with_int8_prototypes()
            out[f"{name}_int8_prototypes"] = accuracy(small.to_core().predict(x_test), test.y)
    return out


def digits(
    data: Dataset, seeds: int = 10, with_float: bool = True, workers: int | None = None
) -> Iterator[dict[str, Any]]:
    """Yields {"run": ...} as runs end, and last the summary over 5 folds x seeds."""
    runs: dict[tuple[int, int], dict[str, float]] = {}
    with ProcessPoolExecutor(workers or os.cpu_count(), mp_context=get_context("spawn")) as pool:
        jobs = {
            pool.submit(digits_run, data, fold, seed, with_float): (fold, seed)
            for seed in range(seeds)
            for fold in range(5)
        }
        for job in as_completed(jobs):
            runs[jobs[job]] = job.result()
            yield {"run": jobs[job]}
    table = {name: np.array([runs[key][name] for key in sorted(runs)]) for name in runs[0, 0]}
    summary: dict[str, Any] = {
        name: {"mean": float(v.mean()), "std": float(v.std(ddof=1)), "worst": float(v.min())}
        for name, v in table.items()
    }
    pairs = {
        f"{a}_int8_prototypes_minus_int16": (f"{a}_int8_prototypes", f"{a}_{DIGITS.epochs}")
        for a in ("int8", "int16")
    }
    if with_float:
        pairs["int16_minus_float"] = (f"int16_{DIGITS.epochs}", f"float_{DIGITS.epochs}")
    for name, (a, b) in pairs.items():
        difference = table[a] - table[b]
        summary[name] = {"mean": float(difference.mean()), "interval": list(bootstrap_interval(difference))}
    yield {"folds": 5, "seeds": seeds, "results": summary}


def dead_rows(net: Net, x: NDArray[np.int16]) -> int:
    """Outputs of the first layer that are zero for every row of x."""
    weight = net.weights(0).astype(np.int64)
    if net.config.arith == "int16":
        weight = (weight + 128) >> 8
    return int((~((x.astype(np.int64) @ weight.T) > 0).any(axis=0)).sum())


def stability_run(data: Dataset, arith: str, ablation: str, seed: int, steps: int) -> dict[str, Any]:
    """Steps at a constant rate over a shuffled stationary stream, tested 22 times on the way."""
    folds = stratified_folds(data.y, 5, seed=0)
    test, rows = data.rows(folds[0]), data.rows(np.concatenate(folds[1:]))
    recipe = STABILITY.replace(arith=arith, seed=seed, **ABLATIONS[ablation])
    encoder = fit_encoding(rows.x, recipe.encoder).to_core()
    x, x_test = encoder.encode(rows.x), encoder.encode(test.x)
    net = Net(recipe.core_config(encoder.n_features, data.n_classes))
    n = len(rows)
    stream = np.concatenate([pass_order(n, seed, epoch) for epoch in range(steps // n + 1)])[:steps]
    parts = [stream[: 20 * n], *np.array_split(stream[20 * n : -n], 20), stream[-n:]]
    shares, accuracies = [], []
    for part in parts:
        before = net.layer_stats(0)["updates"]
        net.train(x[part], rows.y[part])
        shares.append((net.layer_stats(0)["updates"] - before) / len(part))
        accuracies.append(accuracy(net.predict(x_test), test.y))
    return {
        "best": max(accuracies),
        "final": accuracies[-1],
        "dead_rows": dead_rows(net, x),
        "saturated": net.layer_stats(0)["saturated"] / net.weights(0).size,
        "updates_20_passes": shares[0],
        "updates_last_pass": shares[-1],
    }


def stability(
    data: Dataset, seeds: int = 5, steps: int = 1_000_000, workers: int | None = None
) -> Iterator[dict[str, Any]]:
    """Yields {"run": ...} as runs end, and last one row per arithmetic and ablation, over seeds."""
    keys = [(arith, name, seed) for arith in ("int8", "int16") for name in ABLATIONS for seed in range(seeds)]
    done: dict[tuple[str, str, int], dict[str, Any]] = {}
    with ProcessPoolExecutor(workers or os.cpu_count(), mp_context=get_context("spawn")) as pool:
        jobs = {pool.submit(stability_run, data, *key, steps): key for key in keys}
        for job in as_completed(jobs):
            done[jobs[job]] = job.result()
            yield {"run": jobs[job]}
    table = []
    for arith in ("int8", "int16"):
        for name in ABLATIONS:
            rows = [done[arith, name, seed] for seed in range(seeds)]
            table.append(
                {
                    "arith": arith,
                    "stabilizers": name,
                    "best": float(np.mean([r["best"] for r in rows])),
                    "final": float(np.mean([r["final"] for r in rows])),
                    "largest_loss": max(r["best"] - r["final"] for r in rows),
                    "dead_rows": max(r["dead_rows"] for r in rows),
                    "saturated": max(r["saturated"] for r in rows),
                    "updates_20_passes": float(np.mean([r["updates_20_passes"] for r in rows])),
                    "updates_last_pass": float(np.mean([r["updates_last_pass"] for r in rows])),
                }
            )
    yield {"steps": steps, "seeds": seeds, "rows": table}
