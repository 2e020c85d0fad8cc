"""A guard: a few samples that are never learned say whether learning still helps; else it is undone."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgehff.core import Net
from edgehff.model.document import Tensors
from edgehff.personalize.memory import Memory

HELD_EVERY = 8
"""One sample of so many of a class is held back, and not learned."""
HELD_ROWS = 8
"""Of each class, at most."""
CHECK_EVERY = 32
"""Events between two looks."""
LOSS, LEAST_ROWS = 0.1, 12
"""Learning is undone where it loses so large a part of the held samples, if there are so many."""


class Guard:
    """Held samples, and the state that answered them best.

    held: never learned.  best: tensors and document of a learner's own state, None until one was kept.
    undone: how often learning was undone.
    """

    def __init__(self, width: int, n_classes: int) -> None:
        """Nothing is held yet."""
        self.held = Memory(HELD_ROWS * n_classes * width, width)
        self.best: tuple[Tensors, dict[str, Any]] | None = None
        self.undone = 0

    def fit(self, labels: list[int]) -> None:
        """There are other classes now: what was best is so no more."""
        self.held.n_rows = HELD_ROWS * len(labels)
        self.held.fit(labels)
        self.best = None

    def right(self, net: Net) -> tuple[int, int]:
        """Held samples, and how many of them a network answers rightly."""
        n = right = 0
        for label in self.held.labels:
            answers = net.predict(self.held.rows(label))
            n += len(answers)
            right += int(np.sum(answers == label))
        return n, right

    def is_worse(self, now: Net, before: Net) -> bool:
        """Whether now answers the held samples so much worse than before that learning is to be undone."""
        n, right = self.right(now)
        return n >= LEAST_ROWS and self.right(before)[1] - right > LOSS * n
