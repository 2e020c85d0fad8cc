"""Training a spiking network by the online rule, and bringing it into integers."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgehff import spec
from edgehff.data.dataset import Dataset
from edgehff.errors import DataError, RecipeError
from edgehff.fixedpoint import W_LIMIT
from edgehff.model.encoding import Encoding, fit_encoding
from edgehff.model.spiking_input import encoded_for
from edgehff.model.spiking_network import SpikingLayer, SpikingNetwork
from edgehff.nn.network import join
from edgehff.quantize.network import share_at_limit, unit_rows
from edgehff.recipe import EncoderRecipe, Recipe
from edgehff.spiking.encode import STREAMS, drive_of, gain_of, steps_of, unit_of
from edgehff.spiking.layer import SpikingHFFLayer, layers_of
from edgehff.spiking.learn import online_gradients
from edgehff.spiking.simulate import run
from edgehff.train.augment import Augmentation
from edgehff.train.events import Advanced, EpochDone, Trained
from edgehff.train.float import decayed, optimizer_of, quick_arithmetic, take_step
from edgehff.train.local import pass_order
from edgehff.train.metrics import accuracy


def train(
    recipe: Recipe, rows: Dataset, validation: Dataset | None = None
) -> Iterator[Advanced | EpochDone | Trained[SpikingNetwork]]:
    """Train a new spiking network on rows, recipe.pretrain.epochs times; the last event is Trained.

    Each layer learns from its own error, by weights in floating point; what is validated and returned has
    them in integers.

    Raises:
        RecipeError: the recipe has no [spiking], or a gate, which the rule does not know.
        DataError: weights became NaN or infinite.
        ShapeError: negative inputs where spikes have to say them.
    """
    if not recipe.spiking.steps:
        raise RecipeError("the recipe does not say how to spike", hint="[spiking] steps = 8")
    if recipe.gate is not None:
        raise RecipeError(f"gate = {recipe.gate}: spiking layers learn from all samples", hint='gate = "off"')
    p, s = recipe.pretrain, recipe.spiking
    if s.code in STREAMS:
        _check_stream(recipe, rows)
    encoding = fit_encoding(rows.x, recipe.encoder)
    encoded = encoded_for(recipe, encoding, rows.x)
    gain = gain_of(s, encoded)
    drive_of(s, gain, encoded[:1024])
    generator = torch.Generator().manual_seed(recipe.seed)
    layers = layers_of(recipe, s.inputs(encoding.n_features), rows.n_classes, generator)
    optimizers = [optimizer_of(layer, p) for layer in layers]
    label = torch.from_numpy(rows.y.astype(np.int64))
    changes = _Changes(recipe)
    steps, step = math.ceil(len(rows) / p.batch_size) * p.epochs, 0
    seconds, samples = 0.0, 0
    largest = p.batch_size * max(layer.synapses.weight.numel() for layer in layers)
    for epoch in range(p.epochs):
        order, right = pass_order(len(rows), recipe.seed, epoch), 0
        for start in range(0, len(order), p.batch_size):
            at = order[start : start + p.batch_size]
            began = time.perf_counter()
            seen = drive_of(s, gain, changes(encoded[at]) if changes else encoded[at])
            inputs = _inputs(recipe, seen, epoch, generator)
            with quick_arithmetic(largest):
                found = online_gradients(layers, inputs, label[at])
                factor = decayed(p, step, steps)
                for layer, optimizer in zip(layers, optimizers, strict=True):
                    take_step(optimizer, layer.synapses.weight, p, factor)
                    layer.normalize()
            right += int((join(recipe, found).argmax(1) == label[at]).sum())
            step += 1
            seconds += time.perf_counter() - began
            samples += len(at)
            yield Advanced(len(at))
        if not all(torch.isfinite(q).all() for layer in layers for q in layer.parameters()):
            raise DataError(f"pass {epoch + 1} made weights infinite", hint="a smaller pretrain.lr")
        network = to_integers(recipe, layers, rows.class_names, encoding, gain, samples)
        yield EpochDone(
            epoch=epoch + 1,
            online=right / len(rows),
            validation=None
            if validation is None
            else accuracy(run(network, network.encode(validation.x)).answers, validation.y),
            updates=(1.0,) * len(layers),
            saturated=share_at_limit([layer.weight for layer in network.layers], "int8"),
        )
    yield Trained(network, samples, seconds)


def to_integers(
    recipe: Recipe,
    layers: list[SpikingHFFLayer],
    class_names: tuple[str, ...],
    encoding: Encoding,
    gain: float,
    step: int,
) -> SpikingNetwork:
    """The network with int8 weights and thresholds between integers; prototypes as the core keeps them."""
    out = []
    for i, layer in enumerate(layers):
        weight = layer.matrix().numpy().astype(np.float64)
        per_unit = spec.W_RMS / max(float(np.sqrt((weight * weight).mean())), 1e-30)
        limit = W_LIMIT["int8"]
        rounded = np.clip(np.rint(weight * per_unit), -limit, limit).astype(np.int8)
        threshold = float(layer.neurons.threshold) * per_unit * (1 if i else unit_of(recipe.spiking))
        out.append(SpikingLayer(rounded, int(threshold), unit_rows(layer.prototypes.detach().numpy())))
    return SpikingNetwork(recipe, class_names, encoding, tuple(out), gain, step)


class _Changes(Augmentation):
    """Changes of maps; those of events are the same at every step of a sample."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        self.steps = recipe.spiking.steps if recipe.spiking.code in STREAMS else 0
        if self.map_in and self.steps:
            height, width, channels = self.map_in
            self.map_in = height, width, channels * self.steps

    def __call__(self, x: NDArray[np.int16]) -> NDArray[np.int16]:
        if not self.steps:
            return super().__call__(x)
        assert self.map_in
        height, width, channels = self.map_in
        shape = len(x), self.steps, height, width, channels // self.steps
        beside = super().__call__(x.reshape(shape).transpose(0, 2, 3, 1, 4).reshape(x.shape))
        steps_last = beside.reshape(len(x), height, width, self.steps, -1)
        return np.ascontiguousarray(steps_last.transpose(0, 3, 1, 2, 4).reshape(x.shape))


def _check_stream(recipe: Recipe, rows: Dataset) -> None:
    """An error where samples are not so many steps of whole numbers, or would be encoded."""
    steps = recipe.spiking.steps
    if recipe.encoder != EncoderRecipe():
        raise RecipeError(f"code = {recipe.spiking.code!r} takes no [encoder]", hint="leave it out")
    if rows.x.dtype.kind not in "ui":
        raise DataError(
            f"streams are whole numbers, {rows.name} has {rows.x.dtype}", hint="count the events of each step"
        )
    if rows.x.ndim < 3 or rows.x.shape[1] != steps:
        raise DataError(
            f"samples of {rows.x.shape[1:]} are no {steps} steps of inputs",
            hint=f"[spiking] steps = {rows.x.shape[1]}",
        )


def _inputs(recipe: Recipe, drive: NDArray[np.int16], epoch: int, generator: torch.Generator) -> list[Tensor]:
    """What comes in at each step, its unit 1, some elements left out for the whole sample."""
    unit, drop = unit_of(recipe.spiking), recipe.pretrain.dropout
    kept: Tensor | float = 1.0
    if drop:
        kept = (torch.rand(drive.shape, generator=generator) >= drop) / (1 - drop)
    steps = steps_of(recipe.spiking, drive, recipe.seed + epoch)
    if recipe.spiking.code == "direct":
        return [torch.from_numpy(drive.astype(np.float32)) / unit * kept] * recipe.spiking.steps
    return [torch.from_numpy(step.astype(np.float32)) / unit * kept for step in steps]
