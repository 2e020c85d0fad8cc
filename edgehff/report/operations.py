"""Multiplications of a network that does not spike: all of them, and those that are not by zero."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehff import spec
from edgehff.geometry import LayerShape
from edgehff.model.float_network import FloatNetwork, float_view
from edgehff.model.network import Network

_ROWS = 256


def multiplications(network: Network | FloatNetwork, raw: NDArray[Any]) -> list[tuple[int, float]]:
    """Of each layer and sample: (dense MACs, effective ones: a nonzero input times a nonzero weight).

    As NeuroBench counts them. raw: samples, (n, *sample_shape).
    """
    exact = float_view(network) if isinstance(network, Network) else network
    shapes = exact.recipe.shapes(exact.encoding.n_features)
    effective = np.zeros(len(shapes))
    for start in range(0, len(raw), _ROWS):
        u = exact.encode(raw[start : start + _ROWS])
        for i, (shape, layer) in enumerate(zip(shapes, exact.layers, strict=True)):
            weight = layer.weight.astype(np.float64)
            effective[i] += _over(shape, (weight != 0).astype(np.float64), (u != 0).astype(np.float64)).sum()
            u = spec.forward(weight, u)[0] if shape.conv is None else spec.conv_forward(shape, weight, u)[0]
    return [(shape.products, float(e / len(raw))) for shape, e in zip(shapes, effective, strict=True)]


def _over(shape: LayerShape, weight: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.float64]:
    out: NDArray[np.float64] = x @ weight.T if shape.conv is None else spec.windows(shape, weight, x)[1]
    return out
