"""A spiking network as matrices and neurons alone: the form that every simulator has.

A convolution becomes the matrix of all its positions; pooling by "mean" counts a window's spikes, which the
next layer's matrix does where it repeats a column for each neuron of the window.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgehff.errors import RecipeError
from edgehff.geometry import LayerShape
from edgehff.model.spiking_network import SpikingNetwork
from edgehff.spiking.encode import drive_of, steps_of
from edgehff.spiking.simulate import currents, spikes_of

MAX_SYNAPSES = 1 << 26
"""Of one layer's matrix: 128 MiB of int16."""


@dataclass(frozen=True, eq=False)
class ChainLayer:
    """matrix: int16, (n_out, n_in), synapses.  threshold: neurons fire above it, half off the integers."""

    matrix: NDArray[np.int16]
    threshold: float


def chain_of(network: SpikingNetwork) -> list[ChainLayer]:
    """The network's layers, from the input on; neurons in the order of `simulate.spikes_of`, flat.

    Raises:
        RecipeError: a layer that no matrix says, named with its number; or one of too many synapses.
    """
    out: list[ChainLayer] = []
    shapes = network.recipe.shapes(network.n_in)
    window = 1
    for i, (shape, layer) in enumerate(zip(shapes, network.layers, strict=True)):
        if shape.conv is not None and shape.conv.pool == "max":
            raise RecipeError(
                f'layer {i}: a maximum of spikes (pool = "max") is no sum of them, and no matrix says it',
                hint='pool = "mean", or stride = 2 in its place',
            )
        n_in, n_out = elements(shape)
        if n_in * window * n_out > MAX_SYNAPSES:
            raise RecipeError(
                f"layer {i}: {n_in * window:,} inputs x {n_out:,} neurons are over {MAX_SYNAPSES:,} synapses",
                hint="less pooling of the layer before, or a larger stride",
            )
        if shape.conv is None:
            matrix = layer.weight.astype(np.int16)
        else:
            seen = currents(shape, layer.weight, np.eye(n_in, dtype=np.int8))
            matrix = seen.reshape(n_in, n_out).T.astype(np.int16)
        out.append(ChainLayer(_repeated(matrix, shapes[i - 1] if i else None), layer.threshold + 0.5))
        window = shape.window
    return out


def elements(shape: LayerShape) -> tuple[int, int]:
    """(inputs, neurons) of a layer, over all positions; neurons before pooling."""
    n_in = shape.n_in if shape.map_in is None else int(np.prod(shape.map_in))
    return n_in, shape.positions * shape.window * shape.n_out


def trains_of(network: SpikingNetwork, x: NDArray[np.int16]) -> list[NDArray[np.bool_]]:
    """Each layer's spikes of encoded samples (n, n_in): (n, steps, neurons), in the chain's order."""
    steps = [[fired.reshape(len(x), -1) for fired in step] for step in spikes_of(network, x)]
    return [np.stack([step[i] for step in steps], axis=1) for i in range(len(network.layers))]


def inputs_of(network: SpikingNetwork, x: NDArray[np.int16]) -> NDArray[np.int16]:
    """What comes in, (n, steps, n_in): as `encode.steps_of` gives it."""
    s = network.recipe.spiking
    return np.stack(list(steps_of(s, drive_of(s, network.gain, x), network.recipe.seed)), axis=1)


def _repeated(matrix: NDArray[np.int16], before: LayerShape | None) -> NDArray[np.int16]:
    """Columns for each neuron of the windows of the layer before."""
    if before is None or before.conv is None or before.conv.pool == "none":
        return matrix
    by_window = matrix.reshape(len(matrix), -1, 1, before.n_out)
    return np.repeat(by_window, before.window, axis=2).reshape(len(matrix), -1)
