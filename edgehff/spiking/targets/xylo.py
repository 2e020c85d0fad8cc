"""SynSense's Xylo: limits, a network in its integers, and its arithmetic in numpy, bit by bit.

A step of the chip, as its maker's simulator has it:

    i += (w << shift) for each spike that comes in;  i -= decay(i, dash_syn)
    v += i - decay(v, dash_mem);  n = min(v // threshold, most) where v >= threshold;  v -= n * threshold
    decay(a, dash) = a >> dash, or the sign of a where that is 0

States are 16 bits wide and stop at their ends at every addition. Hidden neurons get the inputs of the same
step and fire up to 31 times in it; read-out neurons get the hidden spikes of the step before, fire once, and
hold the prototypes' products with the spike counts in their membranes: the largest is the answer.

What differs from our own neurons (simulate.py), which the network was trained with:

- A spike's current comes over several steps: dash_syn = 1 gives half of it at once, a quarter in the next
  step. All of it arrives, as the shares add up to 1: the last of it in silent steps after the sample.
- A neuron may fire several times in a step; ours fires once and keeps the rest.
- beta = 1 - 2^-dash_mem. Nothing on the chip keeps all of its membrane: beta = 1 becomes dash 15, which
  takes 1 off at each step. Small states lose 1 where ours lose less.
- A threshold of t + 1/2 is (2t + 1) << shift - 1, exactly, and (without a shift) t + 1.

Accuracy by these integers beside the network's own is therefore measured, never assumed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edgehff.errors import InputError, RecipeError
from edgehff.model.spiking_network import SpikingNetwork

MAX_EVENTS = 15
"""Spikes of one input in one step; more do not come in."""
MAX_SPIKES, MAX_OUT_SPIKES = 31, 1
"""Of one neuron in one step: hidden, read-out."""
LOW, HIGH = -(1 << 15), (1 << 15) - 1
PEAK = 3 << 13
"""Largest state that samples may reach while a network is fitted: three quarters of the range."""
MAX_SHIFT = 7
MAX_DASH = 15
SILENT = 4
"""Steps after a sample, in which currents run out and the last spikes reach the read-out."""
Int = NDArray[np.int64]


@dataclass(frozen=True)
class Variant:
    """A chip's inputs, hidden neurons, how many of those get inputs and reach read-outs, and read-outs."""

    inputs: int
    hidden: int
    outer: int
    outputs: int


VARIANTS = {
    "a2": Variant(16, 1000, 1000, 8),
    "a3": Variant(16, 992, 128, 32),
    "imu": Variant(16, 496, 128, 16),
}


@dataclass(frozen=True, eq=False)
class XyloNetwork:
    """A network as the chip has it.

    weights_in: int8, (n_in, n_hidden).  weights_out: int8, (n_hidden, n_classes).
    shift_in, shift_out: bits that weights are shifted to the left by.
    threshold, dash_mem, dash_syn: of every hidden neuron; those with _out: of every read-out neuron.
    steps: of a sample.  silent: after it.
    """

    variant: str
    weights_in: NDArray[np.int8]
    weights_out: NDArray[np.int8]
    threshold: int
    dash_mem: int
    steps: int
    shift_in: int = 0
    shift_out: int = 0
    dash_syn: int = 1
    threshold_out: int = HIGH
    dash_mem_out: int = MAX_DASH
    dash_syn_out: int = 1
    silent: int = SILENT


@dataclass(frozen=True, eq=False)
class Trace:
    """What n samples did, over steps and silent steps.

    hidden: uint8, (n, steps, n_hidden), spikes.  out: uint8, (n, steps, n_classes), of the read-out.
    membranes: int16, as out, after each step.  peak: (hidden, read-out), the largest size that a state would
    have reached, were it wider.
    """

    hidden: NDArray[np.uint8]
    out: NDArray[np.uint8]
    membranes: NDArray[np.int16]
    peak: tuple[int, int]

    @property
    def answers(self) -> Int:
        """(n,): the class of the largest membrane when all is over."""
        found: Int = self.membranes[:, -1].argmax(axis=1)
        return found

    @property
    def saturated(self) -> bool:
        """Whether a state stopped at its end."""
        return max(self.peak) > HIGH


def check(network: SpikingNetwork, variant: str = "a2") -> None:
    """RecipeError where the network does not fit the chip; names the layer and the number."""
    chip, recipe, s = VARIANTS[variant], network.recipe, network.recipe.spiking
    name = f"Xylo {variant.upper()}"
    if len(network.layers) > 1:
        raise RecipeError(
            f"layer 1: {len(network.layers)} layers, {name} is given one hidden layer here",
            hint="layers = [N], and train again",
        )
    (shape,) = recipe.shapes(network.n_in)
    if shape.conv is not None:
        raise RecipeError("layer 0: a convolution, Xylo has dense layers", hint="layers = [N], no [[conv]]")
    limits = (
        ("inputs", shape.n_in, chip.inputs, "fewer features or channels"),
        ("neurons", shape.n_out, chip.hidden, f"layers = [{chip.outer}]"),
        ("neurons between inputs and read-outs", shape.n_out, chip.outer, f"layers = [{chip.outer}]"),
        ("classes", len(network.class_names), chip.outputs, "fewer classes, or another variant"),
        ("prototypes per class", recipe.prototypes_per_class, 1, "prototypes_per_class = 1"),
        ("levels of an input", 1 if s.code in ("rate", "latency") else s.levels, MAX_EVENTS, "levels = 15"),
    )
    for what, number, limit, hint in limits:
        if number > limit:
            raise RecipeError(f"layer 0: {number:,} {what}, {name} has at most {limit:,}", hint=hint)
    if s.reset != "subtract":
        raise RecipeError(
            f"layer 0: reset = {s.reset!r}, Xylo's neurons subtract their threshold",
            hint='[spiking] reset = "subtract", and train again',
        )
    _dash_of(s.beta)


def _dash_of(beta: float) -> int:
    """The dash whose membrane keeps beta of itself."""
    if beta == 1:
        return MAX_DASH
    for dash in range(1, MAX_DASH):
        if abs(1 - 2.0**-dash - beta) < 1e-6:
            return dash
    raise RecipeError(
        f"layer 0: beta = {beta:g}, Xylo keeps 1 - 2^-k of a membrane",
        hint="[spiking] beta = 0.5, 0.75, 0.875, 0.9375 ... or 1",
    )


def quantize(network: SpikingNetwork, x: NDArray[np.int16], variant: str = "a2") -> XyloNetwork:
    """The network in the chip's integers.

    The largest weight shift is taken at which no hidden state of the samples x leaves three quarters of 16
    bits, then the largest read-out weights at which no read-out's does.

    x: what comes in of training rows, (n, steps, n_in), as `chain.inputs_of` gives it.

    Raises:
        RecipeError: the network does not fit the chip; names the layer and the number.
    """
    check(network, variant)
    check_events(x)
    layer = network.layers[0]
    rows = layer.prototypes[:, 0].astype(np.float64)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1)
    found = XyloNetwork(
        variant,
        np.ascontiguousarray(layer.weight.T),
        np.zeros((layer.weight.shape[0], len(rows)), np.int8),
        threshold=0,
        dash_mem=_dash_of(network.recipe.spiking.beta),
        steps=network.recipe.spiking.steps,
    )
    for shift in range(MAX_SHIFT, -1, -1):
        threshold = (2 * layer.threshold + 1) << (shift - 1) if shift else layer.threshold + 1
        found = replace(found, shift_in=shift, threshold=threshold)
        peak = max(threshold, run(found, x).peak[0] if threshold <= HIGH else 0)
        if peak <= PEAK:
            break
    else:
        raise RecipeError(
            f"layer 0: its states reach {peak:,}, more than {PEAK:,} of Xylo's 16 bits",
            hint="[spiking] fewer steps, fewer levels, or a beta below 1; and train again",
        )
    for largest in (127, 63, 31, 15, 7):
        unit = np.rint(rows * (largest / np.abs(rows).max())).astype(np.int8)
        found = replace(found, weights_out=np.ascontiguousarray(unit.T))
        peak = run(found, x).peak[1]
        if peak <= PEAK:
            return found
    raise RecipeError(
        f"layer 0: its read-out reaches {peak:,}, more than {PEAK:,} of Xylo's 16 bits",
        hint="[spiking] fewer steps, or fewer neurons; and train again",
    )


def check_events(x: NDArray[np.int16]) -> None:
    """InputError where inputs are no spikes that the chip takes."""
    if x.size and (x.min() < 0 or x.max() > MAX_EVENTS):
        raise InputError(
            f"inputs of {x.min()} to {x.max()} spikes a step, Xylo takes 0 to {MAX_EVENTS}",
            hint="[encoder] center = false, [spiking] levels = 15",
        )


def run(network: XyloNetwork, x: NDArray[np.int16]) -> Trace:
    """The chip's arithmetic on inputs (n, steps, n_in), 0 to 15 spikes each."""
    check_events(x)
    n, steps, _ = x.shape
    n_hidden, n_out = network.weights_out.shape
    inner = network.weights_in.astype(np.int64) << network.shift_in
    outer = network.weights_out.astype(np.int64) << network.shift_out
    length = steps + network.silent
    hidden, out = np.zeros((n, length, n_hidden), np.uint8), np.zeros((n, length, n_out), np.uint8)
    membranes = np.zeros((n, length, n_out), np.int16)
    first, last = _Neurons((n, n_hidden)), _Neurons((n, n_out))
    spikes = np.zeros((n, n_hidden), np.int64)
    for step in range(length):
        if step < steps:
            first.receive(x[:, step].astype(np.int64), inner)
        last.receive(spikes, outer)
        spikes = first.evolve(network.dash_syn, network.dash_mem, network.threshold, MAX_SPIKES)
        hidden[:, step] = spikes
        out[:, step] = last.evolve(
            network.dash_syn_out, network.dash_mem_out, network.threshold_out, MAX_OUT_SPIKES
        )
        membranes[:, step] = last.v
    return Trace(hidden, out, membranes, (first.peak, last.peak))


class _Neurons:
    """Currents and membranes of neurons, (n, neurons); peak: the largest size before they were cut off."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.i, self.v, self.peak = np.zeros(shape, np.int64), np.zeros(shape, np.int64), 0

    def receive(self, spikes: Int, weights: Int) -> None:
        """Add what spikes (n, n_in) bring, input after input, as the chip does."""
        if (np.abs(self.i) + _product(spikes, np.abs(weights))).max(initial=0) <= HIGH:
            self.i = self._limited(self.i + _product(spikes, weights))
            return
        for count, row in zip(spikes.T, weights, strict=True):
            self.i = self._limited(self.i + count[:, None] * row)

    def evolve(self, dash_syn: int, dash_mem: int, threshold: int, most: int) -> Int:
        """One step; returns the spikes of each."""
        self.i = self.i - _decay(self.i, dash_syn)
        change = self._limited(self.i - _decay(self.v, dash_mem))
        self.v = self._limited(self.v + change)
        spikes: Int = np.where(self.v >= threshold, np.minimum(self.v // threshold, most), 0)
        self.v = self.v - spikes * threshold
        return spikes

    def _limited(self, states: Int) -> Int:
        self.peak = max(self.peak, int(np.abs(states).max(initial=0)))
        return np.clip(states, LOW, HIGH)


def _product(a: Int, b: Int) -> Int:
    """The integer product of matrices, which float64 holds exactly and multiplies fast."""
    return (a.astype(np.float64) @ b.astype(np.float64)).astype(np.int64)


def _decay(states: Int, dash: int) -> Int:
    part: Int = states >> dash
    return np.where(part == 0, np.sign(states), part)
