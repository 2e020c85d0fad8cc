"""Local training in floating point, in torch: each layer by its own optimizer, in one pass, no autograd."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgehff.core import ONE, sizes
from edgehff.data.dataset import Dataset
from edgehff.errors import DataError, RecipeError
from edgehff.geometry import LayerShape
from edgehff.model.encoding import fit_encoding
from edgehff.model.float_network import FloatNetwork
from edgehff.nn import HFFLayer, HFFNetwork
from edgehff.recipe import PretrainRecipe, Recipe
from edgehff.train.augment import Augmentation
from edgehff.train.events import Advanced, EpochDone, Trained
from edgehff.train.local import pass_order
from edgehff.train.metrics import accuracy

_ROWS = 4096
_ELEMENTS = 1 << 23
"""Of the largest map before pooling, of the rows that go through a network at once when it is measured."""
SMALL = 1 << 24
"""Products of one step's largest matrix multiplication, below which threads cost more than they save."""
_DENORMAL = 2.0**-130
_BLOCK = 31 << 20
"""Bytes: once so large a block was freed, glibc keeps smaller ones, and maps are not paged in every step."""


class HasPrototypes(Protocol):
    """A layer of weights and prototypes, as torch modules are."""

    prototypes: torch.nn.Parameter

    def parameters(self) -> Iterator[torch.nn.Parameter]:
        """All of them."""


def optimizer_of(layer: HasPrototypes, p: PretrainRecipe) -> torch.optim.Optimizer:
    """One layer's optimizer; the first group holds the weights, the second the prototypes."""
    groups = [
        {"params": [q for q in layer.parameters() if q is not layer.prototypes], "lr": p.lr},
        {"params": [layer.prototypes], "lr": p.lr_prototypes},
    ]
    return torch.optim.SGD(groups, momentum=0.9) if p.optimizer == "sgd" else torch.optim.Adam(groups)


def decayed(p: PretrainRecipe, step: int, steps: int) -> float:
    """What a step counted from 0 multiplies the rates by: a cosine from 1 to lr_final."""
    along = step / max(1, steps - 1)
    return p.lr_final + (1 - p.lr_final) * (1 + math.cos(math.pi * along)) / 2


def train(
    recipe: Recipe,
    rows: Dataset,
    validation: Dataset | None = None,
    *,
    device: str = "cpu",
    learner: type[Learner] | None = None,
) -> Iterator[Advanced | EpochDone | Trained[FloatNetwork]]:
    """Train a new float network on rows, recipe.pretrain.epochs times; the last event is Trained.

    A batch passes the layers once; each takes its step from its own error before the next one's turn is over:
    no gradient leaves a layer, and the next gets the direction from before the step. The same seed gives the
    same network on the same machine and torch; across machines only the accuracy is alike.

    device: of torch.  learner: who takes the steps; Learner, unless something is measured against it.

    Raises:
        RecipeError: recipe.arith is not "float".
        ShapeError: the core could not hold such a network in integers.
        DataError: weights became NaN or infinite.
    """
    if recipe.arith != "float":
        raise RecipeError(f"arith = {recipe.arith!r} is not trained in float", hint='arith = "float"')
    p = recipe.pretrain
    encoding = fit_encoding(rows.x, recipe.encoder)
    encoder = encoding.to_core()
    encoded = encoder.encode(encoding.quantize_raw(rows.x))
    x = torch.from_numpy(encoded).to(device)
    sizes(recipe.replace(arith="int16").core_config(encoder.n_features, rows.n_classes))
    y = torch.from_numpy(rows.y.astype(np.int64)).to(device)
    held = None if validation is None else encoder.encode(encoding.quantize_raw(validation.x))
    generator = torch.Generator().manual_seed(recipe.seed)
    network = HFFNetwork(recipe, encoder.n_features, rows.n_classes, generator).to(device)
    steps = math.ceil(len(rows) / p.batch_size) * p.epochs
    learns = (learner or Learner)(network, p, steps, recipe.seed)
    changes = Augmentation(recipe)
    torch.empty(_BLOCK, dtype=torch.uint8)
    seconds, samples = 0.0, 0
    largest = p.batch_size * max(layer.weight.numel() * _positions(layer.shape) for layer in learns.layers)
    for epoch in range(p.epochs):
        order = pass_order(len(rows), recipe.seed, epoch)
        right = 0
        for start in range(0, len(order), p.batch_size):
            at = order[start : start + p.batch_size]
            began = time.perf_counter()
            seen = torch.from_numpy(changes(encoded[at])).to(device) if changes else x[at]
            with quick_arithmetic(largest):
                right += learns.learn(seen / ONE, y[at])
            seconds += time.perf_counter() - began
            samples += len(at)
            yield Advanced(len(at))
        means = norm_means(network, x) if epoch + 1 == p.epochs else []
        finite = all(torch.isfinite(q).all() for q in network.parameters())
        if not finite or not all(map(math.isfinite, means)):
            raise DataError(f"pass {epoch + 1} made weights infinite", hint="a smaller pretrain.lr")
        yield EpochDone(
            epoch=epoch + 1,
            online=right / len(rows),
            validation=None
            if held is None or validation is None
            else accuracy(predict(network, held), validation.y),
            updates=tuple(n / len(rows) for n in learns.learned),
            saturated=0.0,
        )
        learns.learned = [0] * recipe.n_layers
    data = network.to_data(rows.class_names, encoding, norm_means=means, step=samples)
    yield Trained(data, samples, seconds)


def trained(recipe: Recipe, rows: Dataset) -> FloatNetwork:
    """The network at the end of train, without the events."""
    for event in train(recipe, rows):
        if isinstance(event, Trained):
            return event.network
    raise AssertionError("train ends with Trained")


@torch.no_grad()
def norm_means(network: HFFNetwork, x: Tensor) -> list[float]:
    """Mean norm of each layer over encoded samples, int16 Q14, shape (n, n_in): |y|, of convolutions |f|."""
    totals = [0.0] * len(network.layers)
    for part in torch.split(x, _rows(network)):
        u = part / ONE
        for i, layer in enumerate(_layers(network)):
            u, _, norm = layer.parts(u)
            totals[i] += float(norm.sum())
    return [total / len(x) for total in totals]


@torch.no_grad()
def predict(network: HFFNetwork, x: NDArray[np.int16]) -> NDArray[np.int64]:
    """The class of each encoded sample, int16 Q14, shape (n, n_in)."""
    device = next(network.parameters()).device
    parts = torch.split(torch.from_numpy(x), _rows(network))
    answers: NDArray[np.int64] = (
        torch.cat([network(part.to(device) / ONE).argmax(1) for part in parts]).cpu().numpy()
    )
    return answers


def _layers(network: HFFNetwork) -> list[HFFLayer]:
    return [layer for layer in network.layers if isinstance(layer, HFFLayer)]


def _positions(shape: LayerShape) -> int:
    """How often a layer's matrix is used on one sample."""
    if shape.conv is None or shape.map_in is None:
        return 1
    return math.prod(shape.conv.before_pooling(*shape.map_in[:2]))


def _rows(network: HFFNetwork) -> int:
    """Rows that are measured at once."""
    largest = max(layer.shape.n_out * _positions(layer.shape) for layer in _layers(network))
    return max(16, min(_ROWS, _ELEMENTS // largest))


@contextmanager
def quick_arithmetic(products: int) -> Iterator[None]:
    """One thread where more of them cost more than they save, and numbers below 2^-126 as zeros.

    products: of the largest matrix multiplication inside.  The moments of weights that learn no longer decay
    to such numbers within a few passes; processors are many times slower with them, and no weight moves.
    """
    threads = torch.get_num_threads()
    was_flushed = not float(torch.full((1,), _DENORMAL) * 1)
    torch.set_num_threads(1 if products < SMALL else threads)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(was_flushed)
        torch.set_num_threads(threads)


def take_step(optimizer: torch.optim.Optimizer, weight: Tensor, p: PretrainRecipe, factor: float) -> None:
    """A layer's step along the gradients that stand in it, its weights decayed; factor: of both rates."""
    for group, lr in zip(optimizer.param_groups, (p.lr, p.lr_prototypes), strict=True):
        group["lr"] = lr * factor
    with torch.no_grad():
        weight.mul_(1 - p.lr * factor * p.weight_decay)
    optimizer.step()


class Learner:
    """Takes steps: the layers' optimizers and their schedule."""

    def __init__(self, network: HFFNetwork, p: PretrainRecipe, steps: int, seed: int) -> None:
        self.layers = _layers(network)
        self.network, self.p, self.step, self.steps = network, p, 0, steps
        self.optimizers = [optimizer_of(layer, p) for layer in self.layers]
        self.generator = torch.Generator().manual_seed(seed)
        self.learned = [0] * len(self.layers)

    @torch.no_grad()
    def learn(self, x: Tensor, label: Tensor) -> int:
        """One step of every layer from a batch; how many samples were right before it."""
        similarities = []
        for i, (layer, optimizer) in enumerate(zip(self.layers, self.optimizers, strict=True)):
            seen = self._dropped(x)
            passed = layer.local_gradient(seen, label)
            self._move(layer, optimizer)
            similarities.append(passed.similarities)
            self.learned[i] += passed.learned
            x = passed.u
        self.step += 1
        answers = self.network.join(torch.stack(similarities, 1)).argmax(1)
        return int((answers == label).sum())

    def _move(self, layer: HFFLayer, optimizer: torch.optim.Optimizer) -> None:
        """A layer's step along the gradients that stand in it."""
        factor = decayed(self.p, self.step, self.steps)
        take_step(optimizer, layer.weight, self.p, factor)
        layer.normalize()

    def _dropped(self, x: Tensor) -> Tensor:
        if not self.p.dropout:
            return x
        kept = (torch.rand(x.shape, generator=self.generator) >= self.p.dropout).to(x.device)
        return torch.nn.functional.normalize(x * kept, dim=1)
