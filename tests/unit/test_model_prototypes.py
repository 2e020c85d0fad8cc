import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgehff import core
from edgehff.core import Net
from edgehff.errors import ShapeError
from edgehff.model.prototypes import MAX_LENGTH, to_int8
from edgehff.recipe import CoreConfig


def int8_cosine(small, scale, u):
    return (int(small.astype(np.int64) @ u.astype(np.int64)) * int(scale) + (1 << 21)) >> 22


def unit(values):
    return core.unit(np.array(values, np.int32))


vectors = st.integers(1, 60).flatmap(
    lambda n: st.tuples(*[st.lists(st.integers(-(2**20), 2**20), min_size=n, max_size=n)] * 2)
)


@settings(max_examples=300, deadline=None)
@given(vectors)
def test_the_cosine_stays_within_the_stated_bound(pair):
    p, u = map(unit, pair)
    small, scale = to_int8(p.reshape(1, 1, -1))
    assert scale[0, 0] == max(1, -(-int(np.abs(p.astype(int)).max()) * 256 // 127))
    off = np.abs(small[0, 0].astype(int) * int(scale[0, 0]) - p.astype(int) * 256)
    assert off.max() <= scale[0, 0] / 2
    exact = (int(p.astype(np.int64) @ u.astype(np.int64)) + (1 << 13)) >> 14
    bound = scale[0, 0] / 512 * np.abs(u.astype(int)).sum() / 16384 + 1
    assert abs(int8_cosine(small[0, 0], scale[0, 0], u) - exact) <= bound


def test_the_whole_range_is_used_and_signs_are_kept():
    p = np.array([[[16384, -16384, 8192, -65, 65, 0]]], np.int16)
    small, scale = to_int8(p)
    assert small.tolist() == [[[127, -127, 63, -1, 1, 0]]]
    assert scale.tolist() == [[33027]]
    assert (small.dtype, scale.dtype) == (np.int8, np.uint16)


def test_a_zero_prototype_stays_zero():
    small, scale = to_int8(np.zeros((2, 1, 3), np.int16))
    assert not small.any()
    assert (scale == 1).all()


def test_the_longest_prototype_fits():
    small, scale = to_int8(np.full((1, 1, 1), -MAX_LENGTH, np.int16))
    assert (small.item(), scale.item()) == (-127, 33543)


@pytest.mark.parametrize(
    "bad", [np.zeros((2, 3), np.int16), np.zeros((1, 2, 3), np.int32), np.full((1, 1, 2), -32768, np.int16)]
)
def test_what_is_no_prototype_is_refused(bad):
    with pytest.raises(ShapeError):
        to_int8(bad)


def test_the_core_computes_this_cosine():
    rng = np.random.default_rng(1)
    sixteen = Net(CoreConfig(dims=(6, 9), n_classes=4, n_per_class=1))
    eight = Net(CoreConfig(dims=(6, 9), n_classes=4, n_per_class=1, proto_bits=8))
    eight.weights(0)[...] = sixteen.weights(0)
    eight.prototypes(0)[...], eight.prototype_scales(0)[...] = to_int8(sixteen.prototypes(0))
    eight.check()
    kappa = eight.config.kappa
    for _ in range(50):
        x = unit(rng.integers(-999, 999, 6))
        y = ((sixteen.weights(0).astype(np.int32) + 128) >> 8) @ x.astype(np.int32)
        u = unit(np.maximum(y, 0))
        wanted = [
            (int8_cosine(eight.prototypes(0)[c, 0], eight.prototype_scales(0)[c, 0], u) * kappa + 128) >> 8
            for c in range(4)
        ]
        assert eight.layer_scores(x[None])[0, 0].tolist() == wanted
