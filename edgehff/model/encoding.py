"""The encoder as data: how raw samples become unit vectors, with constants fitted on training rows.

Everything that is fitted comes from sums of integers, so that the same rows give the same constants on
every machine.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehff.core import RAW_TYPES, Encoder
from edgehff.errors import DataError, RecipeError, ShapeError
from edgehff.recipe import EncoderRecipe
from edgehff.recipe_check import FEATURES

DEVIATION = 4096
"""What one standard deviation of a standardized feature becomes."""

MAX_GAIN = 65535
MAX_GAIN_SHIFT = 30
_INPUT_SCALES = tuple(2.0**k for k in range(-20, 21))
_CENTERED_BITS = 14
_ROWS = 4096


@dataclass(frozen=True, eq=False)
class Encoding:
    """What an encoder is made of; `to_core` makes it run.

    raw: "uint8", "int8" or "int16".
    shape: (n_time, n_channels) of a window, 1 to 65535 each; (n_values, 1) where features is empty.
    features, segments, log, bias: as in EncoderRecipe.
    offset: int32, one a feature without the bias, or None: no standardization.
    gain: uint16, likewise: z = round((f - offset) * gain / 2**gain_shift), saturated to int16.
    gain_shift: 0 to 30.
    input_scale: for float samples, a power of two: raw = round(sample * input_scale); None for integers.

    Raises:
        ShapeError: a field lies outside its range, or the core refuses the sizes.
    """

    raw: str
    shape: tuple[int, int]
    features: tuple[str, ...] = ()
    segments: int = 1
    log: bool = False
    bias: int = 0
    offset: NDArray[np.int32] | None = None
    gain: NDArray[np.uint16] | None = None
    gain_shift: int = 0
    input_scale: float | None = None

    def __post_init__(self) -> None:
        _check(self)
        self.to_core()

    @property
    def n_raw(self) -> int:
        """Values of one raw sample."""
        return self.shape[0] * self.shape[1]

    @property
    def n_features(self) -> int:
        """Elements of one encoded vector, with the bias."""
        return self.to_core().n_features

    @property
    def raw_bytes(self) -> int:
        """Bytes of one raw sample."""
        return self.n_raw * np.dtype(self.raw).itemsize

    def to_core(self) -> Encoder:
        """The encoder of the C core."""
        return Encoder(
            self.raw,
            self.shape,
            features=self.features,
            segments=self.segments,
            log=self.log,
            bias=self.bias,
            offset=self.offset,
            gain=self.gain,
            gain_shift=self.gain_shift,
        )

    def quantize_raw(self, x: NDArray[Any]) -> NDArray[Any]:
        """Samples as the core takes them: integers as they are, floats times input_scale, saturated to int16.

        Args:
            x: shape (n, *sample_shape) of n_raw values a sample. A window's samples are (n_time, n_channels),
               flat, or (n_time,) for one channel; other samples may have any shape. dtype `raw`, or a float
               type where input_scale is set.

        Returns:
            C-contiguous array of dtype `raw`, shape (n, n_raw).

        Raises:
            ShapeError: another dtype or shape.
            DataError: NaN or infinite values, with their number and the first row.
        """
        flat = self._flat(x)
        if self.input_scale is None:
            return flat
        _check_finite(flat)
        out = np.empty(flat.shape, np.int16)
        for start in range(0, len(flat), _ROWS):
            part = flat[start : start + _ROWS]
            with np.errstate(over="ignore"):  # what leaves the float's range saturates below
                scaled = np.rint(part * part.dtype.type(self.input_scale))
            out[start : start + _ROWS] = np.clip(scaled, -32768, 32767).astype(np.int16)
        return out

    def _flat(self, x: NDArray[Any]) -> NDArray[Any]:
        wanted = "float32 or float64" if self.input_scale is not None else self.raw
        if x.dtype.name not in wanted.split(" or "):
            raise ShapeError(
                f"samples are {x.dtype}, this model takes {wanted}", hint="bring them to the training dtype"
            )
        sample = x.shape[1:]
        fits = x.ndim >= 1 and math.prod(sample) == self.n_raw
        if self.features and len(sample) > 1:
            fits = sample == self.shape
        if not fits:
            window = self.shape if self.features else (self.n_raw,)
            raise ShapeError(
                f"samples have shape {sample}, this model takes {window}",
                hint="give one row a sample: x[None] for a single one",
            )
        return np.ascontiguousarray(x.reshape(len(x), self.n_raw), dtype=x.dtype.newbyteorder("="))


def _check(e: Encoding) -> None:
    ranges = [
        ("n_time", e.shape[0], 1, 65535),
        ("n_channels", e.shape[1], 1, 65535),
        ("segments", e.segments, 1, 65535),
        ("bias", e.bias, -32768, 32767),
        ("gain_shift", e.gain_shift, 0, MAX_GAIN_SHIFT),
    ]
    for name, value, low, high in ranges:
        if not low <= value <= high:
            raise ShapeError(
                f"encoder: {name} = {value} lies outside {low} to {high}", hint="see docs/reference/recipe.md"
            )
    if e.raw not in RAW_TYPES:
        raise ShapeError(f"encoder: raw = {e.raw!r}", hint=f"take one of {', '.join(RAW_TYPES)}")
    if len(set(e.features)) < len(e.features) or not set(e.features) <= set(FEATURES):
        raise ShapeError(f"encoder: features = {e.features}", hint=f"each of {FEATURES} at most once")
    if (e.offset is None) != (e.gain is None):
        raise ShapeError("encoder: offset and gain come together or not at all", hint="give both, or neither")
    if e.input_scale is not None and (e.raw != "int16" or e.input_scale not in _INPUT_SCALES):
        raise ShapeError(
            f"encoder: input_scale = {e.input_scale} with raw = {e.raw!r}",
            hint='float samples become int16 by a power of two from 2^-20 to 2^20: raw = "int16"',
        )


def _check_finite(flat: NDArray[Any]) -> None:
    bad = first = 0
    for start in range(0, len(flat), _ROWS):
        finite = np.isfinite(flat[start : start + _ROWS])
        if bad == 0 and not finite.all():
            first = start + int((~finite.all(axis=1)).argmax())
        bad += int(finite.size - finite.sum())
    if bad:
        raise DataError(
            f"{bad} values are NaN or infinite, the first in row {first}",
            hint="remove those rows, or fill the gaps, before they reach the model",
        )


def fit_encoding(x: NDArray[Any], recipe: EncoderRecipe) -> Encoding:
    """The encoder of a recipe, with its constants fitted on training rows.

    - uint8, int8 and int16 samples are taken as they are. Floats are multiplied by the largest power of two,
      2^-20 to 2^20, that keeps the largest magnitude at or below 32767.
    - center: offset is each feature's mean, rounded; gain is 1, and gain_shift the smallest that brings the
      largest distance from the mean below 16384: unseen samples have a factor of two in reserve.
    - standardize: the same offset, and one standard deviation becomes 4096. A feature whose deviation is
      below an eighth of the median (over the features that vary at all) is divided by that eighth instead,
      so that a nearly constant one is not blown up. All gains share the largest shift that keeps them
      at or below 65535.

    Args:
        x: training rows, shape (n, *sample_shape), uint8, int8, int16, float32 or float64; n >= 1. With
           features, a sample is (n_time,) or (n_time, n_channels).
        recipe: the encoder's recipe.

    Raises:
        DataError: no rows, a dtype that cannot be used, NaN or infinity, floats beyond 2^20 * 32767 or all of
            them too small to be told from zero, or standardize without a feature that varies.
        RecipeError: the recipe's features do not suit the samples.
        ShapeError: a sample has more values than the core takes.
    """
    if x.ndim < 1 or len(x) == 0:
        raise DataError(f"training samples have shape {x.shape}", hint="give (n, values), n at least 1")
    scale = _input_scale(x)
    plain = Encoding(
        raw="int16" if scale is not None else _raw_type(x),
        shape=_window(x.shape[1:], recipe),
        features=recipe.features,
        segments=recipe.segments if recipe.features or recipe.bias else 1,
        log=recipe.log,
        bias=recipe.bias,
        input_scale=scale,
    )
    if not (recipe.center or recipe.standardize):
        return plain
    moments = _Moments(plain, x)
    gain, shift = moments.gains() if recipe.standardize else moments.common_shift()
    return replace(plain, offset=moments.offset, gain=gain, gain_shift=shift)


class _Moments:
    """Exact moments of each feature over the rows, in integers."""

    def __init__(self, plain: Encoding, x: NDArray[Any]) -> None:
        self.n = len(x)
        total = sum((f.sum(axis=0) for f in _features(plain, x)), np.int64(0))  # |sum| <= n * 2^30
        self.offset = ((2 * total + self.n) // (2 * self.n)).astype(np.int32)
        high, low, self.largest = np.int64(0), np.int64(0), 0
        for f in _features(plain, x):
            d = f - self.offset  # |d| <= 2^31, its square <= 2^62: summed in two halves
            square = d * d
            high = high + (square >> 32).sum(axis=0)
            low = low + (square & 0xFFFFFFFF).sum(axis=0)
            self.largest = max(self.largest, int(np.abs(d).max()))
        rest = total - self.n * self.offset.astype(np.int64)
        # n * deviation * 2^16: the root of n * (sum of squares) - (sum)^2, exact up to the last bit
        self.deviation = [
            math.isqrt((self.n * ((int(h) << 32) + int(w)) - int(r) ** 2) << 32)
            for h, w, r in zip(np.atleast_1d(high), np.atleast_1d(low), rest, strict=True)
        ]

    def common_shift(self) -> tuple[NDArray[np.uint16], int]:
        shift = max(0, self.largest.bit_length() - _CENTERED_BITS)
        return np.ones(len(self.offset), np.uint16), shift

    def gains(self) -> tuple[NDArray[np.uint16], int]:
        varying = sorted(d for d in self.deviation if d > 0)
        if not varying:
            raise DataError(
                f"no feature varies over the {self.n} training rows: there is no deviation to divide by",
                hint="standardize = false in the recipe, or check that the samples are not all zero",
            )
        floor = max(1, varying[(len(varying) - 1) // 2] // 8)
        one = (DEVIATION * self.n) << 16

        def gain(deviation: int, shift: int) -> int:
            d = max(deviation, floor)
            return ((one << (shift + 1)) + d) // (2 * d)

        steepest = min(self.deviation)
        shift = max((s for s in range(MAX_GAIN_SHIFT + 1) if gain(steepest, s) <= MAX_GAIN), default=0)
        return np.array([max(1, min(MAX_GAIN, gain(d, shift))) for d in self.deviation], np.uint16), shift


def _features(plain: Encoding, x: NDArray[Any]) -> Iterator[NDArray[np.int64]]:
    encoder = plain.to_core()
    for start in range(0, len(x), _ROWS):
        yield encoder.raw_features(plain.quantize_raw(x[start : start + _ROWS])).astype(np.int64)


def _input_scale(x: NDArray[Any]) -> float | None:
    if x.dtype.kind != "f" or x.dtype.name not in ("float32", "float64"):
        return None
    _check_finite(x.reshape(len(x), -1))
    top = float(max(-x.min(), x.max())) if x.size else 0.0
    fitting = [scale for scale in _INPUT_SCALES if top * scale <= 32767]
    if not fitting or 0 < top * fitting[-1] < 0.5:
        raise DataError(
            f"samples reach {top:g}, int16 with a scale of 2^-20 to 2^20 holds 4.8e-07 to 3.4e+10",
            hint="multiply the samples by one constant, here and wherever the model is used",
        )
    return fitting[-1]


def _raw_type(x: NDArray[Any]) -> str:
    if x.dtype.name not in RAW_TYPES:
        raise DataError(
            f"samples are {x.dtype}, not {', '.join(RAW_TYPES)}, float32 or float64",
            hint="save X.astype(np.float32)",
        )
    return str(x.dtype.name)


def _window(sample: tuple[int, ...], recipe: EncoderRecipe) -> tuple[int, int]:
    if not recipe.features:
        n = math.prod(sample)
        return (n, 1) if n != 65536 else (n // 2, 2)  # 65,536 values are possible, and each side fits 16 bits
    if len(sample) not in (1, 2):
        raise RecipeError(
            f"samples of shape {sample} are no windows for features {', '.join(recipe.features)}",
            hint="a window is (n_time,) or (n_time, n_channels); else leave encoder.features out",
        )
    n_time = sample[0]
    if n_time % recipe.segments or n_time // recipe.segments > 2048:
        even = [s for s in range(1, n_time + 1) if n_time % s == 0 and n_time // s <= 2048]
        near = min(even, key=lambda s: abs(s - recipe.segments), default=1)
        raise RecipeError(
            f"a window of {n_time} rows has no {recipe.segments} equal segments of at most 2048 rows",
            hint=f"encoder.segments = {near}",
        )
    return (n_time, sample[1] if len(sample) == 2 else 1)
