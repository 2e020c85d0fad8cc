"""The integer network as data: what a model file holds, and what all other forms of the model are made of."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehff.core import Net
from edgehff.errors import ShapeError
from edgehff.model.encoding import Encoding
from edgehff.model.prototypes import to_int8
from edgehff.recipe import CoreConfig, Recipe


@dataclass(frozen=True, eq=False)
class Layer:
    """One layer's learned state.

    weight: int8 or int16 by the recipe's arith, shape (n_out, n_in); of a convolution (channels, kernel).
    prototypes: int16 Q14, or int8 with scales, shape (n_classes, n_per_class, n_out); of a convolution
        (cells of its grid, channels) in place of n_out.
    norm_sum: 1024 times the running mean of |y|, Q8, uint32.
    prototype_scales: uint16, shape (n_classes, n_per_class), steps of Q14 in Q8; None for int16 prototypes.
    """

    weight: NDArray[Any]
    prototypes: NDArray[Any]
    norm_sum: int
    prototype_scales: NDArray[np.uint16] | None = None


@dataclass(frozen=True, eq=False)
class Network:
    """A network with its encoder and the names of its classes.

    recipe: how it was made and how it learns. Rates of a live network that decayed are not part of it.
    class_names: one distinct name a class.
    encoding: raw samples to vectors of layers[0]'s inputs.
    layers: from the input on; as many as the recipe's widths.
    step: training steps taken, uint32.
    proto_bits: 16, or 8 for inference alone.

    Raises:
        ShapeError: the parts do not fit together; the message names the first that does not.
    """

    recipe: Recipe
    class_names: tuple[str, ...]
    encoding: Encoding
    layers: tuple[Layer, ...]
    step: int = 0
    proto_bits: int = 16

    def __post_init__(self) -> None:
        _check(self)

    @property
    def config(self) -> CoreConfig:
        """The core's configuration."""
        config = self.recipe.core_config(self.encoding.n_features, len(self.class_names))
        return replace(config, proto_bits=self.proto_bits)

    def to_core(self) -> Net:
        """A live network in this state, at the recipe's rates; training it leaves this object as it is.

        Raises:
            ShapeError: weights or prototypes exceed what the core's sums are proved for.
        """
        net = Net(self.config)
        for i, layer in enumerate(self.layers):
            net.weights(i)[...] = layer.weight
            net.prototypes(i)[...] = layer.prototypes
            if layer.prototype_scales is not None:
                net.prototype_scales(i)[...] = layer.prototype_scales
            net.set_norm_sum(i, layer.norm_sum)
        net.step = self.step
        net.check()
        return net

    @classmethod
    def from_core(cls, net: Net, recipe: Recipe, class_names: Sequence[str], encoding: Encoding) -> Network:
        """The state of a live network, copied.

        Raises:
            ShapeError: net has other sizes than recipe, class_names and encoding say.
        """
        layers = tuple(
            Layer(
                weight=_frozen(net.weights(i)),
                prototypes=_frozen(net.prototypes(i)),
                norm_sum=net.norm_sum(i),
                prototype_scales=_frozen(net.prototype_scales(i)) if net.config.proto_bits == 8 else None,
            )
            for i in range(net.config.n_layers)
        )
        return cls(recipe, tuple(class_names), encoding, layers, net.step, net.config.proto_bits)

    def with_int8_prototypes(self) -> Network:
        """The same network with int8 prototypes: smaller, and for inference alone."""
        if self.proto_bits == 8:
            return self
        layers = []
        for layer in self.layers:
            small, scales = to_int8(layer.prototypes)
            layers.append(replace(layer, prototypes=small, prototype_scales=scales))
        return replace(self, layers=tuple(layers), proto_bits=8)

    @property
    def weights_crc32(self) -> int:
        """CRC-32 of weights and prototypes, the core's: names the model."""
        return self.to_core().weights_crc32

    @property
    def state_crc32(self) -> int:
        """CRC-32 of the learned state, with step, seed, scale and the recipe's rates."""
        return self.to_core().state_crc32

    def encode(self, raw: NDArray[Any]) -> NDArray[np.int16]:
        """Raw samples as unit vectors: int16 Q14, shape (n, n_in). raw as in Encoding.quantize_raw.

        Raises:
            ShapeError: another dtype or shape than the model's.
            DataError: NaN or infinite values.
        """
        return self.encoding.to_core().encode(self.encoding.quantize_raw(raw))


def crc32_of(arrays: Iterable[NDArray[Any]]) -> int:
    """Zlib's CRC-32 over arrays, one after another, little-endian."""
    crc = 0
    for array in arrays:
        crc = zlib.crc32(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes(), crc)
    return crc


def _frozen(view: NDArray[Any]) -> NDArray[Any]:
    copy: NDArray[Any] = view.copy()
    copy.setflags(write=False)
    return copy


def check_counts(recipe: Recipe, class_names: tuple[str, ...], n_layers: int, step: int) -> None:
    """ShapeError where layers, classes or steps are not as many as a network of this recipe has."""
    if not 0 <= step < 2**32:
        raise ShapeError(f"step = {step} does not fit 32 bits", hint="step = 0 starts anew")
    if n_layers != recipe.n_layers:
        raise ShapeError(
            f"{n_layers} layers, the recipe has {recipe.n_layers}",
            hint="compare the recipe with the model's",
        )
    if not 2 <= len(class_names) <= 1024 or len(set(class_names)) < len(class_names):
        raise ShapeError(
            f"{len(class_names)} class names, {len(set(class_names))} of them distinct",
            hint="a network has 2 to 1024 classes, each with its own name",
        )


def _check(n: Network) -> None:
    if n.proto_bits not in (8, 16):
        raise ShapeError(f"proto_bits = {n.proto_bits} is neither 8 nor 16", hint="proto_bits = 16")
    check_counts(n.recipe, n.class_names, len(n.layers), n.step)
    config = n.config
    protos = (config.n_classes, config.n_per_class)
    proto_dtype = np.dtype("int8" if n.proto_bits == 8 else "int16")
    for i, layer in enumerate(n.layers):
        shape = config.shapes[i]
        check_array(i, "weight", layer.weight, np.dtype(config.arith), (shape.n_out, shape.n_in))
        check_array(i, "prototypes", layer.prototypes, proto_dtype, (*protos, shape.head))
        if (layer.prototype_scales is None) != (n.proto_bits == 16):
            raise ShapeError(
                f"layer {i} has {'no ' if n.proto_bits == 8 else ''}prototype scales at {n.proto_bits} bits",
                hint="int8 prototypes have scales, int16 ones have none",
            )
        if layer.prototype_scales is not None:
            check_array(i, "prototype_scales", layer.prototype_scales, np.dtype(np.uint16), protos)
        if not 0 <= layer.norm_sum < 2**32:
            raise ShapeError(
                f"layer {i}: norm_sum = {layer.norm_sum} does not fit 32 bits",
                hint="norm_sum = 0 starts anew",
            )


def check_array(
    layer: int, name: str, array: NDArray[Any], dtype: np.dtype[Any], shape: tuple[int, ...]
) -> None:
    """ShapeError where an array of a layer has another dtype or shape."""
    if array.dtype != dtype or array.shape != shape:
        raise ShapeError(
            f"layer {layer}: {name} is {array.dtype} {array.shape}, {dtype} {shape} is needed",
            hint="compare the recipe, the class names and the encoder with the layers",
        )
