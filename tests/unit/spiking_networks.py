"""Small spiking networks, samples for them, and a simulator of numpy."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from edgehff.geometry import ConvLayer
from edgehff.model import file
from edgehff.model.encoding import Encoding
from edgehff.model.spiking_network import SpikingLayer, SpikingNetwork
from edgehff.recipe import Recipe, SpikingRecipe

MAP = (6, 7, 2)
RUN = """
import sys, numpy as np
case = np.load(sys.argv[1] + "/case.npz")
seen, out = case["x"].astype(int), {{}}
for i in range(int(case["layers"])):
    v, spikes = 0, []
    for step in np.moveaxis(seen, 1, 0):
        v = v + step @ case[f"matrix_{{i}}"].astype(int).T
        spikes.append(v > case[f"threshold_{{i}}"])
        v = np.where(spikes[-1], 0, v)
    seen = np.stack(spikes, 1).astype(int)
    out[str(i)] = seen > 0
{change}
np.savez(sys.argv[1] + "/spikes.npz", version="7.1", **out)
"""


def network_of(conv: tuple[ConvLayer, ...] = (), join: str = "sum_logp", **spiking: object) -> SpikingNetwork:
    rng = np.random.default_rng(3)
    options = {"conv": conv, "input_shape": MAP} if conv else {}
    recipe = Recipe(
        layers=(9, 8), gate=None, join=join, spiking=SpikingRecipe(**{"steps": 6} | spiking), **options
    )
    layers = []
    for i, shape in enumerate(recipe.shapes(84)):
        weight = rng.integers(-60, 61, (shape.n_out, shape.n_in)).astype(np.int8)
        prototypes = rng.integers(-5000, 5000, (3, 1, shape.head)).astype(np.int16)
        layers.append(SpikingLayer(weight, 700 if i == 0 else 60, prototypes))
    return SpikingNetwork(recipe, ("a", "b", "c"), Encoding("uint8", (84, 1)), tuple(layers), gain=60.0)


def samples(n: int = 5) -> np.ndarray:
    rng = np.random.default_rng(4)
    return network_of().encode((rng.integers(0, 256, (n, 84)) * (rng.random((n, 84)) < 0.5)).astype(np.uint8))


def saved_with_noise(network: SpikingNetwork, folder: Path) -> tuple[Path, np.ndarray]:
    """(model file, test rows) of a network whose data are noise in noise.npz, 20 test rows of 30."""
    rng = np.random.default_rng(2)
    x = (rng.integers(0, 256, (30, 84)) * (rng.random((30, 84)) < 0.5)).astype(np.uint8)
    y, is_test = np.arange(30) % 3, np.arange(30) > 9
    np.savez(folder / "noise.npz", X=x, y=y, class_names=["a", "b", "c"], is_test=is_test)
    recipe = network.recipe.replace(data=str(folder / "noise.npz"))
    file.save(replace(network, recipe=recipe), folder / "s.safetensors")
    return folder / "s.safetensors", x[10:]


def simulator(folder: Path, name: str, text: str) -> Path:
    home = folder / name
    (home / "bin").mkdir(parents=True)
    (home / "bin/python").symlink_to(sys.executable)
    (home / "run.py").write_text(text)
    return home
