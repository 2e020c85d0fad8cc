"""Layers in a row, as a torch module, from and to the float network as data."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgehff.model.encoding import Encoding
from edgehff.model.float_network import FloatLayer, FloatNetwork, join_shares
from edgehff.nn.conv import HFFConv2d
from edgehff.nn.layer import HFFLayer
from edgehff.nn.linear import HFFLinear
from edgehff.recipe import Recipe


class HFFNetwork(nn.Module):
    """HFF layers, joined as a recipe says; inputs are encoded unit vectors, (n, n_in), float32.

    layers: HFFConv2d and then HFFLinear, from the input on.
    """

    def __init__(
        self, recipe: Recipe, n_in: int, n_classes: int, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.recipe = recipe
        self.n_classes = n_classes
        options: dict[str, Any] = {
            "n_per_class": recipe.prototypes_per_class,
            "scale": recipe.scale,
            "margin": recipe.margin,
            "gate": recipe.gate,
            "generator": generator,
        }
        self.layers = nn.ModuleList(
            HFFLinear(shape.n_in, shape.n_out, n_classes, **options)
            if shape.conv is None or shape.map_in is None
            else HFFConv2d(shape.map_in, shape.conv, n_classes, **options)
            for shape in recipe.shapes(n_in)
        )

    def layer_similarities(self, x: Tensor) -> Tensor:
        """Each layer's class similarities, (n, n_layers, n_classes)."""
        out = []
        for layer in self.layers:
            assert isinstance(layer, HFFLayer)
            x = layer(x)
            out.append(layer.similarities(x))
        return torch.stack(out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """The joined similarity of each class, (n, n_classes), -1 to 1; the answer is its largest."""
        return self.join(self.layer_similarities(x))

    def join(self, similarities: Tensor) -> Tensor:
        """The layers' similarities (n, n_layers, n_classes) in one a class, (n, n_classes)."""
        return join(self.recipe, similarities)

    def to_data(
        self,
        class_names: tuple[str, ...],
        encoding: Encoding,
        *,
        norm_means: list[float] | None = None,
        step: int = 0,
    ) -> FloatNetwork:
        """The network as data, copied.  norm_means: mean norm of each layer over training samples."""
        means = norm_means or [0.0] * len(self.layers)
        layers = []
        for layer, mean in zip(self.layers, means, strict=True):
            weight, prototypes = (p.detach().cpu().numpy().astype(np.float32) for p in layer.parameters())
            layers.append(FloatLayer(weight, prototypes, float(mean)))
        return FloatNetwork(self.recipe, class_names, encoding, tuple(layers), step)

    @classmethod
    def from_data(cls, network: FloatNetwork) -> HFFNetwork:
        """The network of data, on the CPU."""
        sizes = network.encoding.n_features, len(network.class_names)
        out = cls(network.recipe, *sizes, torch.Generator())
        with torch.no_grad():
            for layer, data in zip(out.layers, network.layers, strict=True):
                for parameter, array in zip(layer.parameters(), (data.weight, data.prototypes), strict=True):
                    parameter.copy_(torch.from_numpy(array.copy()))
        return out


def join(recipe: Recipe, similarities: Tensor) -> Tensor:
    """The layers' similarities (n, n_layers, n_classes) in one a class, (n, n_classes)."""
    shares = torch.tensor(join_shares(recipe), dtype=similarities.dtype, device=similarities.device)
    return torch.einsum("nlc,l->nc", similarities, shares)
