"""What a stream was like so far, in bounded room: accuracy over samples, confusion, samples per second."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

WINDOW = 50
"""Samples whose accuracy is shown."""
MAX_CURVE = 512
"""Points of a curve; where it is full, every other one goes."""
MAX_CONFUSED = 24
"""Classes of the confusion that is shown: those with the most samples."""
RATE_S = 10


class Accuracy:
    """Accuracy of the last 50 labeled samples, and how it went."""

    def __init__(self) -> None:
        self._window: deque[bool] = deque(maxlen=WINDOW)
        self._curve: list[tuple[int, float]] = []
        self._samples, self._stride = 0, 1

    def add(self, right: bool) -> None:
        """Take one answer into account."""
        self._samples += 1
        self._window.append(right)
        if self._samples % self._stride == 0:
            self._curve.append((self._samples, round(sum(self._window) / len(self._window), 4)))
        if len(self._curve) > MAX_CURVE:
            self._curve = self._curve[1::2]
            self._stride *= 2

    @property
    def now(self) -> float | None:
        """Of the last 50; None before the first."""
        return sum(self._window) / len(self._window) if self._window else None

    def curve(self) -> list[tuple[int, float]]:
        """(samples, accuracy), at most 513 points, the last of them now."""
        now = [] if self.now is None else [(self._samples, round(self.now, 4))]
        return self._curve + [point for point in now if point not in self._curve[-1:]]


class Confusion:
    """How many samples of each class got which answer, since the stream began."""

    def __init__(self) -> None:
        self._counts: NDArray[np.uint32] = np.zeros((0, 0), np.uint32)

    def add(self, label: int, answer: int) -> None:
        """Take one answer into account."""
        n = max(label, answer) + 1
        if n > len(self._counts):
            self._counts = np.pad(self._counts, (0, n - len(self._counts)))
        self._counts[label, answer] += 1

    def to_dict(self, names: list[str]) -> dict[str, Any]:
        """Plain types: the classes that came, a row of counts for each, and how many were left out.

        names: of all classes, by number.
        """
        seen = np.flatnonzero(self._counts.sum(axis=0) + self._counts.sum(axis=1))
        by_samples = seen[np.argsort(-self._counts.sum(axis=1)[seen].astype(np.int64), kind="stable")]
        shown = np.sort(by_samples[:MAX_CONFUSED])
        return {
            "classes": [names[i] for i in shown],
            "counts": self._counts[np.ix_(shown, shown)].tolist(),
            "left_out": len(seen) - len(shown),
        }


class Rate:
    """Samples per second over the last ten seconds."""

    def __init__(self, now: float) -> None:
        """now: a clock's seconds."""
        self._began = now
        self._seconds: deque[tuple[int, int]] = deque(maxlen=RATE_S + 1)

    def add(self, now: float) -> None:
        """Count one sample."""
        second, n = int(now), 0
        if self._seconds and self._seconds[-1][0] == second:
            n = self._seconds.pop()[1]
        self._seconds.append((second, n + 1))

    def per_second(self, now: float) -> float:
        """Of the last ten seconds, or of all where fewer have passed."""
        since = max(self._began, now - RATE_S)
        n = sum(count for second, count in self._seconds if second >= int(since))
        return round(n / max(now - since, 1.0), 1)
