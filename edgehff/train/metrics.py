"""What a network's answers are worth: accuracy, by class and layer, confusion, intervals over people."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehff.core import Net

Labels = NDArray[np.integer[Any]]


def accuracy(predicted: Labels, labels: Labels) -> float:
    """Share of equal entries, 0 to 1; nan for none."""
    return float(np.mean(predicted == labels)) if len(labels) else float("nan")


def confusion(predicted: Labels, labels: Labels, n_classes: int) -> NDArray[np.int64]:
    """Counts, shape (n_classes, n_classes): row the true class, column the answer."""
    flat = labels.astype(np.int64) * n_classes + predicted.astype(np.int64)
    return np.bincount(flat, minlength=n_classes * n_classes).reshape(n_classes, n_classes)


def per_class(matrix: NDArray[np.int64]) -> list[float | None]:
    """Accuracy of each class from a confusion matrix; None for a class without samples."""
    return [float(row[c] / row.sum()) if row.sum() else None for c, row in enumerate(matrix)]


def per_layer(net: Net, x: NDArray[np.int16], labels: Labels) -> list[float]:
    """Accuracy of each layer answering alone."""
    if not len(labels):
        return [float("nan")] * net.config.n_layers
    answers = net.layer_scores(x).argmax(axis=2)
    return [accuracy(answers[:, layer], labels) for layer in range(net.config.n_layers)]


def bootstrap_interval(
    values: NDArray[np.float64], seed: int = 0, rounds: int = 10_000
) -> tuple[float, float]:
    """95 % interval of the mean by the percentile bootstrap over the entries of values, shape (n,)."""
    rng = np.random.default_rng(seed)
    means = values[rng.integers(0, len(values), (rounds, len(values)))].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)
