"""Shapes of convolutions: what fits, what is refused, and the C core says the same."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehff import core, geometry
from edgehff.core import Net
from edgehff.errors import ShapeError
from edgehff.geometry import ConvLayer, LayerShape
from edgehff.recipe import CoreConfig

PLAIN = ConvLayer(8)


def config_of(input_shape, conv, dense=(), **changes):
    dims = (math.prod(input_shape), *(c.channels for c in conv), *dense)
    return CoreConfig(dims=dims, n_classes=3, conv=tuple(conv), input_shape=input_shape, **changes)


@pytest.mark.parametrize(
    ("input_shape", "conv", "n_in", "head", "map_out"),
    [
        ((8, 8, 1), PLAIN, 9, 8, (8, 8, 8)),
        ((8, 8, 3), replace(PLAIN, padding=(0, 0), grid=(2, 3)), 27, 48, (6, 6, 8)),
        ((8, 8, 1), replace(PLAIN, pool="max", pool_size=(2, 2)), 9, 8, (4, 4, 8)),
        ((9, 7, 1), replace(PLAIN, pool="mean", pool_size=(2, 2)), 9, 8, (4, 3, 8)),  # the rest is left out
        ((9, 7, 1), replace(PLAIN, stride=(2, 3)), 9, 8, (5, 3, 8)),
        ((5, 5, 8), replace(PLAIN, kind="depthwise"), 9, 8, (5, 5, 8)),
        ((1, 40, 6), replace(PLAIN, kernel=(1, 5), padding=(0, 2), stride=(1, 2)), 30, 8, (1, 20, 8)),
        ((3, 3, 2), replace(PLAIN, kernel=(3, 3), padding=(0, 0)), 18, 8, (1, 1, 8)),
    ],
)
def test_shapes_by_hand(input_shape, conv, n_in, head, map_out):
    shape, dense = config_of(input_shape, [conv], (5,)).shapes
    assert shape == LayerShape(n_in, 8, head, conv, input_shape, map_out)
    assert dense == LayerShape(math.prod(map_out), 5, 5)
    net = Net(config_of(input_shape, [conv], (5,)))
    assert [net.layer_stats(i)["n_in"] for i in (0, 1)] == [n_in, math.prod(map_out)]
    assert net.prototypes(0).shape == (3, 1, head)
    assert net.weights(0).shape == (8, n_in)


WRONG = {
    "kernel = (0, 3)": {"kernel": (0, 3)},
    "kernel = (3, 32)": {"kernel": (3, 32)},
    "stride = (0, 1)": {"stride": (0, 1)},
    "stride = (1, 32)": {"stride": (1, 32)},
    "padding = (-1, 0)": {"padding": (-1, 0)},
    "padding = (0, 31)": {"padding": (0, 31), "kernel": (3, 31)},
    "is not less than the kernel": {"padding": (3, 1)},
    "padding (1, 3) is not less": {"padding": (1, 3)},
    "pool_size = (0, 2)": {"pool": "max", "pool_size": (0, 2)},
    "pool_size = (2, 17)": {"pool": "max", "pool_size": (2, 17)},
    "pool = 'mean' with pool_size = (4, 5)": {"pool": "mean", "pool_size": (4, 5)},
    "pool = 'max' with pool_size = (1, 1)": {"pool": "max"},
    "pool = 'none' with pool_size = (1, 2)": {"pool_size": (1, 2)},
    "kind = 'conv', pool = 'average'": {"pool": "average", "pool_size": (2, 2)},
    "kind = 'dense'": {"kind": "dense"},
    "grid = (0, 1)": {"grid": (0, 1)},
    "grid = (1, 17)": {"grid": (1, 17)},
    "channels = (0,)": {"channels": 0},
    "channels = (65537,)": {"channels": 65537},
    "depthwise layer of 8 channels over 2": {"kind": "depthwise"},
    "for a grid of (9, 1)": {"grid": (9, 1)},
    "for a grid of (1, 9)": {"grid": (1, 9)},
    "gives 0 x 3 positions": {"kernel": (3, 3), "padding": (0, 0), "pool": "max", "pool_size": (7, 2)},
    "has over 65536 elements": {"channels": 2000},
    "gives 0 x 8 positions": {"kernel": (31, 3), "padding": (10, 1)},
}


@pytest.mark.parametrize("message", WRONG)
def test_a_wrong_field_is_named(message):
    conv = replace(PLAIN, **WRONG[message])
    with pytest.raises(ShapeError, match="layer 0") as raised:
        assert config_of((8, 8, 2), [conv]).shapes
    assert message in raised.value.message
    assert raised.value.hint
    assert raw_sizes(config_of((8, 8, 2), [conv])) is None


@pytest.mark.parametrize("input_shape", [(), (8, 8), (8, 8, 3), (-8, -8, 2), (0, 8, 2)])
def test_an_input_of_another_size_is_refused(input_shape):
    with pytest.raises(ShapeError, match="128 elements is no map"):
        assert CoreConfig(dims=(128, 8), n_classes=2, conv=(PLAIN,), input_shape=input_shape).shapes


@pytest.mark.parametrize("dims", [(128, 7), (128, 8), (128, 8, 8, 7), (128,)])
def test_widths_are_those_of_the_convolutions(dims):
    conv = (PLAIN, replace(PLAIN, channels=9))
    with pytest.raises(ShapeError, match="are not those of 2 convolutions"):
        assert CoreConfig(dims=dims, n_classes=2, conv=conv, input_shape=(8, 8, 2)).shapes


@pytest.mark.parametrize(
    ("input_shape", "conv"),
    [
        ((1, 65536, 1), ConvLayer(1, kernel=(1, 3), padding=(0, 1))),  # a side of 65,536
        ((65536, 1, 1), ConvLayer(1, kernel=(3, 1), padding=(1, 0))),
        ((1, 1, 65536), ConvLayer(1, kernel=(1, 1), padding=(0, 0))),
        ((1, 65535, 1), ConvLayer(1, kernel=(1, 2), padding=(0, 1))),  # 65,536 positions side by side
        ((30, 30, 72), ConvLayer(1, kernel=(31, 31))),  # 69,192 weights
        ((16, 16, 1), ConvLayer(257, kernel=(1, 1), padding=(0, 0), grid=(16, 16))),
        ((1, 64, 1), ConvLayer(1, kernel=(1, 32), padding=(0, 0))),
        ((64, 1, 1), ConvLayer(1, kernel=(32, 1), padding=(0, 0))),
        ((1, 64, 1), ConvLayer(1, kernel=(1, 1), padding=(0, 0), grid=(1, 17))),
        ((64, 1, 1), ConvLayer(1, kernel=(1, 1), padding=(0, 0), grid=(17, 1))),
    ],
)
def test_limits_are_the_cores(input_shape, conv):
    config = config_of(input_shape, [conv])
    with pytest.raises(ShapeError):
        assert config.shapes
    assert raw_sizes(config) is None


def test_the_largest_fit():
    for input_shape, conv in [
        ((1, 65535, 1), ConvLayer(1, kernel=(1, 3), padding=(0, 1))),
        ((256, 256, 1), ConvLayer(1)),
        ((1, 1, 65535), ConvLayer(1, kernel=(1, 1), padding=(0, 0))),
        ((31, 31, 68), ConvLayer(1, kernel=(31, 31), padding=(30, 30), stride=(31, 31))),
        ((16, 16, 1), ConvLayer(256, kernel=(1, 1), padding=(0, 0), grid=(16, 16))),
    ]:
        config = config_of(input_shape, [conv])
        assert config.shapes[0].map_in == input_shape
        assert core.sizes(config)["ram_bytes"] > 0


SLIPS = (
    {"channels": 0}, {"kind": "depthwise"}, {"kernel": (0, 1)}, {"stride": (1, 0)}, {"padding": (0, 3)},
    {"pool": "none", "pool_size": (1, 2)}, {"pool": "max", "pool_size": (1, 1)}, {"pool_size": (0, 2)},
    {"pool": "mean", "pool_size": (5, 4)}, {"grid": (0, 1)}, {"grid": (1, 5)}, {"grid": (5, 1)},
)  # fmt: skip


@st.composite
def layers(draw):
    """A convolution that fits many maps; of six, one has a field that fits few or none."""

    def pair(low, high):
        return draw(st.tuples(st.integers(low, high), st.integers(low, high)))

    kernel = pair(1, 3)
    padding = tuple(draw(st.integers(0, k - 1)) for k in kernel)
    pools = [("none", (1, 1)), ("none", (1, 1)), ("max", (2, 2)), ("max", (1, 2)), ("mean", (2, 1))]
    pool = draw(st.sampled_from(pools))
    kind = draw(st.sampled_from(["conv", "conv", "depthwise"]))
    layer = ConvLayer(draw(st.integers(1, 3)), kind, kernel, pair(1, 2), padding, *pool, pair(1, 2))
    return replace(layer, **(draw(st.sampled_from(SLIPS)) if draw(st.integers(0, 5)) == 5 else {}))


@given(
    st.tuples(st.sampled_from([7, 1, 6, 9]), st.sampled_from([8, 1, 5, 9]), st.integers(1, 3)),
    st.lists(layers(), min_size=1, max_size=2),
    st.sampled_from([(4,), ()]),
    st.sampled_from(["int8", "int16"]),
    st.sampled_from([16, 8]),
)
def test_the_core_takes_what_fits_and_nothing_else(input_shape, conv, dense, arith, proto_bits):
    config = config_of(input_shape, conv, dense, arith=arith, n_per_class=2, proto_bits=proto_bits)
    found = raw_sizes(config)
    try:
        shapes = config.shapes
    except ShapeError:
        assert found is None
        return
    assert found == core.sizes(config)
    each = 1 if arith == "int8" else 2

    def words(n):
        return (n + 3) // 4 * 4

    assert found["weight_bytes"] == sum(words(s.n_in * s.n_out * each) for s in shapes)
    scales = words(12) if proto_bits == 8 else 0
    assert found["proto_bytes"] == sum(words(6 * s.head * proto_bits // 8) + scales for s in shapes)
    table = 52 * len(shapes)
    assert found["state_bytes"] == 60 + len(shapes) * (32 + 36)
    arrays = sum(
        s.n_in * s.n_out * each + 6 * (s.head * proto_bits // 8 + 2 * (proto_bits == 8)) for s in shapes
    )
    assert found["blob_bytes"] == 64 + table + arrays


def raw_sizes(config):
    """What the core says of a table that no Python has checked; None where it or its fields refuse."""
    c, keep = core._c_config(replace(config, conv=(), input_shape=()))
    table = core.ffi.new("ehff_conv[]", config.n_layers)
    try:
        for entry, conv in zip(table, config.conv, strict=False):
            entry.kind = 1 + (*geometry.KINDS, conv.kind).index(conv.kind)
            entry.pool = (*geometry.POOLS, conv.pool).index(conv.pool)
            entry.kernel_h, entry.kernel_w = conv.kernel
            entry.stride_h, entry.stride_w = conv.stride
            entry.pad_h, entry.pad_w = conv.padding
            entry.pool_h, entry.pool_w = conv.pool_size
            entry.grid_h, entry.grid_w = conv.grid
        table[0].in_h, table[0].in_w, table[0].in_c = config.input_shape
    except OverflowError:  # no uint16
        return None
    c.conv = table
    out = core.ffi.new("ehff_sizes *")
    status = core.lib.ehff_net_sizes(c, out)
    assert status in (0, -2, -3)
    assert keep
    return core._size_fields(out) if status == 0 else None
