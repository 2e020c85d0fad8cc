"""Rounding has no bias: the regression test for the shift without half a step that once cost six points."""

import math

import numpy as np
import pytest

from edgehff import core, fixedpoint
from edgehff.core import Net
from edgehff.recipe import CoreConfig


def test_stochastic_rounding_is_exact_in_the_mean_over_all_random_bits():
    """The mean of a step over all 65,536 values is the step itself, to 2^-17 of an int8 step."""
    r = np.arange(65536, dtype=np.int64)
    rng = np.random.default_rng(1)
    for product in [0, 1, -1, 2**29, -(2**29), *rng.integers(-(2**29), 2**29, 200)]:
        mean = ((int(product) + r * 64 + 32) >> 22).mean()
        assert abs(mean - product / 2**22) <= 2**-17


def real_step(config, state, x, label):
    """The documented update in real numbers, int8 steps: -rate / |y| * t x^T, silent rows left out."""
    layer = state.layers[0]
    u, root, shift = fixedpoint.unit(fixedpoint.forward(config, layer.weight, x))
    cosine = fixedpoint.cosines(config, layer, u)
    error = fixedpoint.error(config, cosine, fixedpoint.logits(config, cosine), label)
    t = np.array(fixedpoint.gradient(layer, u, cosine, error)) / 2**29
    norm = fixedpoint.norm_q8(root, shift) / 256
    rate = config.lr_w / 65536 * config.dims[0] * 16**2
    return -rate / norm * np.outer(np.where(np.array(u) > 0, t, 0), np.array(x) / 16384)


@pytest.mark.parametrize(("arith", "unit_of_weight"), [("int8", 1), ("int16", 256)])
def test_the_mean_error_of_many_updates_is_zero(arith, unit_of_weight):
    """First steps of 60 networks: the sum of all rounding errors stays within five of its deviations.

    A shift that truncates gives a mean of -1/2; the deviation of the mean here is about 1/1000.
    """
    errors = []
    for seed in range(60):
        config = CoreConfig((300, 12), 3, arith, seed=seed, gate=65535, revive=False, kappa=3000, lr_w=1500)
        rng = np.random.default_rng(seed)
        x = core.unit(rng.integers(-999, 999, 300).astype(np.int32))
        net, state = Net(config), fixedpoint.init(config)
        before = net.weights(0).astype(np.int64)
        net.train(x[None], np.array([seed % 3], np.uint16))
        real = real_step(config, state, x.tolist(), seed % 3) * unit_of_weight
        moved = net.weights(0) - before
        rows = np.abs(moved).max(1) > 0
        errors.append((moved - real)[rows].ravel())
    errors = np.concatenate(errors)
    assert len(errors) > 50_000
    assert abs(errors.mean()) < 5 * errors.std() / math.sqrt(len(errors))
    assert errors.std() < 0.5


def test_round_half_up_beside_truncation():
    """Over whole periods the mean error is +1/2^(k+1) of a step; truncating gives almost -1/2."""
    for k in (1, 4, 8, 14):
        values = range(-(1 << k) * 4, (1 << k) * 4)
        rounded = [fixedpoint.round_shift(v, k) - v / 2**k for v in values]
        truncated = [(v >> k) - v / 2**k for v in values]
        assert math.isclose(sum(rounded) / len(rounded), 2 ** -(k + 1))
        assert sum(truncated) / len(truncated) <= -0.25
