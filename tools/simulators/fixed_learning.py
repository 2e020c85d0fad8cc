"""The online rule in the integers of Loihi 2's learning engine, as Lava approximates them ("fixed_pt", 0.10).

A synapse has a weight of -256 to 255, a tag of -257 to 255, its input's trace of 0 to 127; its neuron sends
y1, y2 and y3 of -128 to 127. A product of a rule is shifted down by what its factors have more than 15 bits,
an accumulator holds 7 bits below the synapse's, and these are rounded by chance in every step of Lava's:

    x1 <- round(x1 * sqrt(beta)) + 63 where a spike came      dt = (x1 * y1 >> 3) << 2, and t = 0 by y3 = 64
    dw = t * y2 >> 5                                          both in 1/128 of a synapse's unit

One random number a step decides for all synapses of a layer: their errors of rounding go the same way.
What a neuron computes in its own program: in integers u = beta * v + (sum of w) << 6, a spike where that is
over 144 << 6; y1, its slope in 1/127; in floats count, cosines and prototypes, and y2, its rounded error.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehff import spec
from edgehff.model.spiking_network import HALF

Ints = NDArray[np.int64]

THRESHOLD, IMPULSE, SLOPE, CLEAR, GAP = 144, 63, 127, 64, 16
"""Of a neuron, as weights; of a spike on a trace; y1 of slope 1; y3 that clears; steps between samples."""
RULE = {"dt": "2^-5 * u0 * x1 * y1 - 2^-1 * u0 * t * y3", "dw": "2^-7 * u0 * t * y2"}
"""As Lava reads it: 2^-7 shifts by 0 to the left, 2^-5 by 2."""
BETA_BITS, MEMBRANE_BITS = 12, 6


def error_gain(lr: float, beta: float) -> float:
    """What makes y2 of an error: tags hold x1 * y1 / 256, weights move by t * y2 / 4096 of their unit."""
    tag = IMPULSE * np.sqrt(beta) * SLOPE / 256
    return float(lr * THRESHOLD * 4096 / tag)


class FixedLayer:
    """One layer which learns from spikes, sample by sample.

    weight: float64 (neurons, inputs), for a threshold of 1; stops at the ends of its bits.  prototypes:
    float64 (classes, neurons), unit rows.  seed: of the engine's traces; that of its synapses is always 2.
    before: how many layers lie before it, each of which makes it a step later.
    """

    def __init__(
        self,
        weight: NDArray[np.float64],
        prototypes: NDArray[np.float64],
        *,
        beta: float,
        reset: str,
        lr: float,
        scale: float,
        seed: int,
        before: int,
    ) -> None:
        self.weight = np.clip(np.rint(weight * (THRESHOLD / 2)), -128, 127).astype(np.int64) * 2
        self.prototypes = prototypes.copy()
        self.tag, self.x1 = np.zeros_like(self.weight), np.zeros(weight.shape[1], np.int64)
        self.beta, self.reset, self.lr, self.scale = beta, reset, lr, scale
        self._of_x1, self._of_y, self._of_synapses = (np.random.default_rng(s) for s in (seed, seed + 2, 2))
        for generator in (self._of_x1, self._of_y, self._of_synapses):
            generator.random()
        for _ in range(before):
            self._advance(np.zeros_like(self.x1))

    def learn(self, x: NDArray[Any], label: int) -> Ints:
        """Learn from spikes (steps, inputs) of one sample; returns the neurons' (steps, neurons)."""
        v, out, nothing = np.zeros(len(self.weight), np.int64), [], np.zeros_like(self.x1)
        for step in x.astype(np.int64):
            self._advance(step)
            u = self.charged(v, step)
            spikes, v = self.fired(u)
            out.append(spikes)
            slope = 1 / (1 + (np.pi * (u / (THRESHOLD << MEMBRANE_BITS) - 1)) ** 2)
            y1, chance = self._advance(nothing, np.rint(SLOPE * slope))
            self.tag = _added(self.tag, (np.outer(y1, self.x1) >> 3) << 2, chance, -257)
        by_count = self._taught(np.sum(out, axis=0).astype(np.float64), label)
        y2 = np.clip(np.rint(-error_gain(self.lr, self.beta) * by_count), -127, 127)
        y2, chance = self._advance(nothing, y2)
        self.weight = _added(self.weight, (self.tag * y2[:, None]) >> 5, chance, -256)
        self.tag = np.zeros_like(self.tag)
        for _ in range(2 * GAP + 3):
            self._advance(nothing)
        return np.stack(out)

    def charged(self, v: Ints, x: Ints) -> Ints:
        """Membranes (..., neurons) before they fire."""
        kept = np.sign(v) * ((np.abs(v) * int(self.beta * (1 << BETA_BITS))) >> BETA_BITS)
        return np.asarray(kept + ((x @ self.weight.T) << MEMBRANE_BITS))

    def fired(self, u: Ints) -> tuple[Ints, Ints]:
        """(spikes, membranes after them)."""
        threshold = THRESHOLD << MEMBRANE_BITS
        spikes = (u > threshold).astype(np.int64)
        return spikes, u * (1 - spikes) if self.reset == "zero" else u - spikes * threshold

    def run(self, x: NDArray[Any]) -> tuple[Ints, Ints]:
        """(answers (n,), spikes (n, steps, neurons)) of spikes (n, steps, inputs); nothing is learned."""
        v, out = np.zeros((len(x), len(self.weight)), np.int64), []
        for step in np.moveaxis(x.astype(np.int64), 1, 0):
            spikes, v = self.fired(self.charged(v, step))
            out.append(spikes)
        count = np.sum(out, axis=0).astype(np.float64)
        return (count @ self.prototypes.T).argmax(1), np.stack(out, 1)

    def _taught(self, count: NDArray[np.float64], label: int) -> NDArray[np.float64]:
        """The loss's gradient by the count; takes the prototypes' step."""
        length = max(float(np.sqrt(count @ count)), 1e-6)
        unit = count / (length + HALF)
        e = spec.error(self.prototypes @ unit, label, 1, self.scale, 0.0)
        at_unit = self.scale * (e @ self.prototypes)
        by_count = (at_unit - (at_unit @ unit) * count / length) / (length + HALF)
        by_prototype = spec.prototype_gradient(self.prototypes, unit[None], e[None], self.scale)
        moved = self.prototypes - self.lr * by_prototype
        self.prototypes = moved / np.linalg.norm(moved, axis=1, keepdims=True)
        return np.asarray(by_count)

    def _advance(self, spikes: Ints, y: NDArray[np.float64] | None = None) -> tuple[Ints, float]:
        """(y as the engine takes it, the synapses' random number) of a step; traces decay and take spikes.

        The engine draws twice a step for traces and uses the second; it takes 1/65535 off a y, too.
        """
        self._of_x1.random()
        self._of_y.random()
        tau = -1 / np.log(np.sqrt(self.beta))
        x1 = _rounded(np.exp(-1 / tau) * self.x1, self._of_x1.random())
        self.x1 = np.minimum(x1 + IMPULSE * spikes, 127)
        kept = _rounded(np.exp(-1 / 65535) * (np.zeros(0) if y is None else y), self._of_y.random())
        return kept, self._of_synapses.random()


def _rounded(value: NDArray[np.float64], chance: float) -> Ints:
    """Up where the fraction is over the random number, 0 <= chance < 1."""
    low = np.floor(value)
    return (low + (chance < value - low)).astype(np.int64)


def _added(value: Ints, change: Ints, chance: float, low: int) -> Ints:
    """Value + change / 128, in an accumulator of 16 bits, rounded by chance, low to 255."""
    low_end, high_end = -(1 << 15) - 1, (1 << 15) - 1
    total = np.clip((value << 7) + np.clip(change, low_end, high_end), low_end, high_end)
    return np.clip(_rounded(total / 128, chance), low, 255)
