"""How encoded samples come into a spiking network, step by step: integers, the same on every machine."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from edgehff.core import ONE
from edgehff.errors import ShapeError
from edgehff.recipe import SpikingRecipe

STREAMS = ("events", "delta")
"""Codes of samples that are steps already."""
INSIDE = 0.999
"""Share of the nonzero elements of training rows that are not larger than the largest level."""


def gain_of(recipe: SpikingRecipe, x: NDArray[np.int16]) -> float:
    """What an encoded element of 1.0 is in levels, so that few of the training rows x are cut off."""
    if recipe.code in STREAMS:
        return 1.0
    size = np.abs(x[x != 0].astype(np.int32))
    return recipe.levels * ONE / float(np.quantile(size, INSIDE)) if len(size) else float(recipe.levels)


def drive_of(recipe: SpikingRecipe, gain: float, x: NDArray[np.int16]) -> NDArray[np.int16]:
    """Encoded samples, int16 Q14, (n, n_in), in levels, cut off at the largest; streams as they are.

    Raises:
        ShapeError: values below 0 where spikes have to say them.
    """
    if recipe.code in STREAMS:
        return x
    wide = np.clip(np.rint(x * (gain / ONE)), -recipe.levels, recipe.levels)
    levels: NDArray[np.int16] = wide.astype(np.int16)
    if recipe.code != "direct" and (levels < 0).any():
        raise ShapeError(
            f"spikes of code {recipe.code!r} cannot be negative, encoded samples are",
            hint='[encoder] center = false, or [spiking] code = "direct"',
        )
    return levels


def steps_of(recipe: SpikingRecipe, drive: NDArray[np.int16], seed: int = 1) -> Iterator[NDArray[np.int16]]:
    """What comes in at each step, (n, n_in): levels of "direct", numbers of streams, otherwise spikes of 1.

    seed: of "rate"; every sample is held against the same random numbers.
    """
    n_in = drive.shape[1] // (recipe.steps if recipe.code in STREAMS else 1)
    random = np.random.PCG64(seed)
    for step in range(recipe.steps):
        if recipe.code == "direct":
            yield drive
        elif recipe.code in STREAMS:
            yield drive[:, step * n_in : (step + 1) * n_in]
        elif recipe.code == "rate":
            words = random.random_raw(-(-n_in // 4)).astype("<u8").view("<u2")[:n_in]
            yield (words.astype(np.int64) * recipe.levels < drive.astype(np.int64) << 16).astype(np.int16)
        else:
            late = (recipe.levels - drive.astype(np.int64)) * (recipe.steps - 1)
            at = (2 * late + recipe.levels) // (2 * recipe.levels)
            yield ((at == step) & (drive > 0)).astype(np.int16)


def unit_of(recipe: SpikingRecipe) -> int:
    """What one step's input of 1.0 is: levels of "direct", one spike otherwise."""
    return recipe.levels if recipe.code == "direct" else 1
