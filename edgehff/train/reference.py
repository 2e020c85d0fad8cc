"""The float twin of a network of the core: the same start values, rule, rates and order, without rounding."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehff import spec
from edgehff.core import ONE, Net
from edgehff.recipe import Recipe


class FloatTwin:
    """Starts where net stands, and learns by edgehff.spec in float64.

    Inputs are the core's int16 Q14 unit vectors. Joins layers by the sum of log-probabilities.
    """

    def __init__(self, net: Net, recipe: Recipe) -> None:
        self.recipe = recipe
        step = 256.0 if net.config.arith == "int16" else 1.0
        layers = range(net.config.n_layers)
        self.weights: list[NDArray[np.floating[Any]]] = [net.weights(i) / step for i in layers]
        self.prototypes: list[NDArray[np.floating[Any]]] = []
        for i in layers:
            p = net.prototypes(i).reshape(-1, net.config.shapes[i].head).astype(np.float64)
            self.prototypes.append(p / np.linalg.norm(p, axis=1, keepdims=True))
        self.means = [0.0] * net.config.n_layers
        self.lr, self.lr_prototypes = recipe.lr, recipe.lr_prototypes

    def train(self, x: NDArray[np.int16], labels: NDArray[np.uint16]) -> None:
        """One step a row, in order."""
        for row, label in zip(x / ONE, labels, strict=True):
            self._learn(row, int(label))

    def predict(self, x: NDArray[np.int16]) -> NDArray[np.int64]:
        """The class of each row, all rows at once."""
        r, u = self.recipe, x / ONE
        total: NDArray[np.floating[Any]] = np.zeros((len(x), 1))
        for weight, prototype in zip(self.weights, self.prototypes, strict=True):
            u, _ = spec.forward(weight, u)
            similarity = spec.similarities(u @ prototype.T, r.prototypes_per_class, r.scale)
            total = total + spec.log_softmax(r.scale * similarity)
        answers: NDArray[np.int64] = total.argmax(axis=1)
        return answers

    def _learn(self, x: NDArray[np.floating[Any]], label: int) -> None:
        r = self.recipe
        for i, (weight, prototype) in enumerate(zip(self.weights, self.prototypes, strict=True)):
            u, length = spec.forward(weight, x)
            norm = float(length)
            cosine = prototype @ u
            self.means[i] += (norm - self.means[i]) * spec.MEAN_RATE if self.means[i] else norm
            s = spec.similarities(cosine, r.prototypes_per_class, r.scale)
            if r.gate is None or spec.lead(s, label) < r.gate:
                e = spec.error(cosine, label, r.prototypes_per_class, r.scale, r.margin)
                t = spec.local_gradient(prototype, u, cosine, e)
                divisor = max(norm, self.means[i]) if r.cap else norm
                self.weights[i] = spec.updated_weight(
                    weight, x, u, t, lr=self.lr, norm=divisor, revive=r.revive
                )
                self.prototypes[i] = spec.updated_prototype(prototype, u, e, lr=self.lr_prototypes)
            x = u
