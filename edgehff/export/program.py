"""Single-pass inference as data: what every exported graph computes, before it is ONNX or a torch module.

    z = encoder(sample)                                      not brought to length 1: the first norm does that
    y = relu(W z + b);  u = y * rsqrt(sum(y * y) + eps)      for each layer; b only for the encoder's bias
    S = log-mean-exp over the class's prototypes of P u      one number a class, a cosine
    similarity = sum over layers of share * S                the answer is its largest

Layers are positively homogeneous, so that the scale of W and of z has no meaning; W is brought near
1 / sqrt(n_in) by a power of two, which keeps y far from overflow and far above eps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehff import spec
from edgehff.core import ONE
from edgehff.errors import ModelFileError
from edgehff.model.encoding import Encoding
from edgehff.model.exact import LOG2_ONE
from edgehff.model.float_network import FloatLayer, FloatNetwork, join_shares
from edgehff.model.network import Layer, Network

Float = NDArray[np.float32]
LOG2_STEPS = LOG2_ONE / math.log(2)


@dataclass(frozen=True, eq=False)
class ProgramLayer:
    """One layer.

    weight: (n_out, n_in) without the encoder's bias: int8 steps, or float32.
    weight_scale: a power of two that W = weight * weight_scale takes.
    bias: (n_out,) float32 of the encoder's constant feature, in units of W z; None but in the first layer.
    prototypes: (n_classes * n_per_class, n_out), int8, int16 or float32.
    prototype_scales: (n_classes * n_per_class,) float32: P = prototypes * prototype_scales, row by row.
    share: what this layer's similarity counts in the answer.
    """

    weight: NDArray[Any]
    weight_scale: float
    bias: Float | None
    prototypes: NDArray[Any]
    prototype_scales: Float
    share: float


@dataclass(frozen=True, eq=False)
class Program:
    """A network as inference alone.

    encoding: raw samples to z; its constants are the model's.
    n_per_class, scale: of the log-mean-exp.
    eps: under the root of the norm.
    """

    encoding: Encoding
    layers: tuple[ProgramLayer, ...]
    class_names: tuple[str, ...]
    n_per_class: int
    scale: float
    eps: float = spec.EPS

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Of one raw sample: (n_time, n_channels) of a window, else (n_values,)."""
        return self.encoding.shape if self.encoding.features else (self.encoding.n_raw,)

    @property
    def standardization(self) -> tuple[Float, Float] | None:
        """(offset, gain), float32 a feature: z = (f - offset) * gain, limited to Z_LIMIT; or None."""
        e = self.encoding
        if e.offset is None or e.gain is None:
            return None
        return e.offset.astype(np.float32), (e.gain / 2.0**e.gain_shift).astype(np.float32)

    @property
    def output_names(self) -> tuple[str, ...]:
        """`similarity`, and one of each layer alone."""
        return ("similarity", *(f"similarity_{i}" for i in range(len(self.layers))))


def program_of(network: Network | FloatNetwork) -> Program:
    """The program of a network.

    Raises:
        ModelFileError: a layer's weights are all zero.
    """
    recipe = network.recipe
    layers = []
    learned: tuple[Layer | FloatLayer, ...] = network.layers
    for i, (layer, share) in enumerate(zip(learned, join_shares(recipe), strict=True)):
        weight = forward_view(layer.weight)
        scale = _power_of_two(i, weight)
        bias = None
        if i == 0 and network.encoding.bias:
            bias = (weight[:, -1].astype(np.float64) * (scale * network.encoding.bias)).astype(np.float32)
            weight = weight[:, :-1]
        rows = layer.prototypes.reshape(-1, layer.prototypes.shape[2])
        steps = {"float32": 1.0, "int16": 1 / ONE, "int8": 1 / (ONE * 256)}[rows.dtype.name]
        scales = np.full(len(rows), steps, np.float32)
        if isinstance(layer, Layer) and layer.prototype_scales is not None:
            scales *= layer.prototype_scales.reshape(-1).astype(np.float32)
        layers.append(ProgramLayer(np.ascontiguousarray(weight), scale, bias, rows, scales, share))
    return Program(
        network.encoding, tuple(layers), network.class_names, recipe.prototypes_per_class, recipe.scale
    )


def forward_view(weight: NDArray[Any]) -> NDArray[Any]:
    """The weights that the forward pass sees: an int16 master as int8 steps, others as they are."""
    if weight.dtype != np.int16:
        return weight
    return ((weight.astype(np.int32) + 128) >> 8).astype(np.int8)


def _power_of_two(index: int, weight: NDArray[Any]) -> float:
    rms = float(np.sqrt(np.mean(weight.astype(np.float64) ** 2)))
    if rms == 0:
        raise ModelFileError(f"layer {index}: all weights are zero", hint="train the network again")
    return float(2.0 ** -round(math.log2(rms * math.sqrt(weight.shape[1]))))
