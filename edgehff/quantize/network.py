"""Quantizing is one rescaling a layer: the norm after each layer divides the scale of its weights out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehff import core, spec
from edgehff.errors import ShapeError
from edgehff.fixedpoint import NORM_MAX, W_LIMIT
from edgehff.model.float_network import FloatLayer, FloatNetwork
from edgehff.model.network import Layer, Network
from edgehff.recipe_check import ARITHS

STEPS = {"int8": 1, "int16": 256}
"""Steps of a stored weight in one int8 step, the unit of what the forward pass sees."""


def quantize(network: FloatNetwork, arith: str) -> Network:
    """The network in integers of the core, ready to answer and to go on learning.

    Each layer's weights are multiplied so that their RMS is 16 int8 steps, rounded to nearest, and limited to
    what the core stores (in int8, 127 steps: eight deviations). Prototypes become unit vectors in Q14. The
    running mean of |y| is taken over from training. No samples are needed.

    arith: "int8" or "int16".

    Raises:
        ShapeError: another arith, or a layer whose weights are all zero.
    """
    if arith not in ARITHS:
        raise ShapeError(f"arith = {arith!r} is none of {', '.join(ARITHS)}", hint='arith = "int16"')
    layers = tuple(_layer(i, layer, arith) for i, layer in enumerate(network.layers))
    recipe = network.recipe.replace(arith=arith)
    return Network(recipe, network.class_names, network.encoding, layers, network.step)


def saturated_share(network: Network) -> float:
    """Share of all weights that stand at the limit of their type."""
    return share_at_limit([layer.weight for layer in network.layers], network.recipe.arith)


def share_at_limit(weights: Sequence[NDArray[Any]], arith: str) -> float:
    """Share of all elements that stand at the limit of weights in this arithmetic."""
    counts = [int((np.abs(weight.astype(np.int32)) >= W_LIMIT[arith]).sum()) for weight in weights]
    return sum(counts) / sum(weight.size for weight in weights)


def _layer(index: int, layer: FloatLayer, arith: str) -> Layer:
    weight = layer.weight.astype(np.float64)
    rms = float(np.sqrt((weight * weight).mean()))
    if rms == 0:
        raise ShapeError(f"layer {index}: all weights are zero", hint="train the float network again")
    gain = spec.W_RMS / rms
    limit = W_LIMIT[arith]
    rounded = np.clip(np.rint(weight * (gain * STEPS[arith])), -limit, limit).astype(arith)
    norm = round(min(layer.norm_mean * gain * 256, NORM_MAX))
    return Layer(rounded, unit_rows(layer.prototypes), norm * 1024)


def unit_rows(prototypes: NDArray[np.float32]) -> NDArray[np.int16]:
    """Prototypes as int16 Q14, on the core's sphere."""
    wide = np.rint(prototypes.astype(np.float64) * 2**28).astype(np.int32)
    rows = [core.unit(row) for row in wide.reshape(-1, wide.shape[2])]
    return np.stack(rows).reshape(prototypes.shape)
