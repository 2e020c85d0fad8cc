"""From a float or integer network to Akida's integers: 4-bit weights, and steps of events from training rows.

Every unit has a scale of its own, for its step takes the scale out again; prototypes share one. What a step
covers (the share of the events that do not saturate) is chosen layer by layer, input first, by the answers to
validation rows: a part of the training rows, never test rows.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehff.data.split import shuffled
from edgehff.errors import RecipeError
from edgehff.model.float_network import FloatNetwork, float_view
from edgehff.model.network import Network
from edgehff.spiking.targets.akida import (
    INPUT_TOP,
    WEIGHT_TOPS,
    AkidaNetwork,
    activations,
    check,
    check_potentials,
    events_of,
    potentials,
)

SHARES = (0.99, 1.0, 0.999, 0.995, 0.98, 0.95)
"""Of positive values that a step's largest event covers; the first that is best is taken."""
MAX_ROWS = 5000
"""Of training rows that steps are found on, and of those that they are chosen on."""
_CUTS = np.linspace(0.2, 1.0, 33)
"""Shares of the largest weight that may become the largest integer."""

Floats = NDArray[np.float64]


def quantize(
    network: Network | FloatNetwork,
    x: NDArray[Any],
    y: NDArray[Any],
    *,
    weight_bits: int = 4,
    act_bits: int = 4,
) -> AkidaNetwork:
    """The network in the chip's integers.

    x, y: raw training rows and their classes.

    Raises:
        RecipeError: the network or its samples have what the chip has not; names the layer and the number.
    """
    check(network, weight_bits, act_bits)
    floats = float_view(network) if isinstance(network, Network) else network
    raw = floats.encoding.quantize_raw(x)
    if raw.min() < 0:
        raise RecipeError(
            f"layer 0: training samples reach down to {int(raw.min())}, Akida's inputs are 0 to {INPUT_TOP}",
            hint="shift the samples above zero, and train again",
        )
    top = WEIGHT_TOPS[weight_bits]
    scaled = [in_integers(layer.weight.astype(np.float64), top) for layer in floats.layers]
    prototypes = floats.layers[-1].prototypes[:, 0].astype(np.float64)
    made = AkidaNetwork(
        class_names=floats.class_names,
        weights=tuple(weight for weight, _ in scaled),
        act_steps=tuple(np.ones(len(weight), np.int32) for weight, _ in scaled),
        prototypes=in_integers(prototypes.reshape(1, -1), top)[0].reshape(prototypes.shape),
        raw=floats.encoding.raw,
        input_step=1,
        input_scale=floats.encoding.input_scale,
        weight_bits=weight_bits,
        act_bits=act_bits,
        weights_crc32=f"{network.weights_crc32:08x}",
    )
    check_potentials(made)
    order = shuffled(len(raw), floats.recipe.seed)
    chosen_on = order[: max(1, min(MAX_ROWS, len(raw) // 2))]
    found_on = order[len(chosen_on) :][:MAX_ROWS] if len(raw) > 1 else order
    scales = [scale for _, scale in scaled]
    return _with_steps(made, scales, raw[found_on], (raw[chosen_on], y[chosen_on]))


def in_integers(rows: Floats, top: int) -> tuple[NDArray[np.int8], Floats]:
    """Rows as integers from -top to top, and each row's scale: row is about integers * scale.

    The scale with the least squared error of those that let the largest weights saturate.
    """
    largest = np.abs(rows).max(axis=1, keepdims=True)
    largest[largest == 0] = 1.0
    best, scale = np.full(len(rows), np.inf), largest[:, 0] / top
    for cut in _CUTS:
        s = largest * cut / top
        error = ((np.clip(np.rint(rows / s), -top, top) * s - rows) ** 2).sum(axis=1)
        scale = np.where(error < best, s[:, 0], scale)
        best = np.minimum(error, best)
    integers = np.clip(np.rint(rows / scale[:, None]), -top, top)
    return integers.astype(np.int8), scale


def _with_steps(
    made: AkidaNetwork,
    scales: list[Floats],
    raw: NDArray[Any],
    validation: tuple[NDArray[Any], NDArray[Any]],
) -> AkidaNetwork:
    """Steps from raw rows; each layer's share in turn the one that answers validation rows best."""
    shares = [SHARES[0]] * (len(scales) + 1)
    best, right = made, -1
    for i in range(len(shares)):
        before = shares[i]
        for share in SHARES:
            if i and share == before:  # tried
                continue
            trial = [*shares[:i], share, *shares[i + 1 :]]
            candidate = _steps(made, scales, raw, trial)
            count = int((_answers(candidate, validation[0]) == validation[1]).sum())
            if count > right:
                best, right, shares = candidate, count, trial
    return best


def _steps(made: AkidaNetwork, scales: list[Floats], raw: NDArray[Any], shares: list[float]) -> AkidaNetwork:
    """The network with steps that cover these shares of what is positive."""
    input_step = max(1, int(np.ceil(_covering(raw, shares[0]) / INPUT_TOP)))
    x, steps = events_of(raw, input_step), []
    for weight, scale, share in zip(made.weights, scales, shares[1:], strict=True):
        p = potentials(weight, x)
        step = _covering(p * scale, share) / ((1 << made.act_bits) - 1)
        steps.append(np.clip(np.rint(step / scale), 1, np.iinfo(np.int32).max).astype(np.int32))
        x = activations(p, steps[-1], made.act_bits)
    return replace(made, act_steps=tuple(steps), input_step=input_step)


def _covering(values: NDArray[Any], share: float) -> float:
    """What so many of the positive values lie below; 1 where none is positive."""
    positive = values[values > 0]
    return float(np.quantile(positive, share)) if positive.size else 1.0


def _answers(network: AkidaNetwork, raw: NDArray[Any]) -> NDArray[np.int64]:
    """As `predict`, of raw integers."""
    return replace(network, input_scale=None).predict(raw)
