"""Local training beside backpropagation: the same float network, data, settings and seeds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from edgehff.data.dataset import Dataset
from edgehff.data.split import train_test
from edgehff.recipe import Recipe

WAYS = ("local", "backprop")


def run(recipe: Recipe, data: Dataset, seeds: int = 1, device: str = "cpu") -> Iterator[dict[str, Any]]:
    """One document a pass: way, seed, epoch, online; the last one the summary.

    Trains on data's training rows by recipe.pretrain, with the seeds recipe.seed and those after it, and
    measures test rows once, at the end.
    """
    from edgehff.train import backprop
    from edgehff.train import float as local
    from edgehff.train.events import EpochDone, Trained
    from edgehff.train.metrics import accuracy

    rows, test = (data.rows(at) for at in train_test(data))
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    seconds = dict.fromkeys(WAYS, 0.0)
    for seed in range(recipe.seed, recipe.seed + seeds):
        settings = recipe.replace(arith="float", seed=seed)
        for way, train in zip(WAYS, (local.train, backprop.train), strict=True):
            for event in train(settings, rows, device=device):
                if isinstance(event, EpochDone):
                    yield {"way": way, "seed": seed, "epoch": event.epoch, "online": event.online}
                elif isinstance(event, Trained):
                    network = event.network
                    found[way].append(accuracy(network.predict(network.encode(test.x)), test.y))
                    seconds[way] += event.seconds
    yield {
        "data": data.name,
        "layers": recipe.text,
        "samples": len(test),
        "seeds": seeds,
        "seed": recipe.seed,
        "epochs": recipe.pretrain.epochs,
        "results": {
            way: {
                "accuracy": float(np.mean(values)),
                "accuracies": values,
                "seconds": seconds[way] / seeds,
            }
            for way, values in found.items()
        },
        "recipe": recipe.to_dict(),
    }
