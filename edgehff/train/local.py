"""Local training in integers: drives the C core over a data set, one sample at a time, and yields events."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from edgehff import recipe as recipes
from edgehff.core import Net
from edgehff.data.dataset import Dataset
from edgehff.data.split import shuffled
from edgehff.model.encoding import fit_encoding
from edgehff.model.network import Network
from edgehff.recipe import Recipe
from edgehff.train.augment import Augmentation
from edgehff.train.events import Advanced, EpochDone, Trained
from edgehff.train.metrics import accuracy

CHUNK = 2048


def pass_order(n: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """The order of n rows in a pass counted from 0: another one for each seed and pass."""
    return shuffled(n, seed * 2**32 + epoch)


def decay(recipe: Recipe, epoch: int) -> float:
    """What a pass counted from 0 multiplies both rates by, falling geometrically from 1 to lr_final."""
    return float(recipe.lr_final ** (epoch / max(1, recipe.epochs - 1)))


def decayed_rates(recipe: Recipe, epoch: int) -> tuple[int, int]:
    """The core's rates (Q16, Q14) for a pass counted from 0, falling geometrically to lr_final."""
    factor = decay(recipe, epoch)
    return recipes.lr_w_of(recipe.lr * factor), recipes.lr_p_of(recipe.lr_prototypes * factor)


def train(
    recipe: Recipe, rows: Dataset, validation: Dataset | None = None
) -> Iterator[Advanced | EpochDone | Trained[Network]]:
    """Train a new network on rows, recipe.epochs times, each in an order drawn from the seed.

    The encoder is fitted on rows alone. The last event is Trained.
    """
    encoding = fit_encoding(rows.x, recipe.encoder)
    encoder = encoding.to_core()
    x = encoder.encode(encoding.quantize_raw(rows.x))
    held = None if validation is None else encoder.encode(encoding.quantize_raw(validation.x))
    net = Net(recipe.core_config(encoder.n_features, rows.n_classes))
    changes = Augmentation(recipe)
    before = [0] * recipe.n_layers
    seconds = 0.0
    for epoch in range(recipe.epochs):
        net.set_rates(*decayed_rates(recipe, epoch))
        order = pass_order(len(rows), recipe.seed, epoch)
        right = 0
        for start in range(0, len(order), CHUNK):
            at = order[start : start + CHUNK]
            seen = changes(x[at]) if changes else x[at]
            began = time.perf_counter()
            answers = net.train(seen, rows.y[at])
            seconds += time.perf_counter() - began
            right += int(np.count_nonzero(answers == rows.y[at]))
            yield Advanced(len(at))
        stats = [net.layer_stats(layer) for layer in range(recipe.n_layers)]
        yield EpochDone(
            epoch=epoch + 1,
            online=right / len(rows),
            validation=None
            if held is None or validation is None
            else accuracy(net.predict(held), validation.y),
            updates=tuple((s["updates"] - b) / len(rows) for s, b in zip(stats, before, strict=True)),
            saturated=sum(s["saturated"] for s in stats) / sum(s["n_in"] * s["n_out"] for s in stats),
        )
        before = [s["updates"] for s in stats]
    network = Network.from_core(net, recipe, rows.class_names, encoding)
    yield Trained(network, recipe.epochs * len(rows), seconds)


def trained(recipe: Recipe, rows: Dataset) -> Network:
    """The network at the end of train, without the events."""
    for event in train(recipe, rows):
        if isinstance(event, Trained):
            return event.network
    raise AssertionError("train ends with Trained")
