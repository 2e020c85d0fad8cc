"""Single-pass inference as data: what every exported graph computes, before it is ONNX or a torch module.

    z = encoder(sample)                                      not brought to length 1: the first norm does that
    y = relu(W z + b);  u = y * rsqrt(sum(y * y) + eps)      for each layer; b only for the encoder's bias
    S = log-mean-exp over the class's prototypes of P u      one number a class, a cosine
    similarity = sum over layers of share * S                the answer is its largest

and of convolutions, before the dense layers, over maps in the order (channels, height, width):

    y = pool(relu(W * x));  f = y summed over the grid;  u = f * rsqrt(sum(f * f) + eps)

S is of this u, and the next layer takes y as it is: no norm lies between convolutions.

Layers are positively homogeneous, so that the scale of W, of z and of a mean has no meaning; W is brought
near 1 / sqrt(n_in) by a power of two, a convolution's to where noise keeps its length. That keeps y far
from overflow and f far above eps.
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
from edgehff.geometry import LayerShape, Map
from edgehff.model.encoding import Encoding
from edgehff.model.exact import LOG2_ONE
from edgehff.model.float_network import FloatLayer, FloatNetwork, join_shares
from edgehff.model.network import Layer, Network

Float = NDArray[np.float32]
LOG2_STEPS = LOG2_ONE / math.log(2)
PROBES = 8
"""Made-up inputs that tell how much longer or shorter a convolution makes a map."""


@dataclass(frozen=True, eq=False)
class ProgramLayer:
    """One layer.

    shape: its sizes, and what a convolution does.
    weight: (n_out, n_in) without the encoder's bias: int8 steps, or float32. Of a convolution (channels,
        those of the input that a channel sees, kernel's height, width); of a dense layer after one, n_in runs
        over (channels, height, width).
    weight_scale: a power of two that W = weight * weight_scale takes.
    bias: (n_out,) float32 of the encoder's constant feature, in units of W z; None but in a dense first
        layer.
    prototypes: (n_classes * n_per_class, n_out), int8, int16 or float32; in place of n_out a convolution has
        channels times cells of its grid, in this order.
    prototype_scales: (n_classes * n_per_class,) float32: P = prototypes * prototype_scales, row by row.
    share: what this layer's similarity counts in the answer.
    """

    shape: LayerShape
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
    def maps(self) -> tuple[Map, ...]:
        """The input of the first convolution, and what each gives: (height, width, channels)."""
        shapes = [layer.shape for layer in self.layers]
        given = [s.map_in for s in shapes[:1]] + [s.map_out for s in shapes]
        return tuple(m for m in given if m is not None)

    @property
    def constant_channel(self) -> tuple[float, int] | None:
        """Where a convolution comes first: the encoder's bias, and how many parts of z it stands behind.

        A dense layer has it as its own bias.
        """
        e = self.encoding
        return (float(e.bias), _parts(e)) if e.bias and self.layers[0].shape.conv is not None else None

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
    shapes = recipe.shapes(network.encoding.n_features)
    views = [forward_view(layer.weight) for layer in learned]
    scales_of_maps = _scales_of_maps(shapes, views)
    for i, (layer, share) in enumerate(zip(learned, join_shares(recipe), strict=True)):
        shape, weight = shapes[i], views[i]
        map_in = shapes[i - 1].map_out if i else None
        scale = scales_of_maps.get(i) or _power_of_two(i, weight)
        bias = None
        if shape.conv is not None:
            weight = kernels(shape, weight)
        elif map_in is not None:
            weight = _channels_first(weight, map_in)
        if i == 0 and network.encoding.bias and shape.conv is None:
            cut = weight.reshape(len(weight), _parts(network.encoding), -1)
            constant = cut[:, :, -1].astype(np.float64).sum(axis=1)
            bias = (constant * (scale * network.encoding.bias)).astype(np.float32)
            weight = cut[:, :, :-1].reshape(len(weight), -1)
        rows = layer.prototypes.reshape(-1, layer.prototypes.shape[2])
        if shape.conv is not None:
            rows = _channels_first(rows, (*shape.conv.grid, shape.n_out))
        steps = {"float32": 1.0, "int16": 1 / ONE, "int8": 1 / (ONE * 256)}[rows.dtype.name]
        scales = np.full(len(rows), steps, np.float32)
        if isinstance(layer, Layer) and layer.prototype_scales is not None:
            scales *= layer.prototype_scales.reshape(-1).astype(np.float32)
        layers.append(ProgramLayer(shape, np.ascontiguousarray(weight), scale, bias, rows, scales, share))
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


def _parts(encoding: Encoding) -> int:
    """Parts of the features that the bias stands behind."""
    return 1 if encoding.features else encoding.segments


def cell_size(shape: LayerShape) -> tuple[int, int] | None:
    """Positions in a cell of the grid, (height, width), where all cells are alike."""
    assert shape.conv is not None
    assert shape.map_out is not None
    (height, width), (high, wide) = shape.map_out[:2], shape.conv.grid
    return None if height % high or width % wide else (height // high, width // wide)


def cell_sums(shape: LayerShape) -> tuple[Float, Float]:
    """1 where a row of the map lies in a row of the grid, and so of columns: (cells, positions) each."""
    assert shape.conv is not None
    assert shape.map_out is not None
    pairs = zip(shape.conv.grid, shape.map_out[:2], strict=True)
    rows, columns = (np.arange(cells)[:, None] == np.arange(n) * cells // n for cells, n in pairs)
    return rows.astype(np.float32), columns.astype(np.float32)


def kernels(shape: LayerShape, weight: NDArray[Any]) -> NDArray[Any]:
    """Rows over (kernel's height, width, channels) as (channels, channels seen, kernel's height, width)."""
    assert shape.conv is not None
    cut = weight.reshape(shape.n_out, *shape.conv.kernel, -1)
    turned: NDArray[Any] = cut.transpose(0, 3, 1, 2)
    return turned


def _channels_first(rows: NDArray[Any], of: Map) -> NDArray[Any]:
    """Rows over (height, width, channels) as rows over (channels, height, width)."""
    return np.ascontiguousarray(rows.reshape(len(rows), *of).transpose(0, 3, 1, 2)).reshape(len(rows), -1)


def _scales_of_maps(shapes: tuple[LayerShape, ...], weights: list[NDArray[Any]]) -> dict[int, float]:
    """Of each convolution, the power of two at which it leaves the length of a map of noise as it was.

    A convolution that silences all noise is not in it.
    """
    scales: dict[int, float] = {}
    if shapes[0].map_in is None:
        return scales
    noise = np.random.default_rng(0).random((PROBES, math.prod(shapes[0].map_in)))
    u = noise - 0.5 * (np.arange(PROBES) % 2)[:, None]  # of one sign, and of both
    u /= np.sqrt((u * u).sum(axis=1, keepdims=True))
    for i, shape in enumerate(shapes):
        if shape.conv is None:
            break
        u, _, summed = spec.conv_forward(shape, weights[i].astype(np.float64), u)
        f = spec.cell_matrix(shape) @ u.reshape(PROBES, -1, shape.n_out)
        apart = np.sqrt((f * f).sum(axis=(1, 2)))
        heard = summed > 0
        if heard.any():
            scales[i] = float(2.0 ** -round(float(np.log2(summed[heard] / apart[heard]).mean())))
    return scales
