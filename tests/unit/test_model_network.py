from dataclasses import replace

import numpy as np
import pytest

from edgehff.core import Net
from edgehff.errors import DataError, ShapeError
from edgehff.model.encoding import fit_encoding
from edgehff.model.network import Layer, Network
from edgehff.recipe import EncoderRecipe, Recipe


def trained(arith="int16", seed=5, dtype=np.float32, **changes):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, 80).astype(np.uint16)
    x = (rng.normal(size=(80, 3, 4)) * 10 + y[:, None, None] * 8).astype(dtype)
    encoder = EncoderRecipe(standardize=True, bias=4096)
    recipe = Recipe(layers=(9, 7), arith=arith, prototypes_per_class=2, encoder=encoder, seed=seed, **changes)
    encoding = fit_encoding(x, encoder)
    net = Net(recipe.core_config(encoding.n_features, 3))
    net.train(encoding.to_core().encode(encoding.quantize_raw(x)), y)
    return net, Network.from_core(net, recipe, ["left", "right", "rest"], encoding), x, y


@pytest.mark.parametrize("arith", ["int8", "int16"])
def test_a_network_goes_to_the_core_and_back(arith):
    net, network, x, y = trained(arith)
    twin = network.to_core()
    assert (network.weights_crc32, network.state_crc32) == (net.weights_crc32, net.state_crc32)
    assert (twin.step, twin.norm_sum(1)) == (80, net.norm_sum(1))
    code = network.encode(x)
    assert np.array_equal(twin.train(code, y), net.train(code, y))
    assert twin.state_crc32 == net.state_crc32 != network.state_crc32


def test_a_network_does_not_change_with_the_net_it_came_from():
    net, network, x, y = trained()
    before = network.state_crc32
    net.train(network.encode(x), y)
    assert network.state_crc32 == before
    with pytest.raises(ValueError, match="read-only"):
        network.layers[0].weight[0, 0] = 1


def test_options_of_the_recipe_reach_the_core():
    _, network, x, _ = trained(join="weighted", join_weights=(0.5, 2.0), gate=None, scale=12.0)
    assert network.config.join_weight == (128, 512)
    assert network.config.gate == 65535
    last = replace(network, recipe=network.recipe.replace(join="last", join_weights=()))
    assert not np.array_equal(
        network.to_core().scores(network.encode(x)), last.to_core().scores(last.encode(x))
    )


@pytest.mark.parametrize("arith", ["int8", "int16"])
def test_int8_prototypes_answer_nearly_the_same_and_do_not_learn(arith):
    _, network, x, y = trained(arith)
    small = network.with_int8_prototypes()
    assert small.with_int8_prototypes() is small
    assert small.config.proto_bits == 8
    code = network.encode(x)
    difference = np.abs(small.to_core().layer_scores(code) - network.to_core().layer_scores(code))
    largest_scale = max(int(layer.prototype_scales.max()) for layer in small.layers)
    assert difference.max() <= (largest_scale / 512 * 3 + 1) * network.config.kappa / 256
    assert difference.any()
    with pytest.raises(ShapeError, match="inference"):
        small.to_core().train(code, y)
    assert Network.from_core(
        small.to_core(), small.recipe, small.class_names, small.encoding
    ).weights_crc32 == (small.weights_crc32)


def test_raw_samples_are_checked():
    _, network, x, _ = trained()
    assert network.encode(x).shape == (80, 13)
    with pytest.raises(ShapeError, match="samples are int16"):
        network.encode(x.astype(np.int16))
    with pytest.raises(ShapeError, match="shape"):
        network.encode(x[0])
    x[3, 1, 1] = np.inf
    with pytest.raises(DataError, match="1 values are NaN or infinite, the first in row 3"):
        network.encode(x)


def broken(network, **changes):
    layer = replace(network.layers[1], **changes)
    return {"layers": (network.layers[0], layer)}


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda n: {"layers": n.layers[:1]}, "1 layers, the recipe has 2"),
        (lambda _: {"class_names": ("a", "b", "a")}, "2 of them distinct"),
        (lambda _: {"class_names": ("a", "b")}, "layer 0: prototypes"),
        (lambda _: {"step": 2**32}, "step"),
        (lambda _: {"proto_bits": 4}, "neither 8 nor 16"),
        (lambda _: {"proto_bits": 8}, "prototypes is int16"),
        (lambda n: broken(n, weight=n.layers[1].weight.astype(np.int8)), "layer 1: weight is int8"),
        (lambda n: broken(n, weight=n.layers[1].weight[:, :-1]), r"layer 1: weight is int16 \(7, 8\)"),
        (lambda n: broken(n, norm_sum=-1), "norm_sum = -1"),
        (lambda n: broken(n, prototype_scales=np.ones((3, 2), np.uint16)), "prototype scales at 16 bits"),
    ],
)
def test_parts_that_do_not_fit_are_refused(change, match):
    network = trained()[1]
    with pytest.raises(ShapeError, match=match):
        replace(network, **change(network))


def test_weights_beyond_the_proved_bounds_are_refused():
    network = trained("int8")[1]
    weight = network.layers[0].weight.copy()
    weight[0, 0] = -128
    layer = Layer(weight, network.layers[0].prototypes, network.layers[0].norm_sum)
    with pytest.raises(ShapeError):
        replace(network, layers=(layer, network.layers[1])).to_core()
