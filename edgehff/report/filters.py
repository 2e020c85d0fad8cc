"""What the units of a network's first layer look for, as arrays to be drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehff.geometry import LayerShape
from edgehff.model.encoding import Encoding
from edgehff.model.float_network import FloatNetwork
from edgehff.report.activation_maps import has_constant_channel

MOST = 64
"""Units that are drawn."""


@dataclass(frozen=True, eq=False)
class Filters:
    """The first units' weights in one of these forms; their scale has no meaning: the norm divides it out.

    kind: "grey": (n, height, width).  "rgb": (n, height, width, 3).  "size": (n, height, width), the mean
        magnitude over the channels, 0 or more.  "signal": (n, channels, taps).  "curve": (n, taps).
        "matrix": (n, n_in).
    n_units: of the whole layer, of which the first n are here.
    """

    kind: str
    values: NDArray[np.float64]
    n_units: int


def first_filters(network: FloatNetwork, sample_shape: tuple[int, ...]) -> Filters:
    """The first layer's weights in the form that reads best. sample_shape: of a raw sample."""
    weight = network.layers[0].weight
    shape = network.recipe.shapes(network.encoding.n_features)[0]
    rows = weight[:MOST].astype(np.float64)
    if shape.conv is not None:
        kind, values = _kernels(shape, rows, network.encoding)
    else:
        kind, values = _images(rows, network.encoding, sample_shape)
    return Filters(kind, values, len(weight))


def _kernels(shape: LayerShape, rows: NDArray[Any], encoding: Encoding) -> tuple[str, NDArray[Any]]:
    """Kernels (n, height, width, channels), the encoder's constant channel left out."""
    conv, map_in = shape.conv, shape.map_in
    assert conv is not None
    assert map_in is not None
    kernels = rows.reshape(len(rows), *conv.kernel, -1)
    if kernels.shape[3] > 1 and has_constant_channel(encoding, map_in[0] * map_in[1]):
        kernels = kernels[..., :-1]
    if conv.kernel == (1, 1):
        return "matrix", kernels.reshape(len(rows), -1)
    if map_in[0] == 1:
        one = kernels.shape[3] == 1
        return ("curve", kernels[:, 0, :, 0]) if one else ("signal", kernels[:, 0].transpose(0, 2, 1))
    return _pictures(kernels)


def _images(
    rows: NDArray[Any], encoding: Encoding, sample_shape: tuple[int, ...]
) -> tuple[str, NDArray[Any]]:
    """A dense layer's rows over images, without the encoder's bias; a matrix over anything else."""
    grey, color = len(sample_shape) == 2, len(sample_shape) == 3 and sample_shape[2] in (1, 3)
    if encoding.features or not (grey or color) or min(sample_shape[:2]) < 2:
        return "matrix", rows
    if encoding.bias:
        rows = rows.reshape(len(rows), encoding.segments, -1)[..., :-1]
    return _pictures(rows.reshape(len(rows), *sample_shape[:2], -1))


def _pictures(values: NDArray[Any]) -> tuple[str, NDArray[Any]]:
    """Of (n, height, width, channels): grey, colors, or the size over many channels."""
    if values.shape[3] == 1:
        return "grey", values[..., 0]
    return ("rgb", values) if values.shape[3] == 3 else ("size", np.abs(values).mean(axis=3))


def columns_for(n: int, height: int, width: int) -> int:
    """In how many columns n tiles make a picture 3:2, with all rows full where that is near."""
    ideal = max(1.0, float(np.sqrt(1.5 * n * height / width)))
    full = [c for c in range(1, n + 1) if n % c == 0 and 0.6 * ideal <= c <= 1.7 * ideal]
    return min(full, key=lambda c: abs(np.log(c / ideal)), default=min(n, round(ideal)))


def mosaic(values: NDArray[np.float64], columns: int, fill: float = np.nan) -> NDArray[np.float64]:
    """Tiles (n, height, width, ...) in rows of `columns`, `fill` between them and around.

    Small tiles are enlarged, each element to a square, so that what lies between them is thin.
    """
    times = max(1, 30 // max(values.shape[1:3]))
    values = values.repeat(times, axis=1).repeat(times, axis=2)
    n, height, width = values.shape[:3]
    gap = max(1, max(height, width) // 14)
    lines = -(-n // columns)
    size = lines * (height + gap) + gap, columns * (width + gap) + gap
    out = np.full((*size, *values.shape[3:]), fill)
    for i, tile in enumerate(values):
        top, left = i // columns * (height + gap) + gap, i % columns * (width + gap) + gap
        out[top : top + height, left : left + width] = tile
    return out
