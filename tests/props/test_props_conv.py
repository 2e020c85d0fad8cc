"""Networks with convolutions: C equals the oracle, bit for bit, and learning is local."""

import dataclasses

import numpy as np
import pytest
import twins
from conv_twins import conv_configs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgehff import core, fixedpoint
from edgehff.core import Encoder, Net
from edgehff.data.sources import load
from edgehff.errors import ModelFileError, ShapeError
from edgehff.geometry import ConvLayer
from edgehff.recipe import CoreConfig

seeds = st.integers(0, 2**32 - 1)
rows = st.tuples(seeds, st.integers(1, 6), st.sampled_from(["random", "few values", "sparse", "hostile"]))
some = settings(suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])


@some
@given(conv_configs())
def test_start_values_equal_the_oracles(config):
    twins.assert_equal(Net(config), fixedpoint.init(config))


@some
@given(conv_configs(), rows, st.one_of(st.none(), seeds), st.data())
def test_training_equals_the_oracle(config, data, filled, more):
    first_layer = more.draw(st.integers(0, config.n_layers)) if more.draw(st.booleans()) else 0
    net, state, x, _ = twins.train_both(config, data, filled, first_layer)
    twins.assert_equal(net, state)
    net.check()
    assert net.scores(x).tolist() == [fixedpoint.run(state, row) for row in x.tolist()]
    assert net.predict(x).tolist() == [fixedpoint.predict(state, row) for row in x.tolist()]
    assert net.layer_scores(x).tolist() == [fixedpoint.layer_logits(state, row) for row in x.tolist()]


@some
@given(conv_configs(gate=65535), rows, seeds)
def test_training_from_any_step_and_mean_equals_the_oracle(config, data, step):
    seed, n, kind = data
    net, state = Net(config), fixedpoint.init(config)
    net.step = state.step = step
    for index, layer in enumerate(state.layers):
        layer.norm_sum = (step * 977 + index) & 0xFFFFFFFF
        net.set_norm_sum(index, layer.norm_sum)
    x, y = twins.sample_rows(seed, n, config.dims[0], kind), twins.labels_for(seed, n, config.n_classes)
    net.train(x, y)
    for a, b in zip(x.tolist(), y, strict=True):
        fixedpoint.train(state, a, int(b))
    twins.assert_equal(net, state)


@some
@given(conv_configs(gate=65535, lr_w=1048576), rows, st.booleans())
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
    x, y = (
        np.abs(twins.sample_rows(*data[:2], config.dims[0], data[2])),
        twins.labels_for(*data[:2], config.n_classes),
    )
    net.train(x, y)
    for a, b in zip(x.tolist(), y, strict=True):
        fixedpoint.train(state, a, int(b))
    twins.assert_equal(net, state)
    assert revive or np.array_equal(before, net.weights(0))


@some
@given(conv_configs(proto_bits=8), rows, seeds)
def test_int8_prototypes_answer_as_the_oracle(config, data, seed):
    net, state = Net(config), fixedpoint.init(config)
    rng = np.random.default_rng(seed)
    for index, layer in enumerate(state.layers):
        p = rng.integers(-127, 128, net.prototypes(index).shape)
        length = np.sqrt(np.maximum(1, (p**2).sum(-1)))
        net.prototypes(index)[:] = p
        net.prototype_scales(index)[:] = np.minimum(65535, 16384 * 256 / length)
        layer.prototype = p.reshape(-1, p.shape[-1]).tolist()
        layer.scale = net.prototype_scales(index).reshape(-1).tolist()
    net.check()
    x = twins.sample_rows(data[0], data[1], config.dims[0], data[2])
    assert net.scores(x).tolist() == [fixedpoint.run(state, row) for row in x.tolist()]
    twin = Net(config)
    twin.load_blob(net.save_blob())
    assert twin.state_crc32 == net.state_crc32


@some
@given(conv_configs(), rows)
def test_answering_changes_nothing_and_copies_are_independent(config, data):
    net = Net(config)
    x, y = (
        twins.sample_rows(*data[:2], config.dims[0], data[2]),
        twins.labels_for(*data[:2], config.n_classes),
    )
    net.train(x, y)
    state, twin = net.state_crc32, net.copy()
    net.scores(x)
    net.layer_scores(x)
    twin.set_gate(65535)
    twin.train(x, y)
    assert net.state_crc32 == state
    net.set_gate(65535)
    net.train(x, y)
    assert net.state_crc32 == twin.state_crc32


@some
@given(conv_configs(), rows)
def test_a_blob_brings_everything_back(config, data):
    net = Net(config)
    x, y = (
        twins.sample_rows(*data[:2], config.dims[0], data[2]),
        twins.labels_for(*data[:2], config.n_classes),
    )
    net.train(x, y)
    blob = net.save_blob()
    twin = Net(dataclasses.replace(config, seed=config.seed ^ 1))
    twin.load_blob(blob)
    assert twin.save_blob() == blob
    net.train(x, y)
    twin.train(x, y)
    assert twin.state_crc32 == net.state_crc32


@some
@given(conv_configs(), rows)
def test_a_new_class_is_drawn_as_a_fresh_networks(config, data):
    net = Net(config)
    x, y = (
        twins.sample_rows(*data[:2], config.dims[0], data[2]),
        twins.labels_for(*data[:2], config.n_classes),
    )
    net.train(x, y)
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
@given(conv_configs(dense=1), rows, seeds)
def test_a_layers_update_does_not_depend_on_later_layers(config, data, seed):
    if config.n_layers == 1:
        config = dataclasses.replace(config, dims=(*config.dims, 4), join="sum_logp", join_weight=())
    net, other = Net(config), Net(config)
    last = config.n_layers - 1
    rng = np.random.default_rng(seed)
    limit = twins.LIMITS[config.arith]
    other.weights(last)[:] = rng.integers(-limit, limit + 1, other.weights(last).shape)
    other.prototypes(last)[:] = 0
    x, y = (
        twins.sample_rows(*data[:2], config.dims[0], data[2]),
        twins.labels_for(*data[:2], config.n_classes),
    )
    net.train(x, y)
    other.train(x, y)
    for index in range(last):
        assert np.array_equal(net.weights(index), other.weights(index))
        assert np.array_equal(net.prototypes(index), other.prototypes(index))
        assert net.norm_sum(index) == other.norm_sum(index)


@some
@given(conv_configs(arith="int16"), rows)
def test_a_blob_of_other_convolutions_is_refused_whatever_its_size(config, data):
    """Strides, padding and pooling that give equal sizes are another network all the same."""
    net = Net(config)
    blob = bytearray(net.save_blob())
    x = twins.sample_rows(data[0], 1, config.dims[0], data[2])
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
