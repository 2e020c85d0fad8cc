"""What the tests of a person's session share: a small network, samples, and runs of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
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


def save_three_classes(path: Path, names: Sequence[str] = NAMES) -> Path:
    """Three classes that lie apart, 12 int8 values a sample, 120 training and 60 test rows."""
    rng = np.random.default_rng(4)
    y = np.tile(np.arange(3), 60)
    x = rng.integers(-20, 20, (180, 12)) + 25 * np.repeat([[1, 1], [1, -1], [-1, 0.5]], 6, axis=1)[y]
    np.savez(path, X=x.astype(np.int8), y=y, is_test=np.arange(180) % 90 >= 60, class_names=np.array(names))
    return path
