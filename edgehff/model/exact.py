"""The encoder in float64, without the core's roundings: what exported graphs and float networks compute."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehff.model.encoding import Encoding

Z_LIMIT = 32767.0
LOG2_ONE = 65536.0
"""The core's log2 is in Q16."""

Float = NDArray[np.float64]


def encoded(encoding: Encoding, raw: NDArray[Any]) -> Float:
    """What the core's encoder brings to length 1, (n, n_features): features, offset, gain, limits, bias.

    raw: samples as Encoding.quantize_raw takes them; float samples are rounded to the core's integers.
    Features, logarithms and gains are not rounded.
    """
    x = encoding.quantize_raw(raw).astype(np.float64)
    z = _window(encoding, x) if encoding.features else _plain(encoding, x)
    if encoding.offset is not None and encoding.gain is not None:
        z = np.clip((z - encoding.offset) * (encoding.gain / 2.0**encoding.gain_shift), -Z_LIMIT, Z_LIMIT)
    if encoding.bias:
        parts = 1 if encoding.features else encoding.segments
        cut = z.reshape(len(z), parts, -1)
        z = np.concatenate([cut, np.full((len(z), parts, 1), float(encoding.bias))], axis=2)
    return z.reshape(len(z), -1)


def _plain(e: Encoding, x: Float) -> Float:
    return np.sign(x) * np.log2(1 + np.abs(x)) * LOG2_ONE if e.log else x


def _window(e: Encoding, x: Float) -> Float:
    (n_time, width), length = e.shape, e.shape[0] // e.segments
    rows = x.reshape(len(x), n_time, width)
    cut = x.reshape(len(x), e.segments, length, width)
    totals: dict[str, tuple[Float, int]] = {}
    if "mav" in e.features:
        totals["mav"] = np.abs(cut).sum(axis=2), length
    if "rms" in e.features:
        totals["rms"] = np.sqrt((cut * cut).sum(axis=2) * (256 * length)), 16 * length
    if "wl" in e.features:
        totals["wl"] = np.abs(np.diff(rows, axis=1)).sum(axis=1), n_time
    parts = []
    for total, unit in totals.values():
        f = total.reshape(len(x), -1)
        parts.append(np.log2(f + unit) * LOG2_ONE if e.log else f)
    return np.concatenate(parts, axis=1)
