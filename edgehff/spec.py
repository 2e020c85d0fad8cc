"""One HFF layer as pure functions in floating point: what the integers of the core approximate.

HFF, arXiv 2605.00082, as reconstructed in docs/explanation/architecture.md: features y = relu(W x),
direction u = y / |y|, class similarity S_c = log-mean-exp over the class's prototypes of their cosine with
u, cross-entropy of scale * (S - margin * onehot). Each function says its shapes; n_proto is n_classes *
n_per_class, class by class. Weights are in int8 steps, so that rates mean the same here and in the core.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.floating[Any]]

W_RMS = 16.0
MEAN_RATE = 1.0 / 1024.0
REVIVE_RATE = 0.1


def forward(weight: Float, x: Float) -> tuple[Float, float]:
    """(u, |y|) of y = relu(W x).  weight: (n_out, n_in).  x: (n_in,), unit.  u: (n_out,), zero where y is."""
    y = np.maximum(weight @ x, 0.0)
    norm = float(np.sqrt(y @ y))
    return (y / norm if norm > 0 else y), norm


def similarities(cosine: Float, n_per_class: int, scale: float) -> Float:
    """Class similarities (n_classes,) from cosines (n_proto,): log-mean-exp with temperature 1 / scale."""
    if n_per_class == 1:
        return cosine
    own = scale * cosine.reshape(-1, n_per_class)
    top = own.max(axis=1)
    mean: Float = np.exp(own - top[:, None]).mean(axis=1)
    out: Float = (top + np.log(mean)) / scale
    return out


def log_softmax(logit: Float) -> Float:
    """Log-probabilities of logits, both (n_classes,)."""
    shifted = logit - logit.max()
    out: Float = shifted - np.log(np.exp(shifted).sum())
    return out


def error(cosine: Float, label: int, n_per_class: int, scale: float, margin: float) -> Float:
    """Gradient of the loss by scale * cosine, (n_proto,): softmax less onehot, spread over prototypes."""
    logit = scale * similarities(cosine, n_per_class, scale)
    logit[label] -= scale * margin
    e = np.exp(log_softmax(logit))
    e[label] -= 1.0
    if n_per_class == 1:
        return e
    own = scale * cosine.reshape(-1, n_per_class)
    share = np.exp(own - own.max(axis=1, keepdims=True))
    share /= share.sum(axis=1, keepdims=True)
    spread: Float = (e[:, None] * share).reshape(-1)
    return spread


def local_gradient(prototype: Float, u: Float, cosine: Float, e: Float) -> Float:
    """The gradient at u less its part along u, (n_out,).  prototype: (n_proto, n_out), unit rows."""
    out: Float = e @ prototype - (e @ cosine) * u
    return out


def updated_weight(
    weight: Float, x: Float, u: Float, t: Float, *, lr: float, norm: float, revive: bool
) -> Float:
    """Weight after one step.  norm: |y|, or its running mean where that is larger (the cap)."""
    if norm == 0:
        return weight
    mask = np.where(u > 0, 1.0, np.where((t < 0) & revive, REVIVE_RATE, 0.0))
    out: Float = weight - np.outer(lr * weight.shape[1] * W_RMS**2 / norm * t * mask, x)
    return out


def updated_prototype(prototype: Float, u: Float, e: Float, *, lr: float) -> Float:
    """Prototypes after one step, back on the sphere."""
    moved = prototype - lr * np.outer(e, u)
    out: Float = moved / np.linalg.norm(moved, axis=1, keepdims=True)
    return out
