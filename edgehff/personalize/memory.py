"""A few samples of each class, kept in int8 within a budget of bytes, to be learned again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from edgehff.core import unit
from edgehff.model.document import Tensors

SHOTS = 10
"""Samples of a new class that are kept whatever its part is, while there is room: an eighth of all."""
_U64 = (1 << 64) - 1


def hashed(*counters: int) -> int:
    """64 bits drawn from counters: SplitMix64's finalizer over them, one after another."""
    h = 0
    for counter in counters:
        h = (h + counter + 0x9E3779B97F4A7C15) & _U64
        h = ((h ^ h >> 30) * 0xBF58476D1CE4E5B9) & _U64
        h = ((h ^ h >> 27) * 0x94D049BB133111EB) & _U64
        h ^= h >> 31
    return h


def to_int8(x: NDArray[np.int16]) -> NDArray[np.int8]:
    """A vector in steps of 1/127 of its largest element, rounded half away from zero."""
    wide = x.astype(np.int32)
    largest = max(int(np.abs(wide).max(initial=0)), 1)
    rounded = (2 * 127 * np.abs(wide) + largest) // (2 * largest)
    row: NDArray[np.int8] = (np.sign(wide) * rounded).astype(np.int8)
    return row


def from_int8(row: NDArray[np.int8]) -> NDArray[np.int16]:
    """The unit vector, Q14, of a row of to_int8."""
    return unit(row.astype(np.int32))


class Memory:
    """Rows of each class, drawn evenly from all that came (reservoir sampling, Vitter 1985).

    n_bytes: budget of the rows.  width: elements of an encoded sample, a byte each.
    """

    def __init__(self, n_bytes: int, width: int) -> None:
        """An empty one."""
        self.n_rows = n_bytes // width
        self._width = width
        self._rows: dict[int, list[NDArray[np.int8]]] = {}
        self._seen: dict[int, int] = {}
        self._drawn = 0

    def __len__(self) -> int:
        """Rows that are kept."""
        return sum(map(len, self._rows.values()))

    @property
    def labels(self) -> list[int]:
        """The classes that rows are kept of."""
        return sorted(label for label, rows in self._rows.items() if rows)

    def count(self, label: int) -> int:
        """Rows of one class."""
        return len(self._rows.get(label, ()))

    def bound(self, n_classes: int) -> int:
        """Rows that a class may have; room for a new one is left."""
        most, young = self.n_rows // max(n_classes, 1), self._young
        return most if most >= young else (self.n_rows - young) // n_classes

    @property
    def _young(self) -> int:
        return min(SHOTS, self.n_rows // 8)

    def keep(self, x: NDArray[np.int16], label: int, n_classes: int, young: bool = False) -> None:
        """Take an encoded sample in, or leave it, so that all that came have the same chance to be there.

        young: the class is new, and has the room for one that is; it is taken from one that had it before.
        """
        most = self.bound(n_classes)
        rows = self._rows.setdefault(label, [])
        if young:
            for other, held in self._rows.items():
                if other != label:
                    del held[most:]
            most = max(most, self._young)
        del rows[most:]
        seen = self._seen[label] = self._seen.get(label, 0) + 1
        if len(rows) < most:
            rows.append(to_int8(x))
        elif most:
            at = hashed(label, seen) % seen
            if at < most:
                rows[at] = to_int8(x)

    def fit(self, labels: Iterable[int]) -> None:
        """Make room for these classes alone, in equal parts."""
        wanted = set(labels)
        for label in [n for n in self._rows if n not in wanted]:
            del self._rows[label], self._seen[label]
        for rows in self._rows.values():
            del rows[self.bound(len(wanted)) :]

    def rows(self, label: int) -> NDArray[np.int16]:
        """All rows of a class as unit vectors, shape (n, width)."""
        return _unit_rows(self._rows.get(label, []), self._width)

    def draw(self, n: int, without: int = -1) -> tuple[NDArray[np.int16], NDArray[np.uint16]]:
        """So many rows, one class after another, none where nothing is kept. without: a class left out."""
        labels = [label for label in self.labels if label != without]
        chosen: list[NDArray[np.int8]] = []
        of_class: list[int] = []
        for _ in range(n if labels else 0):
            self._drawn += 1
            label = labels[self._drawn % len(labels)]
            rows = self._rows[label]
            chosen.append(rows[hashed(self._drawn, label, 1) % len(rows)])
            of_class.append(label)
        return _unit_rows(chosen, self._width), np.array(of_class, np.uint16)

    def to_tensors(self) -> Tensors:
        """As a state has it."""
        labels = sorted(self._rows)
        rows = [row for label in labels for row in self._rows[label]]
        counts = [(label, len(self._rows[label]), self._seen[label]) for label in labels]
        return {
            "memory.rows": np.array(rows, np.int8).reshape(len(rows), self._width),
            "memory.counts": np.array([*counts, (0, 0, self._drawn)], np.int64),
        }

    def take(self, tensors: Tensors) -> None:
        """Be as to_tensors said. ValueError or KeyError where it did not."""
        rows, counts = tensors["memory.rows"], tensors["memory.counts"]
        if rows.dtype != np.int8 or rows.ndim != 2 or rows.shape[1] != self._width or counts.shape[1] != 3:
            raise ValueError("rows of another width")
        start = 0
        self._rows, self._seen = {}, {}
        for label, n, seen in counts[:-1].tolist():
            self._rows[label] = [row.copy() for row in rows[start : start + n]]
            self._seen[label] = seen
            start += n
        self._drawn = int(counts[-1, 2])


def _unit_rows(rows: Sequence[NDArray[np.int8]], width: int) -> NDArray[np.int16]:
    return np.array([from_int8(row) for row in rows], np.int16).reshape(len(rows), width)
