"""One step of a spiking network as ExecuTorch program, in operators that XNNPACK takes as one subgraph."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from edgehff.export import metadata
from edgehff.export.executorch import Built, lowered
from edgehff.export.step import StepLayer, StepProgram, step_of
from edgehff.model.spiking_network import SpikingNetwork


def build(network: SpikingNetwork, backend: str = "xnnpack", max_batch: int = 1) -> Built:
    """The network's step as an ExecuTorch program.

    Method `forward` takes and returns what StepProgram says, (batch, width), float32, 1 <= batch <=
    max_batch. Method `edgehff_metadata` returns the JSON document.

    Raises:
        RecipeError: float32 does not hold the membranes; names the layer.
        CheckFailed: XNNPACK left an operator, or took the graph in more than one part.
    """
    program = step_of(network)
    target = {
        "target": "executorch", "backend": backend, "max_batch": max_batch,
        "torch": torch.__version__.split("+")[0],
    }  # fmt: skip
    x, *state = (torch.zeros(max_batch, width) for width in program.inputs.values())
    n = len(program.layers)
    examples = (x, state[:n], state[n:])
    document = metadata.to_text(program.document(target))
    return lowered(StepModule(program).eval(), examples, backend, max_batch, document)


class StepModule(nn.Module):
    """A StepProgram in torch; state goes in and comes out, nothing is kept."""

    def __init__(self, program: StepProgram) -> None:
        super().__init__()
        self.program = program
        for i, layer in enumerate(program.layers):
            self._add_layer(i, layer)
        if program.n_per_class > 1:
            n = len(program.network.class_names)
            self._add(
                "class_mean", np.kron(np.eye(n), np.full((1, program.n_per_class), 1 / program.n_per_class))
            )

    def forward(self, x: Tensor, membranes: list[Tensor], counts: list[Tensor]) -> tuple[Tensor, ...]:
        """The answer, spikes of each layer, new membranes, new counts."""
        fired, state, heads, total = [], [], [], None
        for i, layer in enumerate(self.program.layers):
            spikes, membrane = self.neurons(i, membranes[i], self.current(i, x))
            x, head = self.pooled(i, spikes)
            fired.append(spikes)
            state.append(membrane)
            heads.append(counts[i] + head)
            if layer.share:
                part = self.similarity(i, heads[i]) * layer.share
                total = part if total is None else total + part
        assert total is not None
        return (total, *fired, *state, *heads)

    def current(self, i: int, x: Tensor) -> Tensor:
        """What flows into the neurons, (batch, neurons)."""
        layer, weight = self.program.layers[i], self._get(f"weight_{i}")
        conv, map_in = layer.shape.conv, layer.shape.map_in
        if conv is None or map_in is None:
            return functional.linear(x, weight)
        groups = conv.channels if conv.kind == "depthwise" else 1
        y = x.reshape(-1, *map_in).permute(0, 3, 1, 2)
        y = functional.conv2d(y, weight, stride=conv.stride, padding=conv.padding, groups=groups)
        y = y.permute(0, 2, 3, 1).contiguous()  # XNNPACK leaves a reshape of what lies in another order
        if layer.shape.window > 1:
            (high, wide), columns = conv.pool_size, layer.computed[1]
            y = (
                y.reshape(-1, high, columns // wide, wide * layer.shape.n_out)
                .permute(0, 2, 1, 3)
                .contiguous()
            )
        return y.reshape(-1, layer.neurons)

    def neurons(self, i: int, membrane: Tensor, current: Tensor) -> tuple[Tensor, Tensor]:
        """Spikes and new membranes.

        XNNPACK has no comparison: what lies above 0 by however little has a ceiling of 1 or more.
        """
        threshold = self.program.layers[i].threshold
        u = current + (membrane if self.program.beta == 1 else membrane * self.program.beta)
        spikes = torch.clamp(torch.ceil(u - threshold), 0.0, 1.0)
        return spikes, u - spikes * (threshold if self.program.subtracts else u)

    def pooled(self, i: int, spikes: Tensor) -> tuple[Tensor, Tensor]:
        """Spikes as the next layer gets them, and summed over the grid as the prototypes see them."""
        layer = self.program.layers[i]
        conv, channels = layer.shape.conv, layer.shape.n_out
        if conv is None:
            return spikes, spikes
        pooled = spikes.reshape(-1, 1, layer.shape.positions * layer.shape.window, channels)
        if conv.pool != "none":
            pooled = functional.conv2d(pooled, self._get(f"window_{i}"), stride=(layer.shape.window, 1))
        if conv.pool == "max":
            pooled = torch.clamp(pooled, 0.0, 1.0)
        cells = functional.conv2d(pooled, self._get(f"cells_{i}"))
        return pooled.reshape(-1, layer.shape.positions * channels), cells.reshape(-1, layer.shape.head)

    def similarity(self, i: int, count: Tensor) -> Tensor:
        """The layer's class similarities; cosines need no maximum taken off before exp."""
        length = torch.sqrt(functional.linear(count * count, self._get(f"ones_{i}"))) + self.program.half
        cosine = functional.linear(count / length, self._get(f"prototypes_{i}"))
        if self.program.n_per_class == 1:
            return cosine
        scale = self.program.scale
        return torch.log(functional.linear(torch.exp(cosine * scale), self._get("class_mean"))) * (1 / scale)

    def _add_layer(self, i: int, layer: StepLayer) -> None:
        self._add(f"weight_{i}", layer.weight if layer.shape.conv is None else _ending(layer))
        self._add(f"prototypes_{i}", layer.prototypes * layer.prototype_scales[:, None])
        self._add(f"ones_{i}", np.ones((1, layer.shape.head)))
        if layer.shape.conv is not None:
            self._add(f"window_{i}", np.ones((1, 1, layer.shape.window, 1)))
            self._add(f"cells_{i}", layer.cells[:, None, :, None])

    def _add(self, name: str, value: NDArray[Any]) -> None:
        self.register_buffer(name, torch.from_numpy(np.array(value, dtype=np.float32, order="C")))

    def _get(self, name: str) -> Tensor:
        value: Tensor = getattr(self, name)
        return value


def _ending(layer: StepLayer) -> NDArray[np.int8]:
    """Kernels with zeros behind them, so that a map ends where pooling leaves nothing over.

    A slice would do it too, but XNNPACK leaves it where the batch has no fixed size.
    """
    conv, map_in = layer.shape.conv, layer.shape.map_in
    assert conv is not None
    assert map_in is not None
    behind = []
    for size, padding, kernel, stride, computed in zip(
        map_in[:2], conv.padding, conv.kernel, conv.stride, layer.computed, strict=True
    ):
        behind.append((0, max(0, size + 2 * padding - kernel - computed * stride + 1)))
    return np.pad(layer.weight, [(0, 0), (0, 0), *behind])
