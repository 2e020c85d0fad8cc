"""A sample in so few values that a page can show it: lines over time, or a picture."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

MAX_POINTS = 128
"""Values of a sketch."""
MAX_LINES = 8
"""Channels that are drawn as lines; of more a picture is made, time to the right, the first below."""


@dataclass(frozen=True)
class Sketch:
    """What a sample looks like.

    kind: lines, a row each, time to the right; or a picture, a row of it each.
    rows: values from 0, the sample's least, to 255, its largest.
    """

    kind: Literal["lines", "picture"]
    rows: list[list[int]]

    def to_dict(self) -> dict[str, Any]:
        """Plain types, as JSON takes them."""
        return {"kind": self.kind, "rows": self.rows}


def sketch(values: NDArray[Any], shape: tuple[int, ...]) -> Sketch:
    """The sketch of a flat sample.

    shape: (height, width), (time, channels) or (height, width, channels); one axis of a square of 64 or more
        values is a picture too where they are uint8, as gray pictures come.
    """
    x: NDArray[np.float64] = values.astype(np.float64).reshape(shape)
    if x.ndim == 3 and 1 in x.shape[:2]:
        x = x.reshape(-1, x.shape[2])
    if x.ndim == 3:
        return _picture(x.mean(axis=2))
    if x.ndim == 2 and x.shape[1] > MAX_LINES:
        return _picture(x.T[::-1])
    side = math.isqrt(x.size)
    if values.dtype == np.uint8 and side >= 8 and x.size == side * side == max(x.shape):
        return _picture(x.reshape(side, side))
    lines = x.reshape(len(x), -1).T
    n = MAX_POINTS // len(lines)
    return Sketch("lines", _scaled(np.stack([_peaks(line, n) for line in lines])))


def _picture(x: NDArray[np.float64]) -> Sketch:
    """At most 128 cells, each the mean of what it covers; sides shrink alike, where that is possible."""
    factor = math.sqrt(MAX_POINTS / x.size)
    height = min(len(x), MAX_POINTS, max(1, math.floor(len(x) * factor)))
    width = min(x.shape[1], MAX_POINTS // height)
    height = min(len(x), MAX_POINTS // width)
    rows = np.stack([part.mean(axis=0) for part in np.array_split(x, height)])
    cells = np.stack([part.mean(axis=1) for part in np.array_split(rows, width, axis=1)], axis=1)
    return Sketch("picture", _scaled(cells))


def _peaks(line: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """At most n values: of each part the one that is farthest from the mean; means would hide a vibration."""
    far = np.abs(line - line.mean())
    parts = np.array_split(np.arange(len(line)), min(n, len(line)))
    return line[[part[far[part].argmax()] for part in parts]]


def _scaled(x: NDArray[np.float64]) -> list[list[int]]:
    low, high = float(x.min()), float(x.max())
    scaled = (x - low) * (255.0 / (high - low)) if high > low else np.zeros_like(x)
    rows: list[list[int]] = np.rint(scaled).astype(int).tolist()
    return rows
