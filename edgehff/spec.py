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
    y = windows(shape, weight, x)[1].clip(0.0)
    y = y.sum(-2) / pool_divisor(shape) if shape.conv.pool == "mean" else xp.amax(y, -2)
    squares = (y * y).sum(-1).sum(-1)
    u = y / (squares + EPS)[..., None, None] ** 0.5
    f = _beside(cell_matrix(shape), u) @ u
    f = f.reshape(*f.shape[:-2], -1)
    length = ((f * f).sum(-1) + EPS) ** 0.5
    return u.reshape(*u.shape[:-2], -1), f / length[..., None], squares**0.5 * length


def route(shape: LayerShape, y: Any) -> Any:
    """How much a change before pooling shows after it, through the rectifier: as y, of `windows`.

    y: (..., positions after pooling, positions of a window, channels).  For "max" 1 at the first largest
    position where that is positive; for "mean" one share at every positive one; 0 elsewhere.
    """
    assert shape.conv is not None
    active = y > 0
    if shape.conv.pool == "mean":
        return active / pool_divisor(shape)
    first = y.argmax(-2)[..., None, :] == _beside(np.arange(y.shape[-2])[:, None], y.argmax(-2))
    return (active & first) * 1.0


def windows(shape: LayerShape, weight: Any, x: Any) -> tuple[Any, Any]:
    """What kernels lie on, and W * x before the rectifier.

    Shapes (..., positions after pooling, positions of a window, n_in), of a depthwise layer (taps, channels)
    in the place of n_in; and (..., positions after pooling, positions of a window, channels).
    """
    assert shape.conv is not None
    padded = _namespace(x).concatenate([x, x[..., :1] * 0.0], -1)
    patches = padded[..., patch_index(shape)]
    if shape.conv.kind == "depthwise":
        return patches, (patches * weight.T).sum(-2)
    return patches, patches @ weight.T


def _over_positions(shape: LayerShape, patches: Any, routes: Any, t: Any) -> Any:
    """The sum over samples and positions of t at the position's cell times what the kernel lies on.

    patches, routes: of `windows` and `route`.  t: (..., cells * channels).  Returns (channels, n_in).
    """
    assert shape.conv is not None
    cell = _beside(cell_matrix(shape).argmax(0), t)
    own = t.reshape(*t.shape[:-1], shape.conv.n_cells, shape.n_out)[..., cell, :]
    at = (own[..., None, :] * routes).reshape(-1, shape.n_out)
    if shape.conv.kind == "depthwise":
        flat = patches.reshape(-1, shape.n_in, shape.n_out)
        return (at[:, None, :] * flat).sum(0).T
    return at.T @ patches.reshape(-1, shape.n_in)


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
    return by_weight, prototype_gradient(prototype, u, e, scale)


def prototype_gradient(prototype: Any, head: Any, e: Any, scale: float) -> Any:
    """Gradient of the samples' mean loss by prototypes, along the sphere: (n_proto, elements of a head).

    prototype: unit rows.  head: (n, elements), what prototypes see; of a dense layer u.  e: (n, n_proto).
    """
    by_prototype = (scale / len(head)) * (e.T @ head)
    along = (by_prototype * prototype).sum(-1)[:, None]
    return by_prototype - along * prototype


def head_gradient(prototype: Any, head: Any, norm: Any, e: Any, scale: float) -> Any:
    """Gradient of the samples' mean loss by f, whose direction is the head: (n, elements of a head).

    prototype: (n_proto, elements), unit rows.  head: (n, elements) and norm: (n,), |f|, of conv_forward.
    e: (n, n_proto), of error.
    """
    factor = scale / (len(head) * (norm * norm + EPS) ** 0.5)
    return local_gradient(prototype, head, head @ prototype.T, e) * factor[:, None]


def conv_gradients(
    shape: LayerShape, weight: Any, prototype: Any, x: Any, e: Any, scale: float
) -> tuple[Any, Any]:
    """Gradients of the mean loss of a convolution: by weights (channels, n_in), by prototypes on the sphere.

    prototype: (n_proto, cells * channels), unit rows.  x: (n, elements of the map).  e: (n, n_proto).
    """
    _, head, norm = conv_forward(shape, weight, x)
    patches, y = windows(shape, weight, x)
    t = head_gradient(prototype, head, norm, e, scale)
    by_weight = _over_positions(shape, patches, route(shape, y), t)
    return by_weight, prototype_gradient(prototype, head, e, scale)


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


def updated_conv_weight(
    shape: LayerShape,
    weight: NDArray[np.floating[Any]],
    x: NDArray[np.floating[Any]],
    t: NDArray[np.floating[Any]],
    *,
    lr: float,
    norm: float,
    revive: bool,
) -> NDArray[np.floating[Any]]:
    """Convolution's weight (channels, n_in) after one sample's step, as the core takes it; numpy.

    x: (elements of the map,).  t: (cells * channels,), of local_gradient at the head.  norm: |f|, or its
    running mean where that is larger.  revive: a channel that is silent everywhere takes a tenth of the step
    that the first position of every window would have, where t would raise it.
    """
    if norm == 0:
        return weight
    patches, y = windows(shape, weight, x)
    routes = route(shape, y)
    if revive:
        assert shape.conv is not None
        dead = ~(y > 0).any((0, 1))
        routes[:, 0, dead] = REVIVE_RATE / (pool_divisor(shape) if shape.conv.pool == "mean" else 1)
        t = np.where(np.tile(dead, shape.conv.n_cells), np.minimum(t, 0.0), t)
    step: NDArray[np.floating[Any]] = _over_positions(shape, patches, routes, t)
    return weight - lr * shape.n_in * W_RMS**2 / norm * step


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


def _beside(array: NDArray[Any], x: Any) -> Any:
    """A constant as numpy or torch array where x is, floating ones in x's precision."""
    is_float = array.dtype.kind == "f"
    if isinstance(x, (np.ndarray, np.generic)):
        return array.astype(x.dtype) if is_float else array
    dtype = x.dtype if is_float else None
    return sys.modules["torch"].as_tensor(array, device=x.device, dtype=dtype)


def _namespace(x: Any) -> Any:
    """Numpy or torch: the functions used here have one name and meaning in both."""
    return np if isinstance(x, (np.ndarray, np.generic)) else sys.modules["torch"]
