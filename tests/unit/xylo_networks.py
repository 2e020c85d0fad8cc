"""Small networks for Xylo, spikes for them, and a simulator that repeats what a file says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgehff.model.encoding import Encoding
from edgehff.model.spiking_network import SpikingLayer, SpikingNetwork
from edgehff.recipe import Recipe, SpikingRecipe
from edgehff.spiking.chain import inputs_of
from edgehff.spiking.targets.xylo import XyloNetwork

ANSWER = """
import sys, numpy as np
from pathlib import Path
folder = Path(sys.argv[1])
net, x = np.load(folder / "network.npz"), np.load(folder / "case.npz")["x"]
found = {{name: net[name][: len(x)] for name in ("hidden", "membranes")}}
found["out"] = np.zeros(found["membranes"].shape, np.uint8)
{change}
np.savez(folder / "trace.npz", version="7.1", **found)
"""


def network_of(n_in: int = 12, n_hidden: int = 9, classes: int = 3, **given: object) -> SpikingNetwork:
    rng = np.random.default_rng(3)
    spiking = {"steps": 6, "reset": "subtract", "beta": 0.875} | given
    options = {
        k: spiking.pop(k) for k in ("layers", "conv", "input_shape", "prototypes_per_class") if k in spiking
    }
    recipe = Recipe(**{"layers": (n_hidden,), "gate": None, "spiking": SpikingRecipe(**spiking)} | options)
    layers = []
    for shape in recipe.shapes(n_in):
        weight = rng.integers(-60, 61, (shape.n_out, shape.n_in)).astype(np.int8)
        prototypes = rng.integers(-5000, 5000, (classes, recipe.prototypes_per_class, shape.head))
        layers.append(SpikingLayer(weight, 700, prototypes.astype(np.int16)))
    names = tuple(f"c{i}" for i in range(classes))
    return SpikingNetwork(recipe, names, Encoding("uint8", (n_in, 1)), tuple(layers), gain=22.0)


def events(network: SpikingNetwork, n: int = 7) -> np.ndarray:
    return inputs_of(network, network.encode(samples(network, n)))


def samples(network: SpikingNetwork, n: int) -> np.ndarray:
    return np.random.default_rng(4).integers(0, 256, (n, network.encoding.n_features)).astype(np.uint8)


def chip_of(seed: int, **given: int) -> XyloNetwork:
    rng = np.random.default_rng(seed)
    inner = rng.integers(-60, 128, (5, 7)).astype(np.int8)
    outer = rng.integers(-60, 128, (7, 4)).astype(np.int8)
    return XyloNetwork("a2", inner, outer, **{"threshold": 900, "dash_mem": 3, "steps": 9} | given)


def spikes(n: int = 6, n_in: int = 5) -> np.ndarray:
    rng = np.random.default_rng(5)
    x = (rng.integers(0, 16, (n, 9, n_in)) * (rng.random((n, 9, n_in)) < 0.6)).astype(np.int16)
    x[0] = 0
    x[0, :4, 0] = x[0, 4:, 1] = 15  # from one end of the range to the other in "swings"
    return x


CHIPS = {
    "plain": chip_of(0, shift_in=1),
    "many at once": chip_of(1, threshold=40, dash_mem=4, dash_syn=2, shift_out=2),
    "read-out fires": chip_of(2, shift_in=2, threshold_out=300, dash_mem_out=5, dash_syn_out=3),
    "saturated": chip_of(3, shift_in=7, shift_out=7, threshold=15000, dash_mem=15, dash_mem_out=15),
    "swings": replace(
        chip_of(5, threshold=3000, dash_mem=1, dash_syn=4, shift_in=7),
        weights_in=np.array([[-127] * 7, [127] * 7, [3] * 7, [0] * 7, [-3] * 7], np.int8),
    ),
    "negative": replace(chip_of(4, dash_mem=15, shift_in=7), weights_in=np.full((5, 7), -127, np.int8)),
}
