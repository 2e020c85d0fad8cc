"""The float twin of a network of the core: the same start values, rule, rates and order, without rounding."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehff import spec
from edgehff.core import ONE, Net
from edgehff.recipe import Recipe

Float = NDArray[np.floating[Any]]
_ROWS = 64  # whose patches stand in memory


class FloatTwin:
    """Starts where net stands, and learns by edgehff.spec in float64.

    Inputs are the core's int16 Q14 unit vectors. Joins layers by the sum of log-probabilities.

    weights: of each layer, (n_out, n_in), in int8 steps.  prototypes: (n_proto, elements of a head).
    means: the running means of the norm.
    """

    def __init__(self, net: Net, recipe: Recipe) -> None:
        self.recipe = recipe
        self.shapes = net.config.shapes
        step = 256.0 if net.config.arith == "int16" else 1.0
        self.weights: list[Float] = [net.weights(i) / step for i in range(len(self.shapes))]
        self.prototypes: list[Float] = []
        for i, shape in enumerate(self.shapes):
            p = net.prototypes(i).reshape(-1, shape.head).astype(np.float64)
            self.prototypes.append(p / np.linalg.norm(p, axis=1, keepdims=True))
        self.means = [0.0] * len(self.shapes)
        self.lr, self.lr_prototypes = recipe.lr, recipe.lr_prototypes

    def train(self, x: NDArray[np.int16], labels: NDArray[np.uint16]) -> None:
        """One step a row, in order."""
        for row, label in zip(x / ONE, labels, strict=True):
            self._learn(row, int(label))

    def predict(self, x: NDArray[np.int16]) -> NDArray[np.int64]:
        """The class of each row."""
        rows = _ROWS if self.recipe.conv else max(1, len(x))
        parts = [self._log_probabilities(x[i : i + rows] / ONE) for i in range(0, len(x), rows)]
        answers: NDArray[np.int64] = np.concatenate(parts or [np.empty((0, 1))]).argmax(axis=1)
        return answers

    def _log_probabilities(self, u: Float) -> Float:
        r = self.recipe
        total: Float = np.zeros((len(u), 1))
        for i, prototype in enumerate(self.prototypes):
            u, head, _ = self._forward(i, u)
            similarity = spec.similarities(head @ prototype.T, r.prototypes_per_class, r.scale)
            total = total + spec.log_softmax(r.scale * similarity)
        return total

    def _forward(self, i: int, x: Float) -> tuple[Float, Float, Float]:
        """(u, head, norm) of layer i."""
        if self.shapes[i].conv is not None:
            u, head, norm = spec.conv_forward(self.shapes[i], self.weights[i], x)
            return u, head, norm
        u, norm = spec.forward(self.weights[i], x)
        return u, u, norm

    def _learn(self, x: Float, label: int) -> None:
        r = self.recipe
        for i, (weight, prototype) in enumerate(zip(self.weights, self.prototypes, strict=True)):
            u, head, length = self._forward(i, x)
            norm = float(length)
            cosine = prototype @ head
            self.means[i] += (norm - self.means[i]) * spec.MEAN_RATE if self.means[i] else norm
            s = spec.similarities(cosine, r.prototypes_per_class, r.scale)
            if r.gate is None or spec.lead(s, label) < r.gate:
                e = spec.error(cosine, label, r.prototypes_per_class, r.scale, r.margin)
                t = spec.local_gradient(prototype, head, cosine, e)
                divisor = max(norm, self.means[i]) if r.cap else norm
                if self.shapes[i].conv is None:
                    self.weights[i] = spec.updated_weight(
                        weight, x, u, t, lr=self.lr, norm=divisor, revive=r.revive
                    )
                else:
                    self.weights[i] = spec.updated_conv_weight(
                        self.shapes[i], weight, x, t, lr=self.lr, norm=divisor, revive=r.revive
                    )
                self.prototypes[i] = spec.updated_prototype(prototype, head, e, lr=self.lr_prototypes)
            x = u
