"""Whether a sample is like anything that is known: below a score's threshold the answer is "unknown"."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgehff.core import Net
from edgehff.personalize.memory import Memory
from edgehff.recipe import UnknownRecipe

NEAREST_ROWS = 16
"""Kept samples of each class that a sample is held against."""
_ONE = {"nearest": 16384, "logp": 65536}


class Familiarity:
    """How familiar samples are: integers, more is nearer.

    recipe.score: "nearest", the largest cosine of what the first layer sees to that of kept samples, for
    models that meet one sensor and one body; "logp", the answer's joined log2-probability; "" for none.
    """

    def __init__(self, recipe: UnknownRecipe) -> None:
        """Nothing is known yet."""
        self._score = recipe.score
        self._one = _ONE.get(recipe.score, 1)
        self.threshold = round(recipe.threshold * self._one)
        self._rows: NDArray[np.int32] | None = None

    def __bool__(self) -> bool:
        """Whether the model has a score."""
        return bool(self._score)

    def forget(self) -> None:
        """The network or the memory has changed."""
        self._rows = None

    def of(self, net: Net, memory: Memory, x: NDArray[np.int16]) -> NDArray[np.int64]:
        """The score of encoded samples, shape (n,): Q14 of "nearest", Q16 of "logp"."""
        if self._score == "logp":
            scores: NDArray[np.int64] = net.scores(x).max(axis=1).astype(np.int64)
            return scores
        if self._rows is None:
            rows = [memory.rows(label)[:NEAREST_ROWS] for label in memory.labels]
            kept = np.concatenate(rows) if rows else np.empty((0, x.shape[1]), np.int16)
            self._rows = net.directions(kept)[0].astype(np.int32)
        cosines = net.directions(x)[0].astype(np.int32) @ self._rows.T  # unit vectors: below 2^28.1
        nearest: NDArray[np.int64] = np.max(cosines >> 14, axis=1, initial=-16384).astype(np.int64)
        return nearest

    def as_float(self, score: int) -> float:
        """The score as a cosine, or as a log2-probability."""
        return score / self._one
