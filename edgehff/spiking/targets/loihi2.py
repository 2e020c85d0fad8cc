"""Intel's Loihi 2: limits, a network in its integers, its arithmetic in numpy, and the file.

A step of a neuron, as Lava's bit-accurate model has it (its "fixed_pt" Dense and LIF, 0.10):

    v += (sum of w * input) << 6, stopping at the ends of 24 bits;  where v > vth << 6 a spike, and v = 0

Synapses of both signs have 8 bits, of which the lowest is 0, so that a weight w of ours is 2 w there; a
threshold of t + 1/2 is vth = 2 t + 1, of 17 bits. Nothing leaks: dv = 0; currents last one step: du = 4095.
Graded inputs are messages of 8 bits. The spikes are the network's own, every one of them, as long as no
membrane reaches the ends of 24 bits: `peak` says how near they come.

Arrays of a file, none of them pickled:

    weights_0, ...    int16 (neurons, inputs), even, -254 to 254; convolutions as the matrix of all positions
    vth_0, ...        int, 1 to 131071
    du, dv, steps     int
    prototypes_0, ... int16 Q14, see edgehff's model file; counts of spikes are told by their cosines
    class_names       text (n_classes,)
    edgehff           text, JSON: SpikingNetwork.facts, how inputs are made
    samples           int16 (n, steps, inputs), of some test rows
    spikes_0, ...     uint8 (n, steps, neurons), what they make each layer do
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgehff.errors import RecipeError
from edgehff.model.spiking_network import SpikingNetwork
from edgehff.spiking.chain import chain_of
from edgehff.spiking.targets.arrays import Arrays, matrices, of_model, opened, pack
from edgehff.spiking.targets.neurons import check_neurons

MAX_VTH = (1 << 17) - 1
MAX_INPUT = 127
"""Of a graded input: a message of 8 bits with its sign."""
SHIFT = 6
HIGH = (1 << 23) - 1
DU, DV = 4095, 0


@dataclass(frozen=True, eq=False)
class Loihi2Network:
    """weights: int16, even, (neurons, inputs), of each layer.  vth: of each.  steps: of a sample."""

    weights: tuple[NDArray[np.int16], ...]
    vth: tuple[int, ...]
    steps: int


@dataclass(frozen=True, eq=False)
class Trace:
    """spikes: bool, (n, steps, neurons), of each layer.  peak: the largest size that a membrane had."""

    spikes: list[NDArray[np.bool_]]
    peak: int

    @property
    def saturated(self) -> bool:
        """Whether a membrane stopped at its end."""
        return self.peak >= HIGH


def quantize(network: SpikingNetwork) -> Loihi2Network:
    """The network in the chip's integers: the same network.

    Raises:
        RecipeError: the chip cannot hold it; names the layer and the number.
    """
    s = network.recipe.spiking
    check_neurons(network, "Loihi 2")
    if s.code not in ("rate", "latency") and s.levels > MAX_INPUT:
        raise RecipeError(
            f"layer 0: {s.levels} levels of an input, Loihi 2 has messages up to {MAX_INPUT}",
            hint=f"[spiking] levels = {MAX_INPUT}",
        )
    layers = chain_of(network)
    vth = tuple(int(2 * layer.threshold) for layer in layers)
    for i, value in enumerate(vth):
        if value > MAX_VTH:
            raise RecipeError(
                f"layer {i}: a threshold of {value:,}, Loihi 2 has at most {MAX_VTH:,}", hint="fewer levels"
            )
    return Loihi2Network(tuple(2 * layer.matrix for layer in layers), vth, s.steps)


def run(chip: Loihi2Network, x: NDArray[np.int16]) -> Trace:
    """What the chip does.  x: inputs, (n, steps, n_in)."""
    seen, out, peak = x.astype(np.int64), [], 0
    for weights, vth in zip(chip.weights, chip.vth, strict=True):
        v = np.zeros((len(x), len(weights)), np.int64)
        spikes = np.zeros((len(x), chip.steps, len(weights)), np.bool_)
        for step in range(chip.steps):
            current = (seen[:, step].astype(np.float64) @ weights.T.astype(np.float64)).astype(np.int64)
            v = np.clip(v + (current << SHIFT), -HIGH, HIGH)
            peak = max(peak, int(np.abs(v).max(initial=0)))
            spikes[:, step] = v > vth << SHIFT
            v[spikes[:, step]] = 0
        out.append(spikes)
        seen = spikes.astype(np.int64)
    return Trace(out, peak)


def to_bytes(chip: Loihi2Network, model: SpikingNetwork, x: NDArray[np.int16]) -> bytes:
    """The bytes of a file.  x: inputs of the rows that it carries, (n, steps, n_in)."""
    arrays: Arrays = {"du": np.array(DU), "dv": np.array(DV), "steps": np.array(chip.steps)}
    for i, (weights, vth) in enumerate(zip(chip.weights, chip.vth, strict=True)):
        arrays |= {f"weights_{i}": weights, f"vth_{i}": np.array(vth)}
    return pack(arrays | of_model(model, x, run(chip, x).spikes))


def from_bytes(data: bytes) -> Loihi2Network:
    """The network of a file's bytes. ModelFileError where they are none."""
    with opened(data, "Loihi 2", "loihi2") as arrays:
        weights = matrices(arrays)
        vth = tuple(int(arrays[f"vth_{i}"]) for i in range(len(weights)))
        return Loihi2Network(weights, vth, int(arrays["steps"]))
