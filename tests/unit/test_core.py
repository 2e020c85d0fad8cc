import zlib

import numpy as np
import pytest

from edgehff import core
from edgehff.core import Encoder, Net
from edgehff.errors import ModelFileError, ShapeError
from edgehff.recipe import CoreConfig


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def samples(rng, n, width):
    return np.stack([core.unit(rng.integers(-999, 999, width).astype(np.int32)) for _ in range(n)])


def trained(rng, **changes):
    net = Net(CoreConfig(**({"dims": (9, 8, 5), "n_classes": 3} | changes)))
    net.train(samples(rng, 30, 9), rng.integers(0, 3, 30).astype(np.uint16))
    return net


@pytest.mark.parametrize("arith", ["int8", "int16"])
def test_training_learns_a_separable_problem(rng, arith):
    centers = rng.integers(-999, 999, (3, 9))
    y = rng.integers(0, 3, 600).astype(np.uint16)
    x = np.stack([core.unit((centers[c] + rng.integers(-300, 300, 9)).astype(np.int32)) for c in y])
    net = Net(CoreConfig(dims=(9, 8), n_classes=3, arith=arith))
    before = np.mean(net.predict(x[500:]) == y[500:])
    net.train(x[:500], y[:500])
    assert np.mean(net.predict(x[500:]) == y[500:]) >= 0.97 > before


def test_checksums_are_those_of_the_bytes(rng):
    net = trained(rng)
    crc = 0
    for layer in range(2):
        crc = zlib.crc32(net.weights(layer).astype("<i2").tobytes(), crc)
        crc = zlib.crc32(net.prototypes(layer).astype("<i2").tobytes(), crc)
    assert net.weights_crc32 == crc
    words = [
        net.step,
        1,
        net.config.lr_w,
        net.config.lr_p,
        net.config.kappa,
        net.norm_sum(0),
        net.norm_sum(1),
    ]
    assert net.state_crc32 == zlib.crc32(np.array(words, "<u4").tobytes(), crc)


def test_a_copy_is_equal_and_independent(rng):
    net = trained(rng)
    twin = net.copy()
    assert twin.state_crc32 == net.state_crc32
    twin.train(samples(rng, 5, 9), np.zeros(5, np.uint16))
    assert twin.step == net.step + 5
    assert twin.weights_crc32 != net.weights_crc32


def test_predicting_changes_nothing(rng):
    net = trained(rng)
    before = net.state_crc32
    net.predict(samples(rng, 5, 9))
    net.scores(samples(rng, 5, 9))
    net.layer_scores(samples(rng, 5, 9))
    assert net.state_crc32 == before


def test_seeds_differ_and_zero_is_a_seed_like_any():
    crcs = {Net(CoreConfig(dims=(9, 8), n_classes=3, seed=s)).weights_crc32 for s in (0, 1, 2, 2**32 - 1)}
    assert len(crcs) == 4


def test_frozen_layers_stay(rng):
    net = trained(rng)
    first, second = net.weights(0).copy(), net.weights(1).copy()
    net.set_first_layer(1)
    net.set_gate(65535)
    net.train(samples(rng, 50, 9), rng.integers(0, 3, 50).astype(np.uint16))
    assert np.array_equal(net.weights(0), first)
    assert not np.array_equal(net.weights(1), second)


def test_a_blob_round_trips_with_its_encoder(rng):
    net = trained(rng)
    encoder = Encoder("int8", (3, 3))
    other = Net(net.config)
    other.load_blob(net.save_blob(encoder))
    assert other.state_crc32 == net.state_crc32


def test_a_damaged_blob_changes_nothing(rng):
    net, blob = trained(rng), trained(rng).save_blob()
    before = net.state_crc32
    for bad in (blob[:-1], blob[:10], b"", blob[:50] + bytes([blob[50] ^ 1]) + blob[51:]):
        with pytest.raises(ModelFileError):
            net.load_blob(bad)
        assert net.state_crc32 == before


def test_a_blob_of_another_shape_is_refused(rng):
    net = trained(rng)
    before = net.state_crc32
    for dims, n in (((4, 3), 2), ((8, 9, 5), 3), ((9, 8), 3), ((9, 8, 5), 4)):
        other = Net(CoreConfig(dims=dims, n_classes=n)).save_blob()
        with pytest.raises(ModelFileError, match="another shape"):
            net.load_blob(other)
    with pytest.raises(ModelFileError, match="another shape"):
        net.load_blob(trained(rng, arith="int8").save_blob())
    with pytest.raises(ModelFileError, match="another shape"):  # of the same bytes in every part
        Net(CoreConfig(dims=(10, 8, 5), n_classes=3)).load_blob(
            Net(CoreConfig(dims=(16, 5, 8), n_classes=3)).save_blob()
        )
    assert net.state_crc32 == before


def test_sizes_are_what_a_network_takes():
    config = CoreConfig(dims=(64, 32), n_classes=10, arith="int8")
    sizes = core.sizes(config)
    assert sizes["weight_bytes"] == 2048
    assert sizes["proto_bytes"] == 640
    parts = ("state_bytes", "weight_bytes", "proto_bytes", "scratch_bytes")
    assert sizes["ram_bytes"] == sum(sizes[p] for p in parts)
    assert sizes["blob_bytes"] == len(Net(config).save_blob())


@pytest.mark.parametrize("depth", [2, 4, 8, 16])
def test_scratch_does_not_grow_with_depth(depth):
    scratch = core.sizes(CoreConfig(dims=(64,) * (depth + 1), n_classes=10))["scratch_bytes"]
    assert scratch == core.sizes(CoreConfig(dims=(64, 64, 64), n_classes=10))["scratch_bytes"] == 612


def test_one_layer_takes_less_scratch():
    assert core.sizes(CoreConfig(dims=(64, 64), n_classes=10))["scratch_bytes"] == 612 - 2 * 64 - 4 * 10


X = np.zeros((4, 9), np.int16)
Y = np.zeros(4, np.uint16)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (X.astype(np.int32), Y, "x is int32, int16 is needed"),
        (X.astype(np.float32), Y, "x is float32"),
        (X[:, :5], Y, "x has shape"),
        (X[0], Y, "x has shape"),
        (X.tolist(), Y, "x is list"),
        (X, Y.astype(np.int64), "labels is int64"),
        (X, Y[:3], "labels has shape"),
        (X, Y + 3, "label is not below"),
        (X + 16384, Y, "outside its declared range"),
    ],
)
def test_bad_arrays_are_refused(x, y, message):
    with pytest.raises(ShapeError, match=message):
        Net(CoreConfig(dims=(9, 8), n_classes=3)).train(x, y)


@pytest.mark.parametrize(
    "changes",
    [
        {"dims": (9,)},
        {"dims": (0, 3)},
        {"dims": (9, 65537)},
        {"dims": (2,) * 34},
        {"n_classes": 1},
        {"n_classes": 1025},
        {"n_per_class": 65},
        {"n_classes": 1000, "n_per_class": 5},
        {"kappa": 0},
        {"kappa": 94549},
        {"margin": 16385},
        {"gate": 40000},
        {"lr_w": 2**20 + 1},
        {"lr_p": 8193},
        {"proto_bits": 12},
        {"seed": -1},
        {"dims": (65536, 65536)},
    ],
)
def test_a_configuration_beyond_the_limits_is_refused(changes):
    with pytest.raises(ShapeError):
        core.sizes(CoreConfig(**({"dims": (9, 8), "n_classes": 3} | changes)))


def test_writing_weights_beyond_the_limit_is_found(rng):
    net = trained(rng, arith="int8")
    net.check()
    net.weights(0)[0, 0] = -128
    with pytest.raises(ShapeError, match="range"):
        net.check()


def test_writing_a_prototype_longer_than_one_is_found(rng):
    net = trained(rng)
    net.prototypes(1)[0, 0, :] = 16384
    with pytest.raises(ShapeError, match="range"):
        net.check()


def test_no_rows_are_no_work():
    net = Net(CoreConfig(dims=(9, 8), n_classes=3))
    assert len(net.train(X[:0], Y[:0])) == 0
    assert net.scores(X[:0]).shape == (0, 3)


@pytest.mark.parametrize(
    ("raw", "features"),
    [("int32", ()), ("int8", ("mav", "mav")), ("int8", ("energy",)), ("float32", ("mav",))],
)
def test_an_encoder_that_does_not_exist_is_refused(raw, features):
    with pytest.raises(ShapeError, match="an encoder of"):
        Encoder(raw, (4, 2), features=features)


def test_an_encoder_takes_its_type_alone():
    encoder = Encoder("uint8", (4, 1))
    assert encoder.encode(np.array([[0, 3, 0, 4]], np.uint8)).tolist() == [[0, 9830, 0, 13107]]
    for bad in (np.zeros((2, 4), np.int8), np.zeros((2, 5), np.uint8), np.zeros(4, np.uint8)):
        with pytest.raises(ShapeError):
            encoder.encode(bad)
