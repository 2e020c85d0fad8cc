"""Runs of a spiking network in numpy, spike by spike.

Weights, inputs and thresholds are integers, and sums of them are exact in float64: with beta = 1 there is no
rounding anywhere before the cosines.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehff import spec
from edgehff.geometry import LayerShape
from edgehff.model.float_network import joined
from edgehff.model.spiking_network import HALF, SpikingNetwork
from edgehff.spiking.encode import drive_of, steps_of

_ELEMENTS = 1 << 22
Float = NDArray[np.float64]


@dataclass(frozen=True)
class Run:
    """What n samples did, each up to the step that it was answered at.

    answers: (n,), classes.  steps: (n,), until the answer.  by_step: (steps, n), what would be answered after
    each.  leads: (steps, n), of the best class's cosine before the second's.  spikes: (n_layers,), of all
    samples.  operations: (n_layers,), synaptic, as NeuroBench counts them: nonzero inputs that met a nonzero
    weight, at every step.  once: the first layer's products where its current stays the same for all steps
    (code "direct"), and has to be computed only once; 0 otherwise.  slots: (n_layers,), of neurons and steps.
    """

    answers: NDArray[np.int64]
    steps: NDArray[np.int64]
    by_step: NDArray[np.int64]
    leads: Float
    spikes: NDArray[np.int64]
    operations: NDArray[np.int64]
    slots: NDArray[np.int64]
    once: int

    @property
    def work(self) -> float:
        """Operations a sample, the products of a constant current counted once."""
        later = self.operations[1:].sum() if self.once else self.operations.sum()
        return float(self.once + later) / len(self.answers)

    @property
    def rates(self) -> Float:
        """Spikes a neuron and step, by layer."""
        return self.spikes / np.maximum(self.slots, 1)


def spikes_of(network: SpikingNetwork, x: NDArray[np.int16]) -> Iterator[list[NDArray[np.bool_]]]:
    """Step by step, each layer's neurons that fire, of encoded samples (n, n_in), before pooling.

    Shapes (n, n_out); of a convolution (n, positions after pooling, positions of a window, channels).
    """
    for fired, _, _ in _steps(network, x):
        yield fired


def membranes_of(network: SpikingNetwork, x: NDArray[np.int16]) -> Iterator[list[Float]]:
    """Step by step, each layer's membranes before they may fire; shapes as of spikes_of."""
    for _, _, charged in _steps(network, x):
        yield charged


def cosines_of(network: SpikingNetwork, x: NDArray[np.int16]) -> Iterator[Float]:
    """Step by step, the joined cosine of each class, (n, n_classes), of encoded samples (n, n_in)."""
    shapes = network.recipe.shapes(network.n_in)
    counts: list[Float] = []
    for fired in spikes_of(network, x):
        counts = _counted(shapes, counts, fired)
        yield _cosines(network, shapes, counts)


def run(network: SpikingNetwork, x: NDArray[np.int16], exit_margin: float | None = None) -> Run:
    """Answer encoded samples, int16 Q14, (n, n_in).

    exit_margin: in place of the recipe's; 0: after all steps.
    """
    parts = [_run(network, part, exit_margin) for part in _parts(network, x)]
    columns = ([getattr(part, name) for part in parts] for name in Run.__dataclass_fields__)
    answers, steps, by_step, leads, spikes, operations, slots, once = columns
    return Run(
        np.concatenate(answers),
        np.concatenate(steps),
        np.concatenate(by_step, axis=1),
        np.concatenate(leads, axis=1),
        np.sum(spikes, axis=0),
        np.sum(operations, axis=0),
        np.sum(slots, axis=0),
        int(np.sum(once)),
    )


def _run(network: SpikingNetwork, x: NDArray[np.int16], exit_margin: float | None) -> Run:
    recipe, n = network.recipe, len(x)
    margin = recipe.spiking.exit_margin if exit_margin is None else exit_margin
    shapes = recipe.shapes(network.n_in)
    counts: list[Float] = []
    answers, steps = np.zeros(n, np.int64), np.zeros(n, np.int64)
    by_step, leads, totals, once = [], [], np.zeros((3, len(shapes)), np.int64), 0
    for step, (fired, inputs, _) in enumerate(_steps(network, x)):
        going = steps == 0
        counts = _counted(shapes, counts, fired)
        cosines = _cosines(network, shapes, counts)
        by_step.append(cosines.argmax(axis=1))
        best = np.sort(cosines, axis=1)
        leads.append(best[:, -1] - best[:, -2])
        done = going & ((leads[-1] > margin) if margin else np.zeros(n, np.bool_))
        if step + 1 == recipe.spiking.steps:
            done = going
        answers[done], steps[done] = by_step[-1][done], step + 1
        for i, (shape, layer) in enumerate(zip(shapes, network.layers, strict=True)):
            totals[0, i] += int(fired[i][going].sum())
            totals[1, i] += int(currents(shape, layer.weight != 0, inputs[i][going] != 0).sum())
            totals[2, i] += fired[i][going].size
        if step == 0 and recipe.spiking.code == "direct":
            once = int(totals[1, 0])
    return Run(answers, steps, np.array(by_step), np.array(leads), totals[0], totals[1], totals[2], once)


def _steps(
    network: SpikingNetwork, x: NDArray[np.int16]
) -> Iterator[tuple[list[NDArray[np.bool_]], list[Float], list[Float]]]:
    """Each layer's spikes before pooling, its inputs, and membranes before the spikes."""
    r = network.recipe
    shapes = r.shapes(network.n_in)
    membranes: list[Float | float] = [0.0] * len(shapes)
    drive = drive_of(r.spiking, network.gain, x)
    constant: Float | None = None
    is_constant = r.spiking.code == "direct"
    for step in steps_of(r.spiking, drive, r.seed):
        seen: Float = step.astype(np.float64)
        fired, inputs, charged = [], [], []
        for i, (shape, layer) in enumerate(zip(shapes, network.layers, strict=True)):
            known = constant if i == 0 else None
            current = currents(shape, layer.weight, seen) if known is None else known
            if i == 0 and is_constant:
                constant = current
            u = r.spiking.beta * membranes[i] + current
            spikes = u > layer.threshold + 0.5
            membranes[i] = np.where(
                spikes, 0.0 if r.spiking.reset == "zero" else u - layer.threshold - 0.5, u
            )
            charged.append(u)
            fired.append(spikes)
            inputs.append(seen)
            seen = _pooled(shape, spikes)
        yield fired, inputs, charged


def currents(shape: LayerShape, weight: NDArray[np.generic], x: NDArray[np.generic]) -> Float:
    """What flows into the neurons: shapes as of spikes_of; float64, exact."""
    w, wide = weight.astype(np.float64), x.astype(np.float64)
    out: Float = wide @ w.T if shape.conv is None else spec.windows(shape, w, wide)[1]
    return out


def _pooled(shape: LayerShape, spikes: NDArray[np.bool_]) -> Float:
    """Spikes as the next layer gets them, (n, elements): whether any of a window fired; "mean": how many."""
    if shape.conv is None:
        return spikes.astype(np.float64)
    out: NDArray[Any] = spikes.sum(axis=2) if shape.conv.pool == "mean" else np.any(spikes, axis=2)
    return out.reshape(len(out), -1).astype(np.float64)


def _counted(
    shapes: tuple[LayerShape, ...], counts: list[Float], fired: list[NDArray[np.bool_]]
) -> list[Float]:
    """Counts of the steps before, none at the first, and of this one."""
    pooled = [_pooled(shape, spikes) for shape, spikes in zip(shapes, fired, strict=True)]
    return [c + p for c, p in zip(counts, pooled, strict=True)] if counts else pooled


def _cosines(network: SpikingNetwork, shapes: tuple[LayerShape, ...], counts: list[Float]) -> Float:
    """The joined cosine of each class, (n, n_classes)."""
    r = network.recipe
    out = []
    for shape, layer, count in zip(shapes, network.layers, counts, strict=True):
        head = count
        if shape.conv is not None:
            cells = spec.cell_matrix(shape).astype(np.float64)
            head = (cells @ count.reshape(len(count), cells.shape[1], -1)).reshape(len(count), -1)
        rows = layer.prototypes.reshape(-1, shape.head).astype(np.float64)
        rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1)
        unit = head / (np.linalg.norm(head, axis=1, keepdims=True) + HALF)
        out.append(spec.similarities(unit @ rows.T, r.prototypes_per_class, r.scale))
    return joined(np.stack(out, axis=1), r)


def dense_operations(network: SpikingNetwork) -> list[int]:
    """Products of one step of each layer, were all inputs and weights nonzero; padding counts as input."""
    return [shape.products for shape in network.recipe.shapes(network.n_in)]


def _parts(network: SpikingNetwork, x: NDArray[np.int16]) -> list[NDArray[np.int16]]:
    """Rows that go through at once."""
    shapes = network.recipe.shapes(network.n_in)
    largest = max(s.n_in * s.positions * s.window for s in shapes if s.conv) if shapes[0].conv else 0
    n = max(1, min(1024, _ELEMENTS // max(largest, *(s.n_in for s in shapes))))
    return [x[start : start + n] for start in range(0, max(len(x), 1), n)]
