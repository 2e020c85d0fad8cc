"""Whole networks: C equals the oracle, bit for bit, and learning is local."""

import dataclasses

import numpy as np
import pytest
import twins
from conv_twins import conv_configs, conv_rows
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgehff import fixedpoint
from edgehff.core import Encoder, Net
from edgehff.recipe import CoreConfig

seeds = st.integers(0, 2**32 - 1)


of_both = pytest.mark.parametrize(
    ("configs", "rows"),
    [(twins.configs, twins.rows), (conv_configs, conv_rows)],
    ids=["dense", "convolutions"],
)
some = settings(suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])


@of_both
@some
@given(st.data())
def test_start_values_equal_the_oracles(configs, rows, data):
    config = data.draw(configs())
    twins.assert_equal(Net(config), fixedpoint.init(config))


@of_both
@some
@given(st.data(), st.one_of(st.none(), seeds))
def test_training_equals_the_oracle(configs, rows, data, filled):
    config = data.draw(configs())
    first_layer = data.draw(st.integers(0, config.n_layers)) if data.draw(st.booleans()) else 0
    net, state, x, _ = twins.train_both(config, data.draw(rows), filled, first_layer)
    twins.assert_equal(net, state)
    net.check()
    assert net.scores(x).tolist() == [fixedpoint.run(state, row) for row in x.tolist()]
    assert net.predict(x).tolist() == [fixedpoint.predict(state, row) for row in x.tolist()]
    assert net.layer_scores(x).tolist() == [fixedpoint.layer_logits(state, row) for row in x.tolist()]
    directions = [fixedpoint.directions(state, row) for row in x.tolist()]
    assert [u.tolist() for u in net.directions(x)] == [list(rows) for rows in zip(*directions, strict=True)]


@of_both
@some
@given(st.data(), seeds)
def test_training_from_any_step_and_mean_equals_the_oracle(configs, rows, data, step):
    config = data.draw(configs(gate=65535))
    net, state = Net(config), fixedpoint.init(config)
    net.step = state.step = step
    for index, layer in enumerate(state.layers):
        layer.norm_sum = (step * 977 + index) & 0xFFFFFFFF
        net.set_norm_sum(index, layer.norm_sum)
    x, y = twins.samples_of(config, data.draw(rows))
    net.train(x, y)
    for a, b in zip(x.tolist(), y, strict=True):
        fixedpoint.train(state, a, int(b))
    twins.assert_equal(net, state)


@of_both
@some
@given(st.data(), seeds)
def test_int8_prototypes_answer_as_the_oracle(configs, rows, data, seed):
    config = data.draw(configs(proto_bits=8))
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
    x, _ = twins.samples_of(config, data.draw(rows))
    assert net.scores(x).tolist() == [fixedpoint.run(state, row) for row in x.tolist()]
    twin = Net(config)
    twin.load_blob(net.save_blob())
    assert twin.state_crc32 == net.state_crc32


@of_both
@some
@given(st.data())
def test_answering_changes_nothing_and_copies_are_independent(configs, rows, data):
    net, x, y = twins.trained(data.draw(configs()), data.draw(rows))
    state = net.state_crc32
    twin = net.copy()
    net.predict(x)
    net.scores(x)
    net.layer_scores(x)
    twin.set_gate(65535)
    twin.train(x, y)
    assert net.state_crc32 == state
    assert twin.step == net.step + len(x)
    net.set_gate(65535)
    net.train(x, y)
    assert net.state_crc32 == twin.state_crc32


@of_both
@some
@given(st.data(), st.booleans(), seeds)
def test_a_blob_brings_everything_back(configs, rows, data, with_encoder, seed):
    config = data.draw(configs())
    net, x, y = twins.trained(config, data.draw(rows))
    encoder = None
    if with_encoder:
        rng = np.random.default_rng(seed)
        offset = rng.integers(-(2**31), 2**31, 4).astype(np.int32)
        gain = rng.integers(0, 65536, 4).astype(np.uint16)
        encoder = Encoder(
            "int8", (2, 2), log=bool(seed % 2), bias=seed % 99, offset=offset, gain=gain, gain_shift=7
        )
    blob = net.save_blob(encoder)
    twin = Net(dataclasses.replace(config, seed=config.seed ^ 1))
    twin.load_blob(blob)
    assert twin.save_blob(encoder) == blob
    net.train(x, y)
    twin.train(x, y)
    assert twin.state_crc32 == net.state_crc32
    assert [twin.layer_stats(i) for i in range(config.n_layers)] == [
        net.layer_stats(i) for i in range(config.n_layers)
    ]


@of_both
@some
@given(st.data(), seeds)
def test_a_layers_update_does_not_depend_on_later_layers(configs, rows, data, seed):
    config = data.draw(configs())
    if config.n_layers == 1:
        config = dataclasses.replace(config, dims=(*config.dims, 4), join="sum_logp", join_weight=())
    net, other = Net(config), Net(config)
    last = config.n_layers - 1
    rng = np.random.default_rng(seed)
    limit = twins.LIMITS[config.arith]
    other.weights(last)[:] = rng.integers(-limit, limit + 1, other.weights(last).shape)
    other.prototypes(last)[:] = 0
    x, y = twins.samples_of(config, data.draw(rows))
    net.train(x, y)
    other.train(x, y)
    for index in range(last):
        assert np.array_equal(net.weights(index), other.weights(index))
        assert np.array_equal(net.prototypes(index), other.prototypes(index))
        assert net.norm_sum(index) == other.norm_sum(index)


@given(twins.configs(), twins.rows)
def test_layers_below_the_first_stay_and_those_above_learn_as_the_oracles(config, data):
    net, state, x, y = twins.train_both(config, data)
    before = [
        (net.weights(i).copy(), net.prototypes(i).copy(), net.norm_sum(i)) for i in range(config.n_layers)
    ]
    first = config.n_layers - 1
    net.set_first_layer(first)
    state.first_layer = first
    net.train(x, y)
    for a, b in zip(x.tolist(), y, strict=True):
        fixedpoint.train(state, a, int(b))
    twins.assert_equal(net, state)
    for index in range(first):
        assert np.array_equal(net.weights(index), before[index][0])
        assert np.array_equal(net.prototypes(index), before[index][1])
        assert net.norm_sum(index) == before[index][2]


@given(twins.configs(arith="int16"), twins.rows, seeds)
def test_the_order_of_hidden_units_means_nothing(config, data, seed):
    """int16 draws no random bits: permuted rows learn the permuted update, and answers are the same."""
    net, other = Net(config), Net(config)
    rng = np.random.default_rng(seed)
    orders = [np.arange(config.dims[0]), *(rng.permutation(n) for n in config.dims[1:])]
    for index in range(config.n_layers):
        columns, units = orders[index], orders[index + 1]
        other.weights(index)[:] = net.weights(index)[units][:, columns]
        other.prototypes(index)[:] = net.prototypes(index)[:, :, units]
    x, y = twins.samples_of(config, data)
    assert np.array_equal(net.train(x, y), other.train(x, y))
    assert np.array_equal(net.scores(x), other.scores(x))
    for index in range(config.n_layers):
        assert np.array_equal(other.weights(index), net.weights(index)[orders[index + 1]][:, orders[index]])


@given(twins.configs(), twins.rows)
def test_labels_reach_no_answer_before_they_are_learned(config, data):
    """The class given is the one before learning: no label of that step or a later one is in it."""
    net, other = Net(config), Net(config)
    x, y = twins.samples_of(config, data)
    half = len(x) // 2
    changed = y.copy()
    changed[half:] = (changed[half:] + 1) % config.n_classes
    assert np.array_equal(net.train(x, y)[: half + 1], other.train(x, changed)[: half + 1])


@pytest.mark.parametrize("arith", ["int8", "int16"])
@pytest.mark.parametrize("seed", [0, 1, 2, 2**31, 2**32 - 2])
def test_neighboring_seeds_share_nothing(arith, seed):
    config = CoreConfig(dims=(40, 30), n_classes=2, arith=arith, seed=seed)
    a, b = Net(config), Net(dataclasses.replace(config, seed=seed + 1))
    assert abs(np.corrcoef(a.weights(0).ravel(), b.weights(0).ravel())[0, 1]) < 5 / np.sqrt(1200)


@pytest.mark.parametrize("arith", ["int8", "int16"])
def test_a_silent_network_learns_prototypes_of_nothing(arith):
    """A zero input gives zero outputs: no norm, no weight moves, ties go to class 0."""
    config = CoreConfig(dims=(5, 4), n_classes=3, arith=arith, gate=65535)
    net = Net(config)
    weights, prototypes = net.weights(0).copy(), net.prototypes(0).copy()
    zero = np.zeros((4, 5), np.int16)
    assert net.train(zero, np.array([0, 1, 2, 1], np.uint16)).tolist() == [0, 0, 0, 0]
    assert np.array_equal(net.weights(0), weights)
    assert net.norm_sum(0) == 0
    assert np.abs(net.prototypes(0).astype(int) - prototypes).max() <= 2  # brought to unit length again
