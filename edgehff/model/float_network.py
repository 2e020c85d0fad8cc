"""The float network as data, without torch: what float training gives, and what is quantized."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehff import spec
from edgehff.core import ONE
from edgehff.errors import ShapeError
from edgehff.model.encoding import Encoding
from edgehff.model.exact import encoded
from edgehff.model.network import Network, check_array, check_counts, crc32_of
from edgehff.recipe import Recipe

_ROWS = 4096
_CONV_ROWS = 16  # whose patches stand in memory, and better in its caches
_LONGEST = 1.05
"""Of a prototype: 1, and what rounding to int8 adds."""


@dataclass(frozen=True, eq=False)
class FloatLayer:
    """One layer's learned state.

    weight: float32, shape (n_out, n_in); its scale has no meaning, for the norm divides it out. A
        convolution's rows are its channels, their elements its kernel (height, width, channels), flat.
    prototypes: float32, shape (n_classes, n_per_class, n_out), unit rows; of a convolution (cells of its
        grid, channels) in place of n_out.
    norm_mean: mean of |y| over training samples, in units of weight; 0 where it is not known.
    """

    weight: NDArray[np.float32]
    prototypes: NDArray[np.float32]
    norm_mean: float = 0.0


@dataclass(frozen=True, eq=False)
class FloatNetwork:
    """A float network with its encoder and the names of its classes; fields as in Network.

    Raises:
        ShapeError: the parts do not fit together; the message names the first that does not.
    """

    recipe: Recipe
    class_names: tuple[str, ...]
    encoding: Encoding
    layers: tuple[FloatLayer, ...]
    step: int = 0

    def __post_init__(self) -> None:
        _check(self)

    @property
    def weights_crc32(self) -> int:
        """Zlib's CRC-32 of weights and prototypes, layer by layer, little-endian: names the model."""
        return crc32_of(array for layer in self.layers for array in (layer.weight, layer.prototypes))

    def encode(self, raw: NDArray[Any]) -> NDArray[np.float64]:
        """Raw samples as unit vectors, (n, n_in), in float64 without the core's roundings."""
        z = encoded(self.encoding, raw)
        out: NDArray[np.float64] = z / np.sqrt((z * z).sum(axis=1, keepdims=True) + spec.EPS)
        return out

    def layer_similarities(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Each layer's class similarities, by spec.py in float64: shape (n, n_layers, n_classes).

        x: encoded samples, shape (n, n_in).
        """
        r = self.recipe
        out = np.empty((len(x), len(self.layers), len(self.class_names)))
        sizes = r.shapes(x.shape[1])
        rows = _ROWS if not r.conv else _CONV_ROWS
        for start in range(0, len(x), rows):
            u = x[start : start + rows]
            for i, layer in enumerate(self.layers):
                weight = layer.weight.astype(np.float64)
                if sizes[i].conv is None:
                    u, _ = spec.forward(weight, u)
                    head = u
                else:
                    u, head, _ = spec.conv_forward(sizes[i], weight, u)
                cosine = head @ layer.prototypes.reshape(-1, layer.prototypes.shape[2]).astype(np.float64).T
                out[start : start + rows, i] = spec.similarities(cosine, r.prototypes_per_class, r.scale)
        return out

    def predict(self, x: NDArray[np.float64]) -> NDArray[np.int64]:
        """The class of each encoded sample; layers are joined as the recipe says."""
        answers: NDArray[np.int64] = joined(self.layer_similarities(x), self.recipe).argmax(axis=1)
        return answers


def float_view(network: Network) -> FloatNetwork:
    """The same network without the core's roundings: weights as the forward pass sees them, in int8 steps.

    Every weight and prototype is exact in float32.
    """
    layers = []
    for layer in network.layers:
        weight, prototypes = layer.weight, layer.prototypes.astype(np.float64) / ONE
        if weight.dtype == np.int16:
            weight = (weight.astype(np.int32) + 128) >> 8
        if layer.prototype_scales is not None:
            prototypes = prototypes * (layer.prototype_scales / 256.0)[..., None]
        layers.append(FloatLayer(weight.astype(np.float32), prototypes.astype(np.float32)))
    recipe = network.recipe.replace(arith="float")
    return FloatNetwork(recipe, network.class_names, network.encoding, tuple(layers), network.step)


def join_shares(recipe: Recipe) -> tuple[float, ...]:
    """What each layer's similarity counts in the answer: one number a layer, their sum 1.

    Summed log-probabilities have their maximum where the sum of scale * S has it: what log_softmax takes off
    is the same for every class.
    """
    n = recipe.n_layers
    if recipe.join == "last":
        return (0.0,) * (n - 1) + (1.0,)
    weights: Sequence[float] = (1.0,) * n
    if recipe.join == "weighted":
        weights = [round(w * 256) / 256 for w in recipe.join_weights]
    return tuple(w / sum(weights) for w in weights)


def joined(similarities: NDArray[np.float64], recipe: Recipe) -> NDArray[np.float64]:
    """The layers' similarities (n, n_layers, n_classes) in one cosine a class: (n, n_classes), -1 to 1."""
    out: NDArray[np.float64] = np.einsum("nlc,l->nc", similarities, np.array(join_shares(recipe)))
    return out


def _check(n: FloatNetwork) -> None:
    if n.recipe.arith != "float":
        raise ShapeError(f"a float network with arith = {n.recipe.arith!r}", hint='arith = "float"')
    check_counts(n.recipe, n.class_names, len(n.layers), n.step)
    sizes = n.recipe.shapes(n.encoding.n_features)
    protos = (len(n.class_names), n.recipe.prototypes_per_class)
    for i, layer in enumerate(n.layers):
        size = sizes[i]
        shapes = {"weight": (size.n_out, size.n_in), "prototypes": (*protos, size.head)}
        for name, shape in shapes.items():
            array = getattr(layer, name)
            check_array(i, name, array, np.dtype(np.float32), shape)
            if not np.isfinite(array).all():
                raise ShapeError(
                    f"layer {i}: {name} holds NaN or infinite values",
                    hint="train again with a smaller pretrain.lr",
                )
        longest = float(np.sqrt((layer.prototypes.astype(np.float64) ** 2).sum(axis=2)).max())
        if longest > _LONGEST:
            raise ShapeError(
                f"layer {i}: a prototype has length {longest:.3g}, 1 is meant", hint="divide it by its length"
            )
        if not 0 <= layer.norm_mean < np.inf:
            raise ShapeError(f"layer {i}: norm_mean = {layer.norm_mean}", hint="0 where it is not known")
