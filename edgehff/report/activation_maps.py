"""Where on a map a convolution's answer comes from: class activation maps, as arrays in float64.

A convolution's prototypes see f, the map u summed over the cells of a grid, as f / |f|. The cosine of one
prototype is therefore a sum over the positions of the map, and what each position adds to it is its class
activation: sum over channels of prototype[cell(position), channel] * u[position, channel] / |f|.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehff import spec
from edgehff.geometry import ConvLayer, LayerShape
from edgehff.model.encoding import Encoding
from edgehff.model.float_network import FloatNetwork

Float = NDArray[np.float64]
Span = tuple[float, float]


@dataclass(frozen=True, eq=False)
class LayerMaps:
    """What one convolution saw of n samples.

    text: the layer in short, "16c3 pool2".
    values: (n, height, width) of the layer's map after pooling; parts of a cosine, whose sum is `cosines`.
    cosines: (n,), -1 to 1, of the class's nearest prototype.
    rows, columns: where the map begins and ends over the input, in its pixels: pixel i goes from i - 0.5 to
        i + 0.5. A padded layer may reach over the edge, and one that drops positions may end before it.
    """

    text: str
    values: Float
    cosines: Float
    rows: Span
    columns: Span


def layer_maps(
    network: FloatNetwork, raw: NDArray[Any], classes: NDArray[np.integer[Any]]
) -> list[LayerMaps]:
    """Class activation maps of every convolution, from the input on.

    raw: samples as the model takes them, (n, *sample_shape).  classes: (n,), whose prototypes are asked.
    """
    u = network.encode(raw)
    shapes = network.recipe.shapes(u.shape[1])
    out = []
    for shape, layer, (rows, columns) in zip(shapes, network.layers, spans(shapes), strict=False):
        assert shape.conv is not None
        u, _, _ = spec.conv_forward(shape, layer.weight.astype(np.float64), u)
        values, cosines = class_maps(shape, layer.prototypes.astype(np.float64), u, classes)
        out.append(LayerMaps(shape.conv.text, values, cosines, rows, columns))
    return out


def class_maps(
    shape: LayerShape, prototypes: Float, u: Float, classes: NDArray[np.integer[Any]]
) -> tuple[Float, Float]:
    """What each position adds to the cosine of the nearest prototype of a class, and that cosine.

    prototypes: (n_classes, n_per_class, cells * channels), unit rows.  u: (n, positions * channels), of
    spec.conv_forward.  classes: (n,).  Returns (n, height, width), whose sum over a map is the second: (n,).
    """
    assert shape.map_out is not None
    height, width, channels = shape.map_out
    cells = spec.cell_matrix(shape).astype(np.float64)
    maps = u.reshape(len(u), height * width, channels)
    f = (cells @ maps).reshape(len(u), -1)
    length = np.sqrt((f * f).sum(axis=1) + spec.EPS)
    own = prototypes[classes]
    cosines = np.einsum("nkh,nh->nk", own, f / length[:, None])
    every = np.arange(len(u)), cosines.argmax(axis=1)
    at = own[every].reshape(len(u), len(cells), channels)[:, cells.argmax(axis=0)]
    values = (at * maps).sum(axis=2) / length[:, None]
    return values.reshape(len(u), height, width), cosines[every]


def spans(shapes: tuple[LayerShape, ...]) -> list[tuple[Span, Span]]:
    """Where each convolution's map lies over the input, (rows, columns) as in LayerMaps; dense layers end it.

    A position stands at the middle of what it sees: of its pooling window, and of the kernels there.
    """
    first, step = [0.0, 0.0], [1.0, 1.0]
    out = []
    for shape in shapes:
        if shape.conv is None or shape.map_out is None:
            break
        for axis in (0, 1):
            first[axis] += step[axis] * _middle(shape.conv, axis)
            step[axis] *= shape.conv.pool_size[axis] * shape.conv.stride[axis]
        ends = [(first[a] - step[a] / 2, first[a] + (shape.map_out[a] - 0.5) * step[a]) for a in (0, 1)]
        out.append((ends[0], ends[1]))
    return out


def _middle(conv: ConvLayer, axis: int) -> float:
    """What the first position stands at, in positions of the layer's input."""
    window = (conv.pool_size[axis] - 1) / 2 * conv.stride[axis]
    return window - conv.padding[axis] + (conv.kernel[axis] - 1) / 2


def input_maps(network: FloatNetwork, raw: NDArray[Any]) -> Float:
    """The samples as the map that convolutions start from, (n, height, width, channels).

    Raw values where each position has its own, else the encoded map. raw: (n, *sample_shape).
    """
    assert len(network.recipe.input_shape) == 3
    height, width, channels = network.recipe.input_shape
    if not network.encoding.features and network.encoding.n_raw % (height * width) == 0:
        return raw.reshape(len(raw), height, width, -1).astype(np.float64)
    return network.encode(raw).reshape(len(raw), height, width, channels)


def has_constant_channel(encoding: Encoding, positions: int) -> bool:
    """Whether the last channel of the input's map is the encoder's bias, one at each position."""
    return encoding.bias != 0 and not encoding.features and encoding.segments == positions


def telling_samples(
    answers: NDArray[np.integer[Any]], labels: NDArray[np.integer[Any]], right: int = 6, wrong: int = 2
) -> NDArray[np.intp]:
    """Row numbers worth looking at: the first right answer of the first classes, then the first wrong ones.

    answers, labels: (n,).  right: classes at most.  wrong: samples at most.
    """
    correct = np.flatnonzero(answers == labels)
    _, first = np.unique(labels[correct], return_index=True)
    return np.concatenate([correct[first[:right]], np.flatnonzero(answers != labels)[:wrong]])
