"""What only convolutions have: dead channels, tables of their own; and cosines near those of float64."""

import dataclasses

import numpy as np
import pytest
import twins
from conv_twins import conv_configs, conv_rows
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgehff import core, fixedpoint
from edgehff.core import Encoder, Net
from edgehff.data.sources import load
from edgehff.errors import ModelFileError, ShapeError
from edgehff.geometry import ConvLayer
from edgehff.recipe import CoreConfig

some = settings(suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])


@some
@given(conv_configs(gate=65535, lr_w=1048576), conv_rows, st.booleans())
def test_dead_channels_rise_as_the_oracles(config, data, revive):
    """All weights negative: no channel is active for a map without negative values."""
    config = dataclasses.replace(config, revive=revive)
    net, state = Net(config), fixedpoint.init(config)
    for index, layer in enumerate(state.layers):
        layer.weight = [[-1 - abs(w) // 2 for w in row] for row in layer.weight]
        layer.norm_sum = 3000 << 10
        net.weights(index)[:] = layer.weight
        net.set_norm_sum(index, layer.norm_sum)
    before = net.weights(0).copy()
    x, y = twins.samples_of(config, data)
    x = np.abs(x)
    net.train(x, y)
    for a, b in zip(x.tolist(), y, strict=True):
        fixedpoint.train(state, a, int(b))
    twins.assert_equal(net, state)
    assert revive or np.array_equal(before, net.weights(0))


@some
@given(conv_configs(), conv_rows)
def test_a_new_class_is_drawn_as_a_fresh_networks(config, data):
    net, x, _ = twins.trained(config, data)
    fresh = Net(dataclasses.replace(config, n_classes=config.n_classes + 1))
    grown = net.copy()
    grown.add_class()
    for i in range(config.n_layers):
        assert np.array_equal(grown.weights(i), net.weights(i))
        assert np.array_equal(grown.prototypes(i)[:-1], net.prototypes(i))
        assert np.array_equal(grown.prototypes(i)[-1], fresh.prototypes(i)[-1])
        assert grown.norm_sum(i) == net.norm_sum(i)
    grown.train(x, np.full(len(x), config.n_classes, np.uint16))
    grown.check()


@some
@given(conv_configs(arith="int16"), conv_rows)
def test_a_blob_of_other_convolutions_is_refused_whatever_its_size(config, data):
    """Strides, padding and pooling that give equal sizes are another network all the same."""
    net = Net(config)
    blob = bytearray(net.save_blob())
    x, _ = twins.samples_of(config, data)
    before = net.scores(x)
    first = config.conv[0]
    for change in ({"kind": "depthwise"}, {"stride": first.stride[::-1]}, {"kernel": first.kernel[::-1]},
                   {"pool": "max" if first.pool == "mean" else "mean"}, {"padding": (0, 0)}):  # fmt: skip
        other = dataclasses.replace(config, conv=(dataclasses.replace(first, **change), *config.conv[1:]))
        try:
            twin = Net(other)
        except ShapeError:
            continue
        if other == config:
            continue
        with pytest.raises(ModelFileError):
            twin.load_blob(bytes(blob))
    assert np.array_equal(net.scores(x), before)


def test_a_blob_of_equal_sizes_and_other_convolutions_is_refused():
    maxed = ConvLayer(3, pool="max", pool_size=(2, 2))
    one = CoreConfig(dims=(36, 3), n_classes=2, conv=(maxed,), input_shape=(6, 6, 1))
    two = dataclasses.replace(one, conv=(dataclasses.replace(maxed, pool="mean"),))
    assert core.sizes(one) == core.sizes(two)
    net = Net(two)
    before = net.state_crc32
    with pytest.raises(ModelFileError, match="another shape"):
        net.load_blob(Net(one).save_blob())
    assert net.state_crc32 == before
    net.load_blob(Net(dataclasses.replace(two, seed=5)).save_blob())
    assert net.state_crc32 != before


def float_answer(shape, weight, x):
    """What a layer hands on and what its prototypes see, in float64 and without any rounding."""
    if shape.conv is None:
        y = np.maximum(0, weight @ x)
        return y / np.linalg.norm(y), y / np.linalg.norm(y)
    cells, windows = fixedpoint.cells(shape), fixedpoint.corners(shape)
    y = np.empty((len(windows), shape.n_out))
    for i, window in enumerate(windows):
        patches = np.array([fixedpoint.patch(shape, x, at, 0) for at in window])
        values = np.maximum(0, patches @ weight.T)
        y[i] = values.max(0) if shape.conv.pool == "max" else values.mean(0)
    u = y / np.linalg.norm(y)
    head = np.zeros((shape.conv.n_cells, shape.n_out))
    for i, cell in enumerate(cells):
        head[cell] += u[i]
    return u.ravel(), head.ravel() / np.linalg.norm(head)


@pytest.mark.parametrize("arith", ["int8", "int16"])
@pytest.mark.parametrize("pool", ["max", "mean"])
def test_cosines_are_those_of_float64(arith, pool):
    whole = load("digits")
    raw = whole.x.reshape(-1, 64)
    x = Encoder("uint8", (64, 1)).encode(raw)
    conv = (
        ConvLayer(8, pool=pool, pool_size=(2, 2), grid=(2, 2)),
        ConvLayer(16, grid=(2, 2)),
    )
    config = CoreConfig(dims=(64, 8, 16, 24), n_classes=10, arith=arith, conv=conv, input_shape=(8, 8, 1))
    net = Net(config)
    net.train(x[:300], whole.y[:300].astype(np.uint16))
    worst = 0.0
    for row in range(300, 340):
        values = x[row] / 2**14
        logits = net.layer_scores(x[row : row + 1])[0]
        for i, shape in enumerate(config.shapes):
            weight = fixedpoint.seen_weights(config, net.weights(i).astype(int).tolist())
            values, head = float_answer(shape, np.array(weight, float), values)
            cosines = net.prototypes(i)[:, 0] / 2**14 @ head
            worst = max(worst, np.abs(logits[i] * 256 / config.kappa / 2**14 - cosines).max())
    assert 1e-6 < worst < 3e-4
