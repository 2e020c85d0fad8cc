"""The encoder in float64 is the core's without its roundings."""

from dataclasses import replace

import numpy as np
import pytest

from edgehff.model.encoding import Encoding, fit_encoding
from edgehff.model.exact import Z_LIMIT, encoded
from edgehff.recipe import EncoderRecipe

ROUNDING = {"mav": (0, 0), "wl": (0, 0), "rms": (0, 1)}
LOG2_ERROR = 13


def samples(raw, shape, n=60, seed=0):
    info = np.iinfo(raw)
    rng = np.random.default_rng(seed)
    x = rng.integers(info.min, info.max + 1, (n, *shape))
    x[: n // 2] //= 40
    x[0], x[1], x[2] = 0, info.min, info.max
    return x.astype(raw)


@pytest.mark.parametrize("raw", ["uint8", "int8", "int16"])
@pytest.mark.parametrize("feature", ["mav", "rms", "wl"])
@pytest.mark.parametrize("segments", [1, 3])
@pytest.mark.parametrize("log", [False, True])
def test_features_of_windows_are_the_core_s_unrounded(raw, feature, segments, log):
    e = Encoding(raw, (12, 3), features=(feature,), segments=segments, log=log)
    x = samples(raw, (12, 3))
    core, exact = e.to_core().raw_features(e.quantize_raw(x)), encoded(e, x)
    assert core.shape == exact.shape
    if log:  # the table, and what a root rounded down by less than one of 16 * 4 makes
        assert np.abs(core - exact).max() < LOG2_ERROR + (feature == "rms") * 65536 * np.log2(1 + 1 / 64)
        return
    below, above = ROUNDING[feature]
    assert (core - exact <= below).all()
    assert (exact - core <= above).all()


@pytest.mark.parametrize("raw", ["uint8", "int8", "int16"])
def test_values_are_themselves_or_their_signed_logarithm(raw):
    x = samples(raw, (7,))
    assert np.array_equal(encoded(Encoding(raw, (7, 1)), x), x)
    e = Encoding(raw, (7, 1), log=True)
    assert np.abs(e.to_core().raw_features(x) - encoded(e, x)).max() < LOG2_ERROR


@pytest.mark.parametrize("recipe", [EncoderRecipe(center=True), EncoderRecipe(standardize=True, bias=-300)])
@pytest.mark.parametrize("raw", ["uint8", "int16"])
def test_offset_gain_limits_and_bias_are_the_core_s(raw, recipe):
    x = samples(raw, (9,))
    e = fit_encoding(x[3:33], recipe)  # the quieter half: others reach the limits
    z = encoded(e, x)
    assert np.abs(z[:, : 9 - 0]).max() <= Z_LIMIT
    assert (z[:, 9:] == recipe.bias).all()
    core = e.to_core().encode(x) / 16384
    length = np.linalg.norm(z, axis=1, keepdims=True)
    assert np.abs(core * length - z).max() < 0.51 + length.max() * 1e-4


def test_float_samples_are_rounded_to_the_core_s_integers():
    e = Encoding("int16", (4, 1), input_scale=4.0)
    x = np.array([[0.1, 0.125, 0.375, -0.125], [1e9, -1e9, 0.0, 2.5]], np.float32)
    assert encoded(e, x).tolist() == [[0, 0, 2, 0], [32767, -32768, 0, 10]]
    assert np.array_equal(encoded(replace(e, input_scale=1.0), x * 4), encoded(e, x))
