"""Single functions: C equals the oracle, and both keep the error bounds that the documentation states."""

import math
import zlib

import numpy as np
import pytest
from edgehff._ffi import ffi, lib
from hypothesis import given
from hypothesis import strategies as st

from edgehff import core, fixedpoint

u32 = st.integers(0, 2**32 - 1)
elements = st.one_of(
    st.integers(-(2**30), 2**30),
    st.integers(-40000, 40000),
    st.integers(-2, 2),
    st.sampled_from([2**30, -(2**30)]),
)


def c_unit(values):
    a = np.array(values, np.int32)
    u, root, shift = np.empty(len(a), np.int16), ffi.new("uint32_t *"), ffi.new("int32_t *")
    pointers = ffi.from_buffer("int32_t[]", a), ffi.from_buffer("int16_t[]", u)
    assert lib.ehff_unit(pointers[0], len(a), pointers[1], root, shift) == 0
    return u.tolist(), root[0], shift[0]


@given(st.lists(elements, min_size=1, max_size=40))
def test_unit_equals_the_oracle(values):
    assert c_unit(values) == fixedpoint.unit(values)


@given(st.lists(st.integers(-(2**30), 2**30), min_size=1, max_size=20), st.integers(0, 30))
def test_the_opposite_vector_has_the_opposite_direction(values, k):
    """Exactly below 2^15; above, mantissas on a half round up, and an element may differ by a step."""
    values = [v >> k for v in values]
    there, back = c_unit(values)[0], [-v for v in c_unit([-v for v in values])[0]]
    if max(map(abs, values)) < 2**15:
        assert there == back
    assert max(abs(a - b) for a, b in zip(there, back, strict=True)) <= 1


@given(st.lists(st.integers(-32767, 32767), min_size=1, max_size=20), st.integers(0, 15))
def test_direction_does_not_depend_on_a_power_of_two(values, k):
    assert c_unit(values)[0] == c_unit([v << k for v in values])[0]


@pytest.mark.parametrize("n", [1, 2, 255, 256, 65536])
def test_a_zero_vector_gives_zero(n):
    assert c_unit([0] * n) == ([0] * n, 0, 0)


def unit_vectors():
    """Vectors of many sizes, scales and shapes; among them one large element beside many equal ones."""
    rng = np.random.default_rng(5)
    for n, count in (
        (1, 50),
        (2, 3000),
        (3, 3000),
        (8, 3000),
        (64, 1000),
        (256, 300),
        (4096, 60),
        (65536, 20),
    ):
        for i in range(count):
            top = 2.0 ** rng.uniform(0, 30)
            a = rng.uniform(-top, top, n)
            if i % 3 == 1:
                a = np.full(n, top * 2.0 ** -rng.uniform(0, 16))
                a[0] = top
            elif i % 3 == 2:
                a *= rng.random(n) < 0.3
            yield np.rint(a)


def test_unit_is_as_exact_as_stated():
    """Length within sqrt(n) / 2 + 1 steps of Q14; an element within 1.5 and sqrt(n) / 2^15 of itself."""
    for a in unit_vectors():
        exact = math.sqrt(float(a @ a))
        if exact == 0:
            continue
        u, root, shift = c_unit(a.astype(np.int64).tolist())
        n, wanted = len(a), 16384 * a / exact
        relative = math.sqrt(n) / 2**15
        assert np.all(np.abs(u - wanted) <= 1.5 + relative * np.abs(wanted))
        assert abs(math.sqrt(sum(v * v for v in u)) - 16384) <= math.sqrt(n) / 2 + 1
        assert abs(root * 2.0**shift / exact - 1) <= relative + 2**-20
        if np.abs(a).max() < 2**15:  # nothing is shifted out
            assert np.all(np.abs(u - wanted) <= 1)


def test_exp2_neg_everywhere():
    """Every z with a result: C is the oracle, never rises, and errs by -1 to +2.6 steps of Q15."""
    z = np.arange(17 << 16)
    c = np.array([lib.ehff_exp2_neg(v) for v in range(17 << 16)])
    assert c.tolist() == [fixedpoint.exp2_neg(v) for v in range(17 << 16)]
    assert np.all(np.diff(c) <= 0)
    error = c - 32768 * np.exp2(-z / 65536)
    assert -1 < error.min() < -0.9
    assert 2.5 < error.max() < 2.6
    assert c[-65536:].max() == 0


def test_log2_everywhere():
    """All 21-bit mantissas, low and high: C never falls, and errs by -12 to +1 steps of Q16."""
    mantissas = np.arange(1 << 21, 1 << 22)
    low = np.array([lib.ehff_log2(v) for v in range(1 << 21, 1 << 22)])
    high = np.array([lib.ehff_log2(v << 10 | 1023) for v in range(1 << 21, 1 << 22)])
    assert np.array_equal(high - low, np.full(1 << 21, 10 << 16))
    assert low[::256].tolist() == [fixedpoint.log2(v) for v in range(1 << 21, 1 << 22, 256)]
    assert np.all(np.diff(low) >= 0)
    for c, v in ((low, mantissas), (high, mantissas << 10 | 1023)):
        error = c - 65536 * np.log2(v)
        assert -12 < error.min() < -11.5
        assert 0.9 < error.max() < 1


@given(u32)
def test_log2_equals_the_oracle(v):
    assert lib.ehff_log2(v) == fixedpoint.log2(v)


@given(u32)
def test_exp2_neg_equals_the_oracle(z):
    assert lib.ehff_exp2_neg(z) == fixedpoint.exp2_neg(z)


def test_reciprocal_is_as_exact_as_stated():
    """Relative error within 2^-15 for every mantissa, at its smallest and its largest value."""
    for m in range(2**15, 2**16):
        r, s = fixedpoint.reciprocal(m)
        assert s == 0
        for v in (m, m + 1 - 2**-20):
            assert abs(r * v / 2**31 - 1) < 2**-15


@given(st.integers(0, 2**64 - 1))
def test_isqrt_equals_the_oracle(v):
    assert lib.ehff_isqrt64(v) == math.isqrt(v)


@given(st.integers(1, 2**32 - 1), st.integers(-1, 1))
def test_isqrt_beside_squares(root, by):
    assert lib.ehff_isqrt64(root * root + by) == math.isqrt(root * root + by)


@given(u32, u32, u32, u32, u32)
def test_random_equals_the_oracle(seed, step, layer, row, column):
    key = fixedpoint.row_key(fixedpoint.layer_key(seed, step, layer), row)
    assert lib.ehff_random(seed, step, layer, row, column) == fixedpoint.random16(key, column)


def test_random_bits_are_even():
    """Mean, spread and neighbors of 200,000 values: five deviations."""
    places = [(step, row, column) for step in range(20) for row in range(100) for column in range(100)]
    v = np.array([lib.ehff_random(1, step, 0, row, column) for step, row, column in places])
    n = len(v)
    deviation = 65536 / math.sqrt(12)
    assert abs(v.mean() - 32767.5) < 5 * deviation / math.sqrt(n)
    assert abs(v.std() / deviation - 1) < 5 / math.sqrt(n)
    for lag in (1, 2, 100, 10000):
        assert abs(np.corrcoef(v[:-lag], v[lag:])[0, 1]) < 5 / math.sqrt(n)
    assert np.abs(np.bincount(v >> 12, minlength=16) / n - 1 / 16).max() < 5 * math.sqrt(1 / 16 / n)


@given(st.binary(max_size=50), u32)
def test_crc32_is_zlibs(data, start):
    assert lib.ehff_crc32(start, data, len(data)) == zlib.crc32(data, start)


def test_the_python_face_gives_the_same_directions():
    values = np.array([3, -4, 2**30], np.int32)
    assert core.unit(values).tolist() == fixedpoint.unit(values.tolist())[0]
