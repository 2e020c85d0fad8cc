"""A spiking HFF layer: synapses without bias, neurons, and prototypes that see how often each one fired."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgehff import spec
from edgehff.geometry import LayerShape
from edgehff.model.spiking_network import HALF, SpikingNetwork
from edgehff.recipe import Recipe
from edgehff.spiking.neuron import HFFLeaky


class SpikingHFFLayer(nn.Module):
    """Answers by the cosine of its spike count to its own prototypes, and learns from its own error.

    synapses: nn.Linear or nn.Conv2d without bias.  neurons: HFFLeaky.  Pooling: "max" gives a spike where any
    of the window fires, which is where its largest membrane does; "mean" gives their number.
    prototypes: parameter, (n_classes, n_per_class, shape.head), unit rows; `normalize` keeps them so.
    Spikes between layers are flat, (n, elements of a map in the order height, width, channels).
    """

    def __init__(
        self,
        shape: LayerShape,
        n_classes: int,
        *,
        beta: float = 1.0,
        reset: str = "zero",
        n_per_class: int = 1,
        scale: float = 16.0,
        margin: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.shape, self.n_per_class, self.scale, self.margin = shape, n_per_class, scale, margin
        self.synapses = _synapses(shape)
        self.neurons = HFFLeaky(beta, reset=reset)
        size = self.synapses.weight.shape
        with torch.no_grad():
            self.synapses.weight.copy_(torch.randn(*size, generator=generator) * 2 * (2 / shape.n_in) ** 0.5)
        self.prototypes = nn.Parameter(torch.randn(n_classes, n_per_class, shape.head, generator=generator))
        self.normalize()

    def forward(self, x: Tensor, v: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(spikes for the next layer, membranes) of one step of input spikes or currents, (n, n inputs)."""
        spikes, v = self.neurons(self.current(x), v)
        return self.pooled(spikes), v

    def current(self, x: Tensor) -> Tensor:
        """What flows into the neurons: (n, n_out), of a convolution (n, channels, height, width)."""
        if self.shape.map_in is not None:
            height, width, channels = self.shape.map_in
            x = x.reshape(-1, height, width, channels).permute(0, 3, 1, 2)
        out: Tensor = self.synapses(x)
        return out

    def pooled(self, spikes: Tensor) -> Tensor:
        """Spikes of the neurons as the next layer gets them, flat."""
        conv = self.shape.conv
        if conv is None:
            return spikes
        if conv.pool == "max":
            spikes = functional.max_pool2d(spikes, conv.pool_size)
        elif conv.pool == "mean":
            area = conv.pool_size[0] * conv.pool_size[1]
            spikes = functional.avg_pool2d(spikes, conv.pool_size) * area
        return spikes.permute(0, 2, 3, 1).flatten(1)

    def head(self, count: Tensor) -> Tensor:
        """What prototypes see of spike counts, (n, shape.head): of a map the sums over its grid's cells."""
        if self.shape.map_out is None:
            return count
        cells = torch.from_numpy(spec.cell_matrix(self.shape)).to(count)
        return (cells @ count.reshape(len(count), cells.shape[1], -1)).flatten(1)

    def similarities(self, count: Tensor) -> Tensor:
        """Class similarities of spike counts, (n, n_classes): cosines, of few spikes smaller."""
        head = self.head(count)
        unit = head / (head.norm(dim=1, keepdim=True) + HALF)
        rows = functional.normalize(self.prototypes.flatten(0, 1), dim=1)
        out: Tensor = spec.similarities(unit @ rows.T, self.n_per_class, self.scale)
        return out

    def matrix(self) -> Tensor:
        """The weights as (n_out, n_in), a kernel's in the order height, width, channels."""
        weight = self.synapses.weight.detach()
        return weight if self.shape.conv is None else weight.permute(0, 2, 3, 1).flatten(1)

    @torch.no_grad()
    def set_matrix(self, matrix: Tensor) -> None:
        """Take weights as `matrix` gives them."""
        weight, conv = self.synapses.weight, self.shape.conv
        if conv is not None:
            matrix = matrix.reshape(len(weight), *conv.kernel, -1).permute(0, 3, 1, 2)
        weight.copy_(matrix)

    @torch.no_grad()
    def normalize(self) -> None:
        """Bring the prototypes back on the sphere, after a step."""
        self.prototypes.div_(self.prototypes.norm(dim=-1, keepdim=True))


def layers_of(
    recipe: Recipe, n_in: int, n_classes: int, generator: torch.Generator | None = None
) -> list[SpikingHFFLayer]:
    """New layers of a recipe, their start values drawn by the generator."""
    options: dict[str, Any] = {
        "beta": recipe.spiking.beta,
        "reset": recipe.spiking.reset,
        "n_per_class": recipe.prototypes_per_class,
    }
    return [
        SpikingHFFLayer(
            shape, n_classes, scale=recipe.scale, margin=recipe.margin, generator=generator, **options
        )
        for shape in recipe.shapes(n_in)
    ]


def layers_from(network: SpikingNetwork) -> list[SpikingHFFLayer]:
    """The layers of a network in integers, which float32 holds exactly."""
    layers = layers_of(network.recipe, network.n_in, len(network.class_names))
    with torch.no_grad():
        for layer, data in zip(layers, network.layers, strict=True):
            layer.set_matrix(torch.from_numpy(data.weight.astype("float32")))
            layer.neurons.threshold.fill_(data.threshold + 0.5)
            layer.prototypes.copy_(torch.from_numpy(data.prototypes.astype("float32")))
            layer.normalize()
    return layers


def _synapses(shape: LayerShape) -> nn.Linear | nn.Conv2d:
    if shape.conv is None or shape.map_in is None:
        return nn.Linear(shape.n_in, shape.n_out, bias=False)
    c = shape.conv
    channels = shape.map_in[2]
    groups = channels if c.kind == "depthwise" else 1
    return nn.Conv2d(channels, c.channels, c.kernel, c.stride, c.padding, groups=groups, bias=False)
