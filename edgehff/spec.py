"""One HFF layer as pure functions in floating point: what every other form of the model is derived from.

HFF, arXiv 2605.00082, as reconstructed in docs/explanation/architecture.md: features y = relu(W x),
direction u = y / |y|, class similarity S_c = log-mean-exp over the class's prototypes of their cosine with
u, cross-entropy of scale * (S - margin * onehot). The functions take numpy arrays or torch tensors and give
the same kind; leading axes (...) are samples, none or several. n_proto is n_classes * n_per_class, class by
class.

The norm means sqrt(sum(y * y) + EPS): a zero vector has the direction zero. EPS lies far below the square of
the smallest output of an exported network, and above the smallest normal float32.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehff.geometry import LayerShape

EPS = 1e-24
W_RMS = 16.0
MEAN_RATE = 1.0 / 1024.0
REVIVE_RATE = 0.1


def forward(weight: Any, x: Any) -> tuple[Any, Any]:
    """(u, |y|) of y = relu(W x).

    weight: (n_out, n_in).  x: (..., n_in), unit or zero.  u: (..., n_out).  |y|: (...), without EPS.
    """
    y = (x @ weight.T).clip(0.0)
    squares = (y * y).sum(-1)
    return y / (squares + EPS)[..., None] ** 0.5, squares**0.5


def patch_index(shape: LayerShape) -> NDArray[np.intp]:
    """Where a convolution's inputs lie in a flat map, n_in elements, n_in itself standing for a zero outside.

    Shape (positions after pooling, positions of a window, n_in of a kernel); of a depthwise layer
    (positions, window, taps, channels).
    """
    conv, map_in, map_out = shape.conv, shape.map_in, shape.map_out
    assert conv is not None
    assert map_in is not None
    assert map_out is not None
    height, width, channels = map_in

    def lines(axis: int) -> NDArray[np.intp]:
        """Input row or column of (position, position in the window, kernel)."""
        first = np.arange(map_out[axis])[:, None] * conv.pool_size[axis] + np.arange(conv.pool_size[axis])
        return first[..., None] * conv.stride[axis] - conv.padding[axis] + np.arange(conv.kernel[axis])

    row = lines(0)[:, None, :, None, :, None]
    col = lines(1)[None, :, None, :, None, :]
    inside = (row >= 0) & (row < height) & (col >= 0) & (col < width)
    pixel = np.where(inside, row * width + col, height * width)
    pixel = pixel.reshape(map_out[0] * map_out[1], -1, conv.kernel[0] * conv.kernel[1])
    index = np.minimum(pixel[..., None] * channels + np.arange(channels), height * width * channels)
    return index if conv.kind == "depthwise" else index.reshape(*pixel.shape[:2], -1)


def cell_matrix(shape: LayerShape) -> NDArray[np.float32]:
    """1 where a position after pooling lies in a cell of the grid: (cells, positions)."""
    conv, map_out = shape.conv, shape.map_out
    assert conv is not None
    assert map_out is not None
    row = np.arange(map_out[0]) * conv.grid[0] // map_out[0]
    col = np.arange(map_out[1]) * conv.grid[1] // map_out[1]
    cell = (row[:, None] * conv.grid[1] + col).reshape(-1)
    out: NDArray[np.float32] = (np.arange(conv.n_cells)[:, None] == cell).astype(np.float32)
    return out


def pool_divisor(shape: LayerShape) -> int:
    """What the sum over a window is divided by for "mean": the power of two not below its positions."""
    assert shape.conv is not None
    return int(1 << (shape.conv.pool_size[0] * shape.conv.pool_size[1] - 1).bit_length())


def conv_forward(shape: LayerShape, weight: Any, x: Any) -> tuple[Any, Any, Any]:
    """(u, head, |f|) of a convolution: y = pool(relu(W * x)), u = y / |y|, f = y summed over the grid.

    weight: (channels, n_in of a kernel).  x: (..., elements of the map), unit or zero.  u: (..., elements of
    the map after pooling).  head: f / |f|, (..., cells * channels).  All maps in the order (height, width,
    channels).
    """
    xp = _namespace(x)
    assert shape.conv is not None
    outside = x[..., :1] * 0.0
    padded = xp.concatenate([x, outside], -1)
    patches = padded[..., patch_index(shape)]
    if shape.conv.kind == "depthwise":
        y = (patches * weight.T).sum(-2)
    else:
        y = patches @ weight.T
    y = y.clip(0.0)
    if shape.conv.pool == "mean":
        y = y.sum(-2) / pool_divisor(shape)
    else:
        y = xp.amax(y, -2)
    squares = (y * y).sum(-1).sum(-1)
    u = y / (squares + EPS)[..., None, None] ** 0.5
    cells = cell_matrix(shape)
    f = (xp.asarray(cells, dtype=u.dtype, device=u.device) if xp is not np else cells) @ u
    f = f.reshape(*f.shape[:-2], -1)
    length = ((f * f).sum(-1) + EPS) ** 0.5
    return u.reshape(*u.shape[:-2], -1), f / length[..., None], squares**0.5 * length


def similarities(cosine: Any, n_per_class: int, scale: float) -> Any:
    """Class similarities (..., n_classes) of cosines (..., n_proto): log-mean-exp, temperature 1 / scale."""
    if n_per_class == 1:
        return cosine
    xp = _namespace(cosine)
    own = _by_class(cosine, n_per_class) * scale
    top = xp.amax(own, -1)
    return (top + xp.log(xp.exp(own - top[..., None]).mean(-1))) / scale


def log_softmax(logit: Any) -> Any:
    """Log-probabilities of logits, both (..., n_classes)."""
    xp = _namespace(logit)
    shifted = logit - xp.amax(logit, -1)[..., None]
    return shifted - xp.log(xp.exp(shifted).sum(-1))[..., None]


def onehot(label: Any, like: Any) -> Any:
    """1 at each sample's label and 0 elsewhere.  label: (...), integers.  like: (..., n_classes)."""
    eye = _namespace(like).eye(like.shape[-1], dtype=like.dtype)
    return (eye.to(like.device) if hasattr(eye, "to") else eye)[label]


def loss(cosine: Any, label: Any, n_per_class: int, scale: float, margin: float) -> Any:
    """Cross-entropy (...) of scale * (S - margin * onehot), in nats."""
    similarity = similarities(cosine, n_per_class, scale)
    own = onehot(label, similarity)
    return -(log_softmax(scale * (similarity - margin * own)) * own).sum(-1)


def error(cosine: Any, label: Any, n_per_class: int, scale: float, margin: float) -> Any:
    """Gradient of the loss by scale * cosine, (..., n_proto): softmax less onehot, spread over prototypes."""
    xp = _namespace(cosine)
    similarity = similarities(cosine, n_per_class, scale)
    own = onehot(label, similarity)
    e = xp.exp(log_softmax(scale * (similarity - margin * own))) - own
    if n_per_class == 1:
        return e
    share = xp.exp(log_softmax(scale * _by_class(cosine, n_per_class)))
    return (e[..., None] * share).reshape(cosine.shape)


def lead(similarity: Any, label: Any) -> Any:
    """By how much the own class leads the best other one, (...): what the gate compares."""
    own = onehot(label, similarity)
    others = similarity - own * 4.0  # similarities lie within -1..1
    return (similarity * own).sum(-1) - _namespace(similarity).amax(others, -1)


def local_gradient(prototype: Any, u: Any, cosine: Any, e: Any) -> Any:
    """The gradient at u less its part along u, (..., n_out).  prototype: (n_proto, n_out), unit rows."""
    return e @ prototype - (e * cosine).sum(-1)[..., None] * u


def gradients(prototype: Any, x: Any, u: Any, norm: Any, e: Any, scale: float) -> tuple[Any, Any]:
    """Gradients of the samples' mean loss by weights (n_out, n_in) and by prototypes on the sphere.

    prototype: (n_proto, n_out), unit rows.  x: (n, n_in).  u: (n, n_out) and norm: (n,), of forward.
    e: (n, n_proto), of error; a row of zeros learns nothing.
    """
    t = local_gradient(prototype, u, u @ prototype.T, e) * (u > 0)
    by_weight = (t * (scale / (len(x) * (norm * norm + EPS) ** 0.5))[:, None]).T @ x
    by_prototype = (scale / len(x)) * (e.T @ u)
    along = (by_prototype * prototype).sum(-1)[:, None]
    return by_weight, by_prototype - along * prototype


def updated_weight(
    weight: NDArray[np.floating[Any]],
    x: NDArray[np.floating[Any]],
    u: NDArray[np.floating[Any]],
    t: NDArray[np.floating[Any]],
    *,
    lr: float,
    norm: float,
    revive: bool,
) -> NDArray[np.floating[Any]]:
    """Weight after one sample's step, as the core takes it; numpy, weights in int8 steps.

    lr: relative to the squared length of a fresh row.  norm: |y|, or its running mean where that is larger
    (the cap).  revive: silent rows take a tenth of a step that would raise them.
    """
    if norm == 0:
        return weight
    mask = np.where(u > 0, 1.0, np.where((t < 0) & revive, REVIVE_RATE, 0.0))
    out: NDArray[np.floating[Any]] = weight - np.outer(lr * weight.shape[1] * W_RMS**2 / norm * t * mask, x)
    return out


def updated_prototype(
    prototype: NDArray[np.floating[Any]],
    u: NDArray[np.floating[Any]],
    e: NDArray[np.floating[Any]],
    *,
    lr: float,
) -> NDArray[np.floating[Any]]:
    """Prototypes after one sample's step, as the core takes it, back on the sphere; numpy."""
    moved = prototype - lr * np.outer(e, u)
    out: NDArray[np.floating[Any]] = moved / np.linalg.norm(moved, axis=1, keepdims=True)
    return out


def _by_class(cosine: Any, n_per_class: int) -> Any:
    return cosine.reshape(*cosine.shape[:-1], -1, n_per_class)


def _namespace(x: Any) -> Any:
    """Numpy or torch: the functions used here have one name and meaning in both."""
    return np if isinstance(x, (np.ndarray, np.generic)) else sys.modules["torch"]
