"""The models of bench.methods that torch trains by backpropagation."""

from __future__ import annotations

import math

from torch import Tensor, nn

from edgehff.data.dataset import Dataset
from edgehff.nn.layer import HFFLayer
from edgehff.nn.network import HFFNetwork
from edgehff.recipe import Recipe
from edgehff.train import backprop
from edgehff.train.events import Trained


class LinearHead(nn.Module):
    """Softmax regression on unit vectors, which it scales so that their elements are about 1."""

    def __init__(self, n_in: int, n_classes: int) -> None:
        super().__init__()
        self.n_classes = n_classes
        self.linear = nn.Linear(n_in, n_classes)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        self._scale = math.sqrt(n_in)

    def forward(self, u: Tensor) -> Tensor:
        """Logits of unit vectors (n, n_in)."""
        logits: Tensor = self.linear(u * self._scale)
        return logits

    def loss(self, u: Tensor, label: Tensor) -> Tensor:
        """Mean cross-entropy, in nats."""
        return nn.functional.cross_entropy(self(u), label)

    def after_step(self) -> None:
        """Nothing is to be kept on a sphere."""


class EndToEndNetwork(nn.Module):
    """The layers of an HFFNetwork with the last one's loss alone, whose gradient goes through all of them."""

    def __init__(self, network: HFFNetwork) -> None:
        super().__init__()
        self.n_classes = network.n_classes
        self.layers = network.layers

    def _seen(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The last layer's direction, and what its prototypes see."""
        head = x
        for layer in self.layers:
            assert isinstance(layer, HFFLayer)
            x, head, _ = layer.parts(x)
        return x, head

    def forward(self, x: Tensor) -> Tensor:
        """The last layer's similarities of encoded unit vectors (n, n_in)."""
        return self._last.similarities(self._seen(x)[0])

    def loss(self, x: Tensor, label: Tensor) -> Tensor:
        """The last layer's mean loss, in nats."""
        return self._last.head_loss(self._seen(x)[1], label)

    def after_step(self) -> None:
        """Bring the last layer's prototypes back on the sphere."""
        self._last.normalize()

    @property
    def _last(self) -> HFFLayer:
        last = self.layers[-1]
        assert isinstance(last, HFFLayer)
        return last


def backprop_network(recipe: Recipe, rows: Dataset) -> EndToEndNetwork:
    """The recipe's network, trained end to end by [pretrain]."""
    for event in backprop.train(recipe.replace(arith="float"), rows):
        if isinstance(event, Trained):
            network = HFFNetwork.from_data(event.network)
            for layer in network.layers[:-1]:
                assert isinstance(layer, HFFLayer)
                layer.prototypes.requires_grad_(False)
            return EndToEndNetwork(network)
    raise AssertionError("train ends with Trained")
