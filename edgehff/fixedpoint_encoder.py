"""The encoder again, in plain Python integers: raw samples to unit vectors; the other half of the oracle."""

from __future__ import annotations

import math
from collections.abc import Sequence

from edgehff.fixedpoint import clamp, log2, round_shift, unit


def window_features(
    raw: Sequence[Sequence[int]], features: Sequence[str], segments: int, log: bool
) -> list[int]:
    """mav, rms and wl of raw[time][channel], in that order."""
    n_time, width = len(raw), len(raw[0])
    length = n_time // segments

    def scaled(v: int, one: int) -> int:
        return log2(v + one) if log else v

    cuts = [
        [[raw[t][c] for t in range(s * length, (s + 1) * length)] for c in range(width)]
        for s in range(segments)
    ]
    out = []
    if "mav" in features:
        out += [scaled(sum(map(abs, v)), length) for cut in cuts for v in cut]
    if "rms" in features:
        out += [
            scaled(math.isqrt(sum(w * w for w in v) * length * 256), 16 * length) for cut in cuts for v in cut
        ]
    if "wl" in features:
        out += [
            scaled(sum(abs(raw[t][c] - raw[t - 1][c]) for t in range(1, n_time)), n_time)
            for c in range(width)
        ]
    return out


def plain_features(raw: Sequence[int], log: bool) -> list[int]:
    """The values themselves, or sign(v) * log2(1 + |v|)."""
    return [(-log2(1 - v) if v < 0 else log2(1 + v)) for v in raw] if log else list(raw)


def encode(
    features: Sequence[int],
    offset: Sequence[int] | None,
    gain: Sequence[int] | None,
    gain_shift: int,
    bias: int,
    parts: int = 1,
) -> list[int]:
    """The unit vector of standardized features, where bias is not 0 with it behind each of equal parts."""
    z = list(features)
    if offset is not None and gain is not None:
        z = [
            clamp(round_shift((f - o) * g, gain_shift), 32767)
            for f, o, g in zip(z, offset, gain, strict=True)
        ]
    if bias:
        n = len(z) // parts
        z = [v for s in range(parts) for v in [*z[s * n : (s + 1) * n], bias]]
    return unit(z)[0]
