"""What the networks are measured against: softmax regression, solved to its optimum."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]


class SoftmaxRegression:
    """Multinomial logistic regression with an L2 penalty on standardized features, by Newton's method.

    The objective, mean over nothing but summed over rows, is sum of -log p(y) + l2 / 2 * |coefficients|^2;
    it is convex, so that a small gradient proves the answer.
    """

    def __init__(self, l2: float = 1.0) -> None:
        self.l2 = l2

    def fit(self, x: NDArray[Any], y: NDArray[np.integer[Any]], n_classes: int) -> SoftmaxRegression:
        """x: (n, n_features), any number type.  y: (n,)."""
        values = x.astype(np.float64)
        self.mean, self.deviation = values.mean(axis=0), values.std(axis=0) + 1e-9
        design = self._design(x)
        target = np.eye(n_classes)[y]
        n = design.shape[1]
        self.coefficients = np.zeros((n_classes, n))
        for _ in range(50):
            p = self._probabilities(design)
            gradient = (p - target).T @ design + self._penalty(n) * self.coefficients
            self.gradient_norm = float(np.abs(gradient).max())
            if self.gradient_norm < 1e-7 * len(y):
                break
            hessian = np.zeros((n_classes, n, n_classes, n))
            for a in range(n_classes):
                for b in range(n_classes):
                    weight = p[:, a] * ((a == b) - p[:, b])
                    hessian[a, :, b, :] = design.T @ (weight[:, None] * design)
                hessian[a, :, a, :] += np.diag(self._penalty(n) + 1e-8)
            step = np.linalg.solve(hessian.reshape(n_classes * n, -1), gradient.reshape(-1)).reshape(
                n_classes, n
            )
            self._descend(design, target, step)
        return self

    def predict(self, x: NDArray[Any]) -> NDArray[np.int64]:
        """The class of each row."""
        answers: NDArray[np.int64] = (self._design(x) @ self.coefficients.T).argmax(axis=1)
        return answers

    def _design(self, x: NDArray[Any]) -> Float:
        z = (x.astype(np.float64) - self.mean) / self.deviation
        return np.hstack([z, np.ones((len(x), 1))])

    def _penalty(self, n: int) -> Float:
        penalty = np.full(n, self.l2)
        penalty[-1] = 1e-6  # the intercept is free, but for what makes the solution unique
        return penalty

    def _probabilities(self, design: Float) -> Float:
        logit = design @ self.coefficients.T
        p = np.exp(logit - logit.max(axis=1, keepdims=True))
        out: Float = p / p.sum(axis=1, keepdims=True)
        return out

    def _loss(self, design: Float, target: Float) -> float:
        p = self._probabilities(design)
        penalty = (self._penalty(design.shape[1]) * self.coefficients**2).sum() / 2
        return float(penalty - np.log((p * target).sum(axis=1) + 1e-300).sum())

    def _descend(self, design: Float, target: Float, step: Float) -> None:
        """Newton's step, halved until the loss falls."""
        start, before = self.coefficients, self._loss(design, target)
        for halving in range(30):
            self.coefficients = start - step / 2**halving
            if self._loss(design, target) <= before:
                return
        self.coefficients = start
