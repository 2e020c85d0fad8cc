import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgehff.errors import DataError, RecipeError, ShapeError
from edgehff.model.encoding import DEVIATION, Encoding, fit_encoding
from edgehff.recipe import EncoderRecipe

PLAIN = EncoderRecipe()
STANDARD = EncoderRecipe(standardize=True)


@pytest.fixture
def rng():
    return np.random.default_rng(3)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16"])
def test_integer_samples_are_kept(rng, dtype):
    info = np.iinfo(dtype)
    x = rng.integers(info.min, info.max, (10, 4, 3), endpoint=True).astype(dtype)
    encoding = fit_encoding(x, PLAIN)
    assert (encoding.raw, encoding.shape, encoding.input_scale) == (dtype, (12, 1), None)
    assert np.array_equal(encoding.quantize_raw(x), x.reshape(10, 12))
    assert encoding.raw_bytes == 12 * x.itemsize


@pytest.mark.parametrize(
    ("top", "scale"),
    [(1.0, 2**14), (0.9999, 2**15), (32767.0, 1), (32768.0, 0.5), (2.0**34, 2.0**-20), (1e-6, 2**20)],
)
def test_floats_take_the_largest_power_of_two_that_fits(top, scale):
    x = np.array([[-top, 0.0], [top / 2, top]], np.float64)
    encoding = fit_encoding(x, PLAIN)
    assert encoding.input_scale == scale
    assert encoding.raw == "int16"
    assert np.array_equal(encoding.quantize_raw(x), np.rint(x * scale).astype(np.int16))


def test_float_samples_saturate_and_round_to_even():
    encoding = Encoding("int16", (5, 1), input_scale=1.0)
    x = np.array([[1e30, -3.4e38, 0.5, 1.5, -2.5]], np.float32)
    assert encoding.quantize_raw(x).tolist() == [[32767, -32768, 0, 2, -2]]
    assert replace(encoding, input_scale=2.0**20).quantize_raw(x).tolist() == [
        [32767, -32768, 32767, 32767, -32768]
    ]


@pytest.mark.parametrize("top", [1e12, 1e-9])
def test_floats_that_no_scale_fits_are_refused(top):
    with pytest.raises(DataError, match="samples reach"):
        fit_encoding(np.array([[top, 0.0]]), PLAIN)


def test_nan_and_infinity_are_counted_and_their_first_row_named():
    x = np.zeros((9000, 2), np.float32)
    x[5000] = np.nan
    x[8999, 1] = -np.inf
    with pytest.raises(DataError, match="3 values are NaN or infinite, the first in row 5000"):
        fit_encoding(x, PLAIN)
    with pytest.raises(DataError, match="3 values are NaN or infinite, the first in row 5000"):
        Encoding("int16", (2, 1), input_scale=1.0).quantize_raw(x)


def test_a_window_keeps_its_axes(rng):
    x = rng.integers(-99, 99, (6, 20, 3)).astype(np.int8)
    recipe = EncoderRecipe(features=("mav", "wl"), segments=4, log=True)
    encoding = fit_encoding(x, recipe)
    assert encoding.shape == (20, 3)
    assert encoding.n_features == 4 * 3 + 3
    encoding.quantize_raw(x.reshape(6, 60))
    with pytest.raises(ShapeError, match=r"samples have shape \(3, 20\), this model takes \(20, 3\)"):
        encoding.quantize_raw(x.reshape(6, 3, 20))
    with pytest.raises(RecipeError, match="no 3 equal segments") as caught:
        fit_encoding(x, EncoderRecipe(features=("mav",), segments=3))
    assert caught.value.hint in ("encoder.segments = 2", "encoder.segments = 4")
    with pytest.raises(RecipeError, match="no windows"):
        fit_encoding(x.reshape(6, 5, 4, 3), recipe)
    assert fit_encoding(x[:, :, 0], recipe).shape == (20, 1)


@pytest.mark.parametrize(
    ("x", "match"),
    [
        (np.zeros((2, 12), np.int16), "samples are int16, this model takes uint8"),
        (np.zeros((2, 12), np.float32), "samples are float32"),
        (np.zeros((2, 11), np.uint8), "shape"),
        (np.zeros(12, np.uint8), "shape"),
    ],
)
def test_other_samples_are_refused(x, match):
    with pytest.raises(ShapeError, match=match):
        Encoding("uint8", (12, 1)).quantize_raw(x)


def exact(f):
    """(mean, deviation^2) of each column, as fractions."""
    columns = [[int(v) for v in column] for column in f.T]
    means = [Fraction(sum(c), len(c)) for c in columns]
    return means, [sum((v - m) ** 2 for v in c) / len(c) for c, m in zip(columns, means, strict=True)]


@settings(max_examples=60, deadline=None)
@given(
    st.integers(2, 40).flatmap(
        lambda n: st.lists(
            st.lists(st.integers(-32768, 32767), min_size=n, max_size=n), min_size=1, max_size=5
        )
    )
)
def test_standardized_constants_are_those_of_exact_fractions(columns):
    x = np.array(columns, np.int16).T.copy()
    means, variances = exact(x)
    varying = sorted(math.sqrt(v) for v in variances if v)
    if not varying:
        with pytest.raises(DataError, match="no feature varies"):
            fit_encoding(x, STANDARD)
        return
    encoding = fit_encoding(x, STANDARD)
    floor = varying[(len(varying) - 1) // 2] / 8
    assert encoding.offset.tolist() == [math.floor(m + Fraction(1, 2)) for m in means]
    wanted = [DEVIATION / max(math.sqrt(v), floor) * 2**encoding.gain_shift for v in variances]
    for gain, want in zip(encoding.gain.tolist(), wanted, strict=True):
        assert gain in (1, 65535) or abs(gain - want) <= 0.5 + 1e-6 * want
        assert gain < 65535 or want > 65534
        assert gain > 1 or want < 2
    room = max(wanted) * 2 > 65535 or encoding.gain_shift == 30
    assert room, "a larger shift would have kept every gain at or below 65535"


def test_one_deviation_becomes_4096(rng):
    x = np.rint(rng.normal(300, 50, (5000, 6))).astype(np.int16)
    encoding = fit_encoding(x, STANDARD)
    z = ((x - encoding.offset.astype(np.int64)) * encoding.gain) >> encoding.gain_shift
    assert np.allclose(z.std(axis=0), DEVIATION, rtol=0.002)
    assert np.allclose(z.mean(axis=0), 0, atol=DEVIATION / 50)


def test_a_nearly_constant_feature_is_not_blown_up(rng):
    x = np.rint(rng.normal(0, 100, (1000, 5))).astype(np.int16)
    x[:, 4] = 0
    x[7, 4] = 1
    gain = fit_encoding(x, STANDARD).gain.astype(int)
    assert gain[4] == pytest.approx(8 * np.median(gain[:4]), rel=0.1)


def test_moments_of_the_largest_features_are_exact():
    burst = np.tile(np.array([[-32768], [32767]], np.int16), (1024, 1))
    x = np.stack([burst, np.zeros((2048, 1), np.int16), burst // 2])
    recipe = EncoderRecipe(features=("mav", "rms", "wl"), standardize=True)
    fitted = fit_encoding(x, recipe)
    features = replace(fitted, offset=None, gain=None).to_core().raw_features(x)
    assert features.max() > 2**29
    means, variances = exact(features)
    assert fitted.offset.tolist() == [math.floor(m + Fraction(1, 2)) for m in means]
    wanted = [DEVIATION / math.sqrt(v) * 2**fitted.gain_shift for v in variances]
    assert np.allclose(fitted.gain, wanted, rtol=0, atol=0.51)


def test_center_only_subtracts_the_mean(rng):
    x = rng.integers(0, 256, (100, 7)).astype(np.uint8)
    encoding = fit_encoding(x, EncoderRecipe(center=True))
    assert encoding.offset.tolist() == np.floor(x.mean(axis=0) + 0.5).astype(int).tolist()
    assert (encoding.gain.tolist(), encoding.gain_shift) == ([1] * 7, 0)


def test_center_leaves_a_factor_of_two_in_reserve():
    x = np.array([[-32768, 5], [32767, 5]], np.int16)
    encoding = fit_encoding(x, EncoderRecipe(center=True))
    z = (x.astype(np.int64) - encoding.offset) / 2**encoding.gain_shift
    assert 8192 <= np.abs(z).max() < 16384


def test_fitting_does_not_depend_on_the_order_of_rows(rng):
    x = rng.normal(0, 3, (9000, 4)).astype(np.float32)
    a, b = fit_encoding(x, STANDARD), fit_encoding(x[rng.permutation(9000)], STANDARD)
    assert np.array_equal(a.gain, b.gain)
    assert np.array_equal(a.offset, b.offset)


@pytest.mark.parametrize(
    "changes",
    [
        {"raw": "uint16"},
        {"shape": (0, 1)},
        {"shape": (65536, 1)},
        {"segments": 0},
        {"bias": 40000},
        {"gain_shift": 31},
        {"features": ("mav", "mav")},
        {"features": ("mean",)},
        {"offset": np.zeros(4, np.int32)},
        {"input_scale": 3.0},
        {"input_scale": 1.0, "raw": "int8"},
        {"offset": np.zeros(3, np.int32), "gain": np.zeros(3, np.uint16)},
    ],
)
def test_an_impossible_encoding_is_refused(changes):
    with pytest.raises(ShapeError):
        Encoding(**({"raw": "int16", "shape": (4, 1)} | changes))


def test_the_largest_sample_fits():
    encoding = fit_encoding(np.ones((1, 65536), np.int8), PLAIN)
    assert encoding.n_raw == encoding.n_features == 65536
    with pytest.raises(ShapeError):
        fit_encoding(np.ones((1, 65537), np.int8), PLAIN)


@pytest.mark.parametrize("x", [np.zeros((0, 3), np.int8), np.zeros((2, 3), np.int32), np.zeros((2, 3), bool)])
def test_unusable_training_rows_are_refused(x):
    with pytest.raises(DataError):
        fit_encoding(x, PLAIN)
