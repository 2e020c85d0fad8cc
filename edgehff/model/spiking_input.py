"""What a spiking network takes of raw samples, before it is spread over steps."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehff.model.encoding import Encoding
from edgehff.recipe import Recipe


def encoded_for(recipe: Recipe, encoding: Encoding, raw: NDArray[Any]) -> NDArray[np.int16]:
    """Raw samples as unit vectors, int16 Q14, (n, n_in); of streams numbers, (n, steps * n_in).

    "events": the raw numbers of each step, cut off at recipe.spiking.levels.  "delta": see `changes`.
    raw: as in Encoding.quantize_raw.
    """
    s = recipe.spiking
    numbers: NDArray[Any] = encoding.quantize_raw(raw)
    if s.code == "events":
        cut: NDArray[np.int16] = np.clip(numbers, -s.levels, s.levels).astype(np.int16)
        return cut.reshape(len(cut), -1)
    if s.code == "delta":
        stream = numbers.reshape(len(numbers), s.steps, -1)
        return changes(stream, s.delta, s.levels).reshape(len(stream), -1)
    return encoding.to_core().encode(numbers)


def changes(stream: NDArray[Any], delta: int, most: int) -> NDArray[np.int16]:
    """How often each channel rose and fell by delta at each step: int16, (n, steps, 2 * channels), 0 to most.

    stream: (n, steps, channels), whole numbers; the first step is where a channel begins. Rises of all
    channels, then falls. What a step leaves over, or has over most, counts in the next one: delta modulation.
    """
    wide = stream.astype(np.int64)
    n, steps, channels = wide.shape
    out = np.zeros((n, steps, 2 * channels), np.int16)
    reference = wide[:, 0].copy()
    for step in range(1, steps):
        apart = wide[:, step] - reference
        moved = np.minimum(np.abs(apart) // delta, most) * np.sign(apart)
        reference += moved * delta
        out[:, step, :channels] = np.maximum(moved, 0)
        out[:, step, channels:] = np.maximum(-moved, 0)
    return out
