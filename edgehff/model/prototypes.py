"""Class prototypes at 8 bits, for inference: half the bytes, one scale a prototype."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgehff.errors import ShapeError

MAX_LENGTH = 16640
"""The longest prototype the core takes, Q14: 1.0 and the rounding of 65,536 elements."""


def to_int8(prototypes: NDArray[np.int16]) -> tuple[NDArray[np.int8], NDArray[np.uint16]]:
    """Prototypes as int8 with one scale each: p is about p8 * scale / 256.

    With m the largest magnitude of a prototype, scale = ceil(m * 256 / 127), and p8 = p * 256 / scale,
    rounded, halves away from zero; |p8| <= 127 follows without clipping. A zero prototype has scale 1.

    The core's cosine is round(sum(p8 * u) * scale / 2^22). An element is off by at most scale / 512, so the
    cosine differs from the one of the int16 prototype by at most scale / 512 * sum(|u|) / 16384 + 1 steps of
    Q14 (the 1: both cosines are rounded); for a unit vector u, sum(|u|) is at most sqrt(n_out) times 16384.

    Args:
        prototypes: int16 Q14, shape (n_classes, n_per_class, n_out), magnitudes at most MAX_LENGTH.

    Returns:
        int8, the same shape, and uint16 scales (steps of Q14 in Q8), shape (n_classes, n_per_class).

    Raises:
        ShapeError: another dtype or number of axes, or an element beyond MAX_LENGTH.
    """
    if prototypes.dtype != np.int16 or prototypes.ndim != 3:
        raise ShapeError(
            f"prototypes are {prototypes.dtype} of shape {prototypes.shape}",
            hint="give int16 of shape (n_classes, n_per_class, n_out)",
        )
    wide = prototypes.astype(np.int32)
    size = np.abs(wide)
    largest = size.max(axis=2)
    if largest.max() > MAX_LENGTH:
        raise ShapeError(
            f"a prototype has an element of {int(largest.max())}, at most {MAX_LENGTH} is possible",
            hint="the network is damaged: take the model file from its source again",
        )
    scale = np.maximum(1, (largest * 256 + 126) // 127)  # <= 33543
    step = scale[:, :, None]
    rounded = (size * 512 + step) // (2 * step)
    return (np.sign(wide) * rounded).astype(np.int8), scale.astype(np.uint16)
