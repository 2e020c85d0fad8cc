"""Answers before the last step: once a class leads by a margin, which is chosen on validation rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehff.model.spiking_network import SpikingNetwork
from edgehff.spiking.simulate import Run

MARGINS = tuple(round(0.01 * i, 2) for i in range(1, 101))
"""Leads of cosines that are tried."""
ALLOWED = 0.0005
"""Share of rows that may be lost to answering early; half of a tenth of a point."""


@dataclass(frozen=True)
class Exit:
    """margin: of cosines; 0: answer after all steps.  accuracy, steps: with it, steps in the mean."""

    margin: float
    accuracy: float
    steps: float


def exit_with(run: Run, y: NDArray[Any], margin: float) -> Exit:
    """What a run of all steps would have answered with this margin.  y: (n,), classes."""
    ends = run.leads > margin if margin else np.zeros(run.leads.shape, np.bool_)
    ends[-1] = True
    at = ends.argmax(axis=0)
    answers = np.take_along_axis(run.by_step, at[None], axis=0)[0]
    return Exit(margin, float((answers == y).mean()), float(at.mean()) + 1)


def choose(run: Run, y: NDArray[Any], allowed: float = ALLOWED) -> Exit:
    """The smallest margin that loses at most this share of rows; 0 where all lose more."""
    whole = exit_with(run, y, 0.0)
    for margin in MARGINS:
        found = exit_with(run, y, margin)
        if found.accuracy >= whole.accuracy - allowed:
            return found
    return whole


def with_margin(network: SpikingNetwork, margin: float) -> SpikingNetwork:
    """The same network, which answers once a class's cosine leads by margin; 0: after all steps."""
    recipe = network.recipe
    return replace(network, recipe=replace(recipe, spiking=replace(recipe.spiking, exit_margin=margin)))
