"""Whether a sample is like anything that is known: below a score's threshold the answer is "unknown"."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgehff.core import Net
from edgehff.personalize.memory import Memory
from edgehff.recipe import UnknownRecipe

NEAREST_ROWS = 16
"""Kept samples of each class that a sample is held against."""
_ONE = {"nearest": 16384, "answer": 65536}


class Familiarity:
    """How familiar samples are: integers, more is nearer.

    recipe.score: "nearest", the largest cosine of what a layer's prototypes see to what they see of kept
    samples, its mean over the layers, for models that meet one sensor and one body; "answer", the answer's
    joined log2-probability and an eighth of its logit at the last layer: how it stands against the other
    classes, and how near it is to its own; "" for none.
    """

    def __init__(self, recipe: UnknownRecipe) -> None:
        """Nothing is known yet."""
        self._score = recipe.score
        self._one = _ONE.get(recipe.score, 1)
        self.threshold = round(recipe.threshold * self._one)
        self._rows: list[NDArray[np.int32]] | None = None

    def __bool__(self) -> bool:
        """Whether the model has a score."""
        return bool(self._score)

    def forget(self) -> None:
        """The network or the memory has changed."""
        self._rows = None

    def of(self, net: Net, memory: Memory, x: NDArray[np.int16], answer: int) -> int:
        """The score of an encoded sample, (1, n_in), and its answer: Q14 of "nearest", Q16 of "answer".

        Classes that were forgotten still count as others: what looks like them is less familiar.
        """
        if self._score == "answer":
            return int(net.scores(x)[0, answer]) + (int(net.layer_scores(x)[0, -1, answer]) >> 3)
        return self._to_kept(net, memory, x)

    def _to_kept(self, net: Net, memory: Memory, x: NDArray[np.int16]) -> int:
        if self._rows is None:
            rows = [memory.rows(label)[:NEAREST_ROWS] for label in memory.labels]
            kept = np.concatenate(rows) if rows else np.empty((0, x.shape[1]), np.int16)
            self._rows = [seen.astype(np.int32) for seen in net.directions(kept)]
        total = 0
        for seen, known in zip(net.directions(x), self._rows, strict=True):
            cosines = known @ seen[0].astype(np.int32)  # unit vectors: below 2^28.1
            total += int(np.max(cosines >> 14, initial=-16384))
        return total // len(self._rows)

    def as_float(self, score: int) -> float:
        """The score as a cosine, or in bits."""
        return score / self._one
