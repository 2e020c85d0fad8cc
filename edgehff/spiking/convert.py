"""A network that does not spike, made to spike: its synapses and prototypes as they are, and thresholds.

HFF layers have no bias, and cosines ask only for directions: with spikes in the place of rectified values
nothing has to be normalized between layers. A threshold only says how finely spikes tell values apart: too
high, and few neurons spike in the steps there are; too low, and large values look alike.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edgehff.data.dataset import Dataset
from edgehff.errors import DataError
from edgehff.model.float_network import FloatNetwork, float_view
from edgehff.model.network import Network
from edgehff.model.spiking_network import MAX_THRESHOLD, SpikingLayer, SpikingNetwork
from edgehff.quantize.network import quantize, unit_rows
from edgehff.recipe import Recipe, SpikingRecipe
from edgehff.spiking.encode import drive_of, gain_of
from edgehff.spiking.simulate import membranes_of, run

SHARES = (0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999)
"""Of positive currents, those below a threshold that is tried."""
ROWS = 1000
"""Training rows that thresholds are chosen on."""


def convert(network: Network | FloatNetwork, rows: Dataset, spiking: SpikingRecipe) -> SpikingNetwork:
    """The network with spikes; from the input on, each layer's threshold is what its own answers like best.

    network: a float one is quantized to int8 first; of int16 weights the upper byte is taken, as its forward
    pass does.  rows: training rows.

    Raises:
        DataError: rows on which no neuron of a layer gets a positive current.
        ShapeError: negative inputs where spikes have to say them.
    """
    source = float_view(quantize(network, "int8") if isinstance(network, FloatNetwork) else network)
    layers = tuple(
        SpikingLayer(
            layer.weight.astype(np.int8), MAX_THRESHOLD - 1, unit_rows(layer.prototypes.astype(np.float64))
        )
        for layer in source.layers
    )
    recipe = network.recipe.replace(arith="int8", gate=None, spiking=spiking)
    rows = rows.rows(range(min(ROWS, len(rows))))
    encoded = network.encoding.to_core().encode(network.encoding.quantize_raw(rows.x))
    gain = gain_of(spiking, encoded)
    drive_of(spiking, gain, encoded)
    out = SpikingNetwork(recipe, network.class_names, network.encoding, layers, gain, network.step)
    for i in range(len(layers)):
        out = _with_threshold(out, i, _best(out, i, encoded, rows.y))
    return out


def _best(network: SpikingNetwork, i: int, x: NDArray[np.int16], y: NDArray[np.integer]) -> int:
    """The threshold of layer i with which it answers most rows rightly; the layers before have theirs."""
    part = _first_layers(network, i + 1)
    steps = [charged[i] for charged in membranes_of(part, x)]
    currents = np.diff(np.stack(steps), axis=0, prepend=0)  # nothing fires yet: membranes are sums
    positive = currents[currents > 0]
    if not len(positive):
        raise DataError(
            f"layer {i}: no neuron gets a positive current", hint="more steps, or rows that say more"
        )
    tried = [min(int(np.quantile(positive, share)), MAX_THRESHOLD - 1) for share in SHARES]
    right = [int((run(_with_threshold(part, i, t), x, 0.0).answers == y).sum()) for t in tried]
    return tried[int(np.argmax(right))]


def _first_layers(network: SpikingNetwork, n: int) -> SpikingNetwork:
    """The first n layers, of which the last one answers."""
    r = network.recipe
    conv = r.conv[:n]
    recipe: Recipe = r.replace(conv=conv, layers=r.layers[: n - len(conv)], join="last", join_weights=())
    return replace(network, recipe=recipe, layers=network.layers[:n])


def _with_threshold(network: SpikingNetwork, i: int, threshold: int) -> SpikingNetwork:
    layers = list(network.layers)
    layers[i] = replace(layers[i], threshold=threshold)
    return replace(network, layers=tuple(layers))
