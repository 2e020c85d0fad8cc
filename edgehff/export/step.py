"""One step of a spiking network as data: what step files compute, before it is ONNX or a torch module.

    u = beta * membrane + W x;  spikes = u > threshold      for each layer; thresholds half off the integers
    membrane = 0 or u - threshold where it spikes, else u   the reset "zero" or "subtract"
    count = count + spikes, pooled, summed over the grid    the next layer takes the pooled spikes
    S = log-mean-exp over the class's prototypes of P count / (|count| + 1/2)
    similarity = sum over layers of share * S               of the counts after this step

All of it is one program: state goes in and comes out again, zeros at the start of a sample, and a device has
an answer after each step. A second program for answers alone would hold the counts of the first, and save no
more than the products with the prototypes.

Neurons are numbered as in `edgehff.spiking.simulate`: position after pooling, position of its window,
channel. Membranes are integers (of "subtract" halves) that float32 holds exactly where beta is 1: no order
of sums changes a spike. With another beta a membrane is rounded; the proof at export is on samples then.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import edgehff
from edgehff import spec
from edgehff.errors import RecipeError
from edgehff.export.metadata import STEP_FORMAT
from edgehff.export.program import kernels
from edgehff.geometry import LayerShape
from edgehff.model.float_network import join_shares
from edgehff.model.spiking_network import HALF, SpikingNetwork

Float = NDArray[np.float32]
EXACT = 1 << 24
"""Up to here float32 holds every integer."""


@dataclass(frozen=True, eq=False)
class StepLayer:
    """One layer.

    weight: int8, (n_out, n_in); of a convolution (channels, those of the input that a channel sees, kernel's
        height, width).
    threshold: half off the integers.  prototypes: int16, (n_classes * n_per_class, head).
    prototype_scales: float32, (n_classes * n_per_class,), which bring the rows to length 1.
    share: what this layer's similarity counts in the answer.
    """

    shape: LayerShape
    weight: NDArray[np.int8]
    threshold: float
    prototypes: NDArray[np.int16]
    prototype_scales: Float
    share: float

    @property
    def neurons(self) -> int:
        """All of them, before pooling."""
        return self.shape.positions * self.shape.window * self.shape.n_out

    @property
    def computed(self) -> tuple[int, int]:
        """Rows and columns of a convolution's map that pooling leaves nothing over of."""
        assert self.shape.conv is not None
        assert self.shape.map_out is not None
        (height, width), size = self.shape.map_out[:2], self.shape.conv.pool_size
        return height * size[0], width * size[1]

    @property
    def cells(self) -> Float:
        """Of a convolution, the sums over its grid: (cells, positions)."""
        return spec.cell_matrix(self.shape)


@dataclass(frozen=True, eq=False)
class StepProgram:
    """A network's step.  n_in: inputs of one step."""

    network: SpikingNetwork
    layers: tuple[StepLayer, ...]
    n_in: int
    n_per_class: int
    scale: float
    beta: float
    subtracts: bool
    half: float = HALF

    @property
    def inputs(self) -> dict[str, int]:
        """Names and widths, in order: the step's input, a membrane of each layer, counts of each layer."""
        return {"x": self.n_in, **self._state("membrane", "count")}

    @property
    def outputs(self) -> dict[str, int]:
        """Names and widths, in order: the answer, spikes of each layer, new membranes, new counts."""
        spikes = {f"spikes_{i}": layer.neurons for i, layer in enumerate(self.layers)}
        state = self._state("new_membrane", "new_count")
        return {"similarity": len(self.network.class_names), **spikes, **state}

    def document(self, target: dict[str, Any]) -> dict[str, Any]:
        """The metadata of a file.  target: name, backend, and what else the format has to say."""
        n, s = self.network, self.network.recipe.spiking
        return {
            "format": STEP_FORMAT,
            "edgehff_version": edgehff.__version__,
            "weights_crc32": f"{n.weights_crc32:08x}",
            "class_names": list(n.class_names),
            "steps": s.steps,
            "code": s.code,
            "levels": s.levels,
            "delta": s.delta,
            "gain": n.gain,
            "seed": n.recipe.seed,
            "exit_margin": s.exit_margin,
            "beta": s.beta,
            "reset": s.reset,
            "thresholds": [layer.threshold for layer in self.layers],
            "maps": [list(layer.shape.map_out) for layer in self.layers if layer.shape.map_out],
            "neurons": [layer.neurons for layer in self.layers],
            "neuron_order": "position after pooling, position of its window, channel",
            "prototypes_per_class": self.n_per_class,
            "scale": self.scale,
            "join": n.recipe.join,
            "join_shares": [layer.share for layer in self.layers],
            "inputs": list(self.inputs),
            "input_widths": list(self.inputs.values()),
            "outputs": list(self.outputs),
            "output_widths": list(self.outputs.values()),
            "input_dtype": "float32",
            "input_meaning": "the step's levels or spikes; state: zeros before a sample, then what came out",
            "output_meaning": "cosine of each class after this step, whose largest is the answer; spikes of "
            "each layer; the next step's state",
            **target,
        }

    def _state(self, membrane: str, count: str) -> dict[str, int]:
        membranes = {f"{membrane}_{i}": layer.neurons for i, layer in enumerate(self.layers)}
        return membranes | {f"{count}_{i}": layer.shape.head for i, layer in enumerate(self.layers)}


def step_of(network: SpikingNetwork) -> StepProgram:
    """The step of a network.

    Raises:
        RecipeError: membranes or counts may leave the integers of float32; names the layer and the number.
    """
    r = network.recipe
    layers = []
    for shape, layer, share in zip(r.shapes(network.n_in), network.layers, join_shares(r), strict=True):
        rows = layer.prototypes.reshape(-1, shape.head)
        lengths = np.linalg.norm(rows.astype(np.float64), axis=1)
        scales = (1 / np.maximum(lengths, 1)).astype(np.float32)
        weight = layer.weight if shape.conv is None else np.ascontiguousarray(kernels(shape, layer.weight))
        layers.append(StepLayer(shape, weight, layer.threshold + 0.5, rows, scales, share))
    low, high = _input_range(network)
    for i, step in enumerate(layers):
        _check_exact(network, i, step, low, high)
        mean = step.shape.conv is not None and step.shape.conv.pool == "mean"
        low, high = 0, step.shape.window if mean else 1
    s = r.spiking
    return StepProgram(
        network, tuple(layers), network.n_in, r.prototypes_per_class, r.scale, s.beta, s.reset == "subtract"
    )


def _input_range(network: SpikingNetwork) -> tuple[int, int]:
    """The least and the largest that an input of the first layer can be."""
    s = network.recipe.spiking
    ranges = {"direct": (-s.levels, s.levels), "events": (-s.levels, s.levels), "delta": (0, s.levels)}
    return ranges.get(s.code, (0, 1))


def _check_exact(network: SpikingNetwork, i: int, layer: StepLayer, low: int, high: int) -> None:
    """RecipeError where all steps of the worst inputs could leave the integers, of "subtract" the halves."""
    s = network.recipe.spiking
    weight = layer.weight.reshape(len(layer.weight), -1).astype(np.int64)
    above, below = weight.clip(min=0).sum(axis=1), -weight.clip(max=0).sum(axis=1)
    most, least = int((above * high - below * low).max()), int((below * high - above * low).max())
    kept = sum(s.beta**step for step in range(s.steps))
    subtracts = s.reset == "subtract"
    upwards = most * kept if subtracts else most + layer.threshold
    counts = s.steps * layer.shape.positions * layer.shape.window
    limit = EXACT // 2 if subtracts else EXACT
    reach = {
        "a threshold": (layer.threshold, EXACT // 2),
        "membranes": (max(upwards, least * kept), limit),
        "counts": (counts, EXACT),
    }
    for name, (number, most_exact) in reach.items():
        if number >= most_exact:
            raise RecipeError(
                f"layer {i}: {name} of up to {number:,.0f}, float32 is exact below {most_exact:,}",
                hint="fewer levels, fewer steps or a narrower layer, and train again",
            )
