"""SpiNNaker: limits, a network in its integers, its arithmetic in numpy, and the file.

The chip is given sPyNNaker's IF_curr_delta at steps of 1 ms. What a core does in a step, in words of s15.16
(32 bits, 15 of them behind the point; products are cut off downwards):

    in    = min(excitatory weights, 65535) - min(inhibitory weights, 65535)
    alpha = (in * R >> 15) + v_rest
    v     = alpha - (exp_TC * (alpha - v) >> 15);    where v >= v_thresh a spike, and v = v_reset

Sources, in sPyNNaker 7's C: the sums in neural_modelling/src/neuron/synapses.c, the step in models/
neuron_model_lif_impl.h, the comparison in threshold_types/threshold_type_static.h. That the products are cut
off is read from the compiled IF_curr_delta.aplx of sPyNNaker 7.4.1: smull, then a shift; older C rounds them.

**A leak cannot be turned off, but it can be cut off.** With exp_TC = 1 nothing comes in either. The cores'
expk, run in an emulated ARM, makes 32768 of the word 0 and 32766 of -1, and there is nothing between. 32766
comes of tau_m = 32768 ms; R = tau_m / cm = 2^14 with cm = 2. Then, exactly,

    v = v + in - floor((v - v_rest) / 2^14)

and nothing leaks while v_rest <= v < v_rest + 2^14. A membrane that did not fire is at most v_thresh - 1:
hence v_rest = v_thresh - 2^14, and all membranes down to there are exact. Further below, a neuron gains 1,
then 2, ... a step. A first layer of code "direct" is exact always: where its constant input is above 0 the
membrane only rises, and where it is not, the neuron does not fire, here or there. `leaking` counts what is
below.

**Units.** A weight w of ours is the word w, 2^-15 of PyNN's unit. Ring buffers hold 16 bits without sign for
each of the two kinds of synapse and stop at their ends; sPyNNaker shifts them by what it expects to come in,
so that it is told to expect less than 1 (`max_expected_summed_weight`), and shifts nothing. `largest` says
how full they were. A threshold of t + 1/2 is the word t + 1. No word of 32 bits overflows: inputs are at most
2^16, alpha 2^30, and a membrane of 1,024 steps 2^26.

**Inputs.** Sources of spikes have no weights. An input of several levels is a source for each bit of its
level, whose weights are multiplied by it, up to 128 * 128: 16 bits hold them. Inputs below 0 have sources of
their own. i_offset could hold a constant input, but its product would be made off the chip, for each sample.

**Steps.** Every projection takes one step: layer i does at step s + 1 + i what comes in at s. Samples are
separated by a reset of the simulation.

Arrays of a file, none of them pickled:

    weights_0, ...    int16 (neurons, sources or neurons before); source = plane * inputs + input
    planes            int16, what a spike of each plane of sources stands for: 1, 2, 4, ..., or below 0
    threshold_0, ...  words, v_thresh; rest_0, ... v_rest. v_reset, v_init and i_offset are 0
    tau_m, cm         in ms and nF
    steps             int, of a sample
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

from edgehff.errors import InputError, RecipeError
from edgehff.model.spiking_network import SpikingNetwork
from edgehff.spiking.chain import chain_of
from edgehff.spiking.targets.arrays import Arrays, matrices, of_model, opened, pack
from edgehff.spiking.targets.neurons import check_neurons

TAU_M, CM = 32768.0, 2.0
EXP_TC = 32766
"""What expk makes of a step of 1 ms in TAU_M."""
R = int(TAU_M / CM) << 15
REACH = 1 << 14
"""Of the membranes that do not leak, from v_rest on."""
FULL = (1 << 16) - 1
"""Of a ring buffer."""
NEURONS, CORES = 128, 758
"""Of a core; of a SpiNN-5: its 856 without 97 of the system and one of sources."""


@dataclass(frozen=True, eq=False)
class SpinnakerNetwork:
    """weights: int16, (neurons, sources), of each layer.  thresholds: words.  planes: of the sources."""

    weights: tuple[NDArray[np.int16], ...]
    thresholds: tuple[int, ...]
    planes: tuple[int, ...]
    steps: int

    @property
    def rests(self) -> tuple[int, ...]:
        """v_rest of each layer, words."""
        return tuple(threshold - REACH for threshold in self.thresholds)


@dataclass(frozen=True, eq=False)
class Trace:
    """spikes: bool, (n, steps, neurons), of each layer.

    leaking: steps at whose start a membrane lay below v_rest, of all neurons and samples.
    largest: sum of one kind of weights that came to a neuron in a step, before it was stopped at FULL.
    """

    spikes: list[NDArray[np.bool_]]
    leaking: int
    largest: int

    @property
    def saturated(self) -> bool:
        """Whether a ring buffer stopped at its end."""
        return self.largest > FULL


def quantize(network: SpikingNetwork) -> SpinnakerNetwork:
    """The network in the chip's words: the same network.

    Raises:
        RecipeError: the chip cannot hold it; names the layer and the number.
    """
    s = network.recipe.spiking
    check_neurons(network, "SpiNNaker")
    layers = chain_of(network)
    thresholds = tuple(int(layer.threshold + 0.5) for layer in layers)
    cores = 0
    for i, (layer, threshold) in enumerate(zip(layers, thresholds, strict=True)):
        cores += -(-len(layer.matrix) // NEURONS)
        if cores > CORES:
            raise RecipeError(
                f"layer {i}: {len(layer.matrix):,} neurons, {cores:,} cores up to here, a board has {CORES}",
                hint="fewer neurons, or fewer channels of a convolution",
            )
        if threshold > REACH:
            raise RecipeError(
                f"layer {i}: a threshold of {threshold - 1:,}, SpiNNaker keeps membranes below {REACH:,}",
                hint="[spiking] levels, fewer; and train again",
            )
    planes = _planes(network)
    first = np.concatenate([np.int16(plane) * layers[0].matrix for plane in planes], axis=1)
    return SpinnakerNetwork((first, *(layer.matrix for layer in layers[1:])), thresholds, planes, s.steps)


def _planes(network: SpikingNetwork) -> tuple[int, ...]:
    """1, 2, 4, ... up to the recipe's levels, and the same below 0 where inputs may be."""
    s, encoding = network.recipe.spiking, network.encoding
    bits = 1 if s.code in ("rate", "latency") else s.levels.bit_length()
    above = tuple(1 << bit for bit in range(bits))
    positive = (encoding.raw == "uint8" or encoding.features) and encoding.offset is None
    return above if positive or s.code not in ("direct", "events") else above + tuple(-p for p in above)


def sources_of(planes: tuple[int, ...], x: NDArray[np.int16]) -> NDArray[np.bool_]:
    """Spikes of the sources, (n, steps, planes * n_in), that say inputs x, (n, steps, n_in).

    Raises:
        InputError: an input that the planes cannot say.
    """
    largest = sum(plane for plane in planes if plane > 0)
    least = sum(plane for plane in planes if plane < 0)
    if x.size and (x.min() < least or x.max() > largest):
        raise InputError(
            f"inputs of {x.min()} to {x.max()}, the sources say {least} to {largest}",
            hint="edgehff export --target spinnaker, of the model that they are for",
        )
    wide = x.astype(np.int32)
    return np.concatenate([(np.abs(wide) & abs(p) > 0) & (wide * p > 0) for p in planes], axis=2)


def run(chip: SpinnakerNetwork, x: NDArray[np.int16]) -> Trace:
    """What the chip does.  x: inputs, (n, steps, n_in), as many steps as they have."""
    seen, out, leaking, largest = sources_of(chip.planes, x), [], 0, 0
    for weights, threshold, rest in zip(chip.weights, chip.thresholds, chip.rests, strict=True):
        wide = weights.T.astype(np.float64)
        v = np.zeros((len(x), len(weights)), np.int64)
        spikes = np.zeros((*x.shape[:2], len(weights)), np.bool_)
        for step in range(x.shape[1]):
            kinds = [_sums(seen[:, step], np.maximum(sign * wide, 0)) for sign in (1, -1)]
            largest = max(largest, *(int(kind.max(initial=0)) for kind in kinds))
            come = np.minimum(kinds[0], FULL) - np.minimum(kinds[1], FULL)
            leaking += int((v < rest).sum())
            alpha = (come * R >> 15) + rest
            v = alpha - (EXP_TC * (alpha - v) >> 15)
            spikes[:, step] = v >= threshold
            v[spikes[:, step]] = 0
        out.append(spikes)
        seen = spikes
    return Trace(out, leaking, largest)


def _sums(spikes: NDArray[np.bool_], weights: NDArray[np.float64]) -> NDArray[np.int64]:
    """The integer product, which float64 holds exactly and multiplies fast."""
    return (spikes.astype(np.float64) @ weights).astype(np.int64)


def to_bytes(chip: SpinnakerNetwork, model: SpikingNetwork, x: NDArray[np.int16]) -> bytes:
    """The bytes of a file.  x: inputs of the rows that it carries, (n, steps, n_in)."""
    arrays: Arrays = {
        "tau_m": np.array(TAU_M),
        "cm": np.array(CM),
        "steps": np.array(chip.steps),
        "planes": np.array(chip.planes, np.int16),
    }
    for i, weights in enumerate(chip.weights):
        words = {"threshold": chip.thresholds[i], "rest": chip.rests[i]}
        arrays |= {f"weights_{i}": weights, **{f"{k}_{i}": np.array(word) for k, word in words.items()}}
    return pack(arrays | of_model(model, x, run(chip, x).spikes))


def from_bytes(data: bytes) -> SpinnakerNetwork:
    """The network of a file's bytes. ModelFileError where they are none."""
    with opened(data, "SpiNNaker", "spinnaker") as arrays:
        weights = matrices(arrays)
        thresholds = tuple(int(arrays[f"threshold_{i}"]) for i in range(len(weights)))
        planes = tuple(int(plane) for plane in arrays["planes"])
        return SpinnakerNetwork(weights, thresholds, planes, int(arrays["steps"]))
