"""A spiking recipe by folds: accuracy on rows that were not learned from, steps and operations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from edgehff.data.dataset import Dataset
from edgehff.data.split import group_folds, stratified_folds
from edgehff.errors import DataError
from edgehff.recipe import Recipe


def run(recipe: Recipe, whole: Dataset, folds: int, by_group: bool) -> Iterator[dict[str, Any]]:
    """Train and test on each fold; yields a document a pass, at last the document.

    by_group: whole people are held out.

    Raises:
        DataError: too few rows or groups for so many folds, or none where they are asked for.
    """
    from edgehff.spiking.simulate import run as simulate
    from edgehff.spiking.train import train
    from edgehff.train.events import EpochDone, Trained

    if by_group:
        if whole.group is None:
            raise DataError(f"{whole.name} does not say whose rows are whose", hint="--by row")
        parts = group_folds(whole.group, folds, recipe.seed)
    else:
        parts = stratified_folds(whole.y, folds, recipe.seed)
    lines: list[dict[str, Any]] = []
    for number, held in enumerate(parts):
        kept = np.setdiff1d(np.arange(len(whole)), held)
        for event in train(recipe, whole.rows(kept), None):
            if isinstance(event, EpochDone):
                yield {"fold": number + 1, "pass": event.epoch, "online": event.online}
            elif isinstance(event, Trained):
                network = event.network
        rows = whole.rows(held)
        found = simulate(network, network.encode(rows.x))
        lines.append(
            {
                "samples": len(rows),
                "accuracy": float((found.answers == rows.y).mean()),
                "accuracy_by_step": [float((answers == rows.y).mean()) for answers in found.by_step],
                "steps": float(found.steps.mean()),
                "work": found.work,
                "rates": [float(rate) for rate in found.rates],
            }
        )
    accuracies = [line["accuracy"] for line in lines]
    yield {
        "data": whole.name,
        "layers": recipe.text,
        "by": "person" if by_group else "row",
        "accuracy": float(np.mean(accuracies)),
        "deviation": float(np.std(accuracies, ddof=1)),
        "steps": float(np.mean([line["steps"] for line in lines])),
        "work": float(np.mean([line["work"] for line in lines])),
        "folds": lines,
        "recipe": recipe.to_dict(),
    }
