"""What the tests of a person's session share: a small network, samples, and runs of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgehff.data.dataset import from_arrays
from edgehff.model.network import Network
from edgehff.recipe import Recipe
from edgehff.train.local import trained

NAMES = ("rest", "fist", "wave")
WIDTH = 400


def drawn(n: int, seed: int) -> np.ndarray[Any, Any]:
    """n samples of the network's width."""
    return np.random.default_rng(seed).integers(-99, 99, (n, WIDTH)).astype(np.int8)


def small_network() -> Network:
    """Three classes, int8 samples of 400 values, one layer."""
    data = from_arrays("d", drawn(60, 3), np.arange(60) % 3, class_names=NAMES)
    return trained(Recipe(layers=(8,), epochs=1), data)
