"""The same network trained end to end by backpropagation: what local training is measured against."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from edgehff.data.dataset import Dataset
from edgehff.model.float_network import FloatNetwork
from edgehff.recipe import Recipe
from edgehff.train import float as local
from edgehff.train.events import Advanced, EpochDone, Trained


def train(
    recipe: Recipe, rows: Dataset, validation: Dataset | None = None, *, device: str = "cpu"
) -> Iterator[Advanced | EpochDone | Trained[FloatNetwork]]:
    """Train a new float network on rows as train.float does, but for where gradients come from.

    Start values, order, batches, optimizer, rates, dropout and changed maps are those of recipe.pretrain. The
    loss is the last layer's alone, over all samples (a gate would hold back what other layers need), and its
    gradient goes through all layers. The network answers by its last layer, whatever recipe.join says.
    """
    last = recipe.replace(join="last", join_weights=())
    return local.train(last, rows, validation, device=device, learner=EndToEnd)


class EndToEnd(local.Learner):
    """Takes steps along the gradient of the last layer's loss by every layer's weights."""

    def learn(self, x: Tensor, label: Tensor) -> int:
        """One step of every layer from a batch; how many samples were right before it."""
        last = self.layers[-1]
        u, head = x, x
        for layer in self.layers:
            u, head, _ = layer.parts(self._dropped(u))
        parameters = [*(layer.weight for layer in self.layers), last.prototypes]
        gradients = torch.autograd.grad(last.head_loss(head, label), parameters)
        with torch.no_grad():
            right = int((last.similarities(u).argmax(1) == label).sum())
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient
            for layer, optimizer in zip(self.layers, self.optimizers, strict=True):
                self._move(layer, optimizer)
            self.step += 1
            self.learned = [n + len(x) for n in self.learned]
            return right
