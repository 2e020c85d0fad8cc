"""Float networks in the integers of the core; torch is not needed."""

from dataclasses import replace

import numpy as np
import pytest

from edgehff import spec
from edgehff.core import ONE
from edgehff.data.sources import load as load_data
from edgehff.data.split import train_test
from edgehff.errors import ShapeError
from edgehff.fixedpoint import NORM_MAX, W_LIMIT
from edgehff.geometry import ConvLayer
from edgehff.model import file
from edgehff.model.encoding import Encoding, fit_encoding
from edgehff.model.float_network import FloatLayer, FloatNetwork
from edgehff.quantize import quantize
from edgehff.quantize.network import saturated_share
from edgehff.recipe import EncoderRecipe, Recipe
from edgehff.train.local import trained
from edgehff.train.metrics import accuracy

ARITHS = ["int8", "int16"]
STEPS = {"int8": 1, "int16": 256}  # of a stored weight in one int8 step


def network(seed=1, n_in=50, layers=(40, 20), k=1, n_classes=3, **changes):
    rng = np.random.default_rng(seed)
    dims, made = (n_in, *layers), []
    for i in range(len(layers)):
        prototypes = rng.normal(size=(n_classes, k, dims[i + 1]))
        prototypes /= np.linalg.norm(prototypes, axis=2, keepdims=True)
        weight = rng.normal(size=(dims[i + 1], dims[i])) * 0.1
        made.append(FloatLayer(weight.astype(np.float32), prototypes.astype(np.float32), 0.5 + i))
    recipe = Recipe(layers=layers, arith="float", prototypes_per_class=k, **changes)
    names = tuple(f"class {c}" for c in range(n_classes))
    return FloatNetwork(recipe, names, Encoding("int16", (n_in, 1)), tuple(made), 640)


def changed(net, at=0, **changes):
    """The network with one layer changed."""
    layers = list(net.layers)
    layers[at] = replace(layers[at], **changes)
    return replace(net, layers=tuple(layers))


@pytest.fixture(scope="module")
def digits():
    data = load_data("digits")
    return tuple(data.rows(at) for at in train_test(data))


@pytest.fixture(scope="module")
def taught(digits):
    """A float network that knows digits: one that the core trained, at another scale, its norms measured."""
    recipe = Recipe(layers=(64, 32), epochs=6, seed=3, encoder=EncoderRecipe(center=True))
    core = trained(recipe, digits[0])
    u, layers = core.encode(digits[0].x) / ONE, []
    for i, layer in enumerate(core.layers):
        weight = (layer.weight / (1000.0 + 500 * i)).astype(np.float32)
        prototypes = layer.prototypes / np.linalg.norm(layer.prototypes.astype(float), axis=2, keepdims=True)
        u, norm = spec.forward(weight.astype(np.float64), u)
        layers.append(FloatLayer(weight, prototypes.astype(np.float32), float(norm.mean())))
    return FloatNetwork(recipe.replace(arith="float"), core.class_names, core.encoding, tuple(layers), 99)


@pytest.mark.parametrize("arith", ARITHS)
def test_the_rms_of_each_layer_is_16_int8_steps(arith):
    for layer in quantize(network(), arith).layers:
        assert layer.weight.dtype == np.dtype(arith)
        rms = np.sqrt((layer.weight.astype(np.float64) ** 2).mean()) / STEPS[arith]
        assert rms == pytest.approx(16, rel=0.005)


@pytest.mark.parametrize("arith", ARITHS)
def test_weights_are_rounded_to_nearest(arith):
    float_network = network()
    for layer, source in zip(quantize(float_network, arith).layers, float_network.layers, strict=True):
        weight = source.weight.astype(np.float64)
        exact = weight * 16 * STEPS[arith] / np.sqrt((weight**2).mean())
        assert np.abs(layer.weight - exact).max() <= 0.5 + 1e-9
        assert abs((layer.weight - exact).mean()) < 0.05


@pytest.mark.parametrize("arith", ARITHS)
@pytest.mark.parametrize("factor", [2.0, 0.5, 2.0**40, 2.0**-40])
def test_the_scale_of_the_float_weights_has_no_meaning(arith, factor):
    plain = network()
    scaled = plain
    for i, layer in enumerate(plain.layers):
        weight = (layer.weight * np.float32(factor)).astype(np.float32)
        scaled = changed(scaled, i, weight=weight, norm_mean=layer.norm_mean * factor)
    ours, theirs = quantize(plain, arith), quantize(scaled, arith)
    assert ours.state_crc32 == theirs.state_crc32
    assert [layer.norm_sum for layer in ours.layers] == [layer.norm_sum for layer in theirs.layers]
    assert plain.weights_crc32 != scaled.weights_crc32


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("n_out", [1, 20, 1000])
def test_prototypes_are_unit_in_q14(k, n_out):
    plain = network(layers=(n_out,), n_in=10, k=k)
    found = quantize(plain, "int16").layers[0].prototypes
    assert (found.dtype, found.shape) == (np.int16, (3, k, n_out))
    assert np.abs(np.linalg.norm(found.astype(float), axis=2) / ONE - 1).max() < 1e-3
    assert np.abs(found - plain.layers[0].prototypes * float(ONE)).max() <= 1


@pytest.mark.parametrize("arith", ARITHS)
def test_the_mean_of_norms_is_taken_over(arith):
    plain = network()
    for layer, source in zip(quantize(plain, arith).layers, plain.layers, strict=True):
        gain = 16 / np.sqrt((source.weight.astype(np.float64) ** 2).mean())
        assert layer.norm_sum == 1024 * round(256 * gain * source.norm_mean)
    assert quantize(changed(plain, norm_mean=0.0), arith).layers[0].norm_sum == 0
    huge = quantize(changed(plain, norm_mean=1e9), arith)
    assert huge.layers[0].norm_sum == 1024 * NORM_MAX
    huge.to_core().check()


@pytest.mark.parametrize("arith", ARITHS)
def test_the_mean_of_norms_is_the_one_that_the_core_would_find(taught, digits, arith):
    integers = quantize(taught, arith)
    u = integers.encode(digits[0].x) / ONE
    for layer in integers.layers:
        u, norm = spec.forward(layer.weight / float(STEPS[arith]), u)
        assert layer.norm_sum / 1024 / 256 == pytest.approx(norm.mean(), rel=0.01)


def test_everything_else_is_taken_over():
    plain = network(k=3, join="weighted", join_weights=(0.5, 1.0), seed=7, data="digits")
    integers = quantize(plain, "int8")
    assert integers.recipe == plain.recipe.replace(arith="int8")
    assert integers.class_names == plain.class_names
    assert integers.encoding is plain.encoding
    assert (integers.step, integers.proto_bits) == (640, 16)
    assert plain.recipe.arith == "float"


@pytest.mark.parametrize("arith", ARITHS)
def test_answers_stay(taught, digits, arith):
    test, integers = digits[1], quantize(taught, arith)
    answers = taught.predict(taught.encode(test.x))
    assert accuracy(answers, test.y) > 0.9
    assert accuracy(integers.to_core().predict(integers.encode(test.x)), answers) >= 0.99


@pytest.mark.parametrize(("arith", "bound"), [("int8", 0.02), ("int16", 0.01)])
def test_similarities_stay(taught, digits, arith, bound):
    raw, integers = digits[1].x, quantize(taught, arith)
    logits = integers.to_core().layer_scores(integers.encode(raw)) / 65536
    found = logits / (taught.recipe.scale * np.log2(np.e))
    assert np.abs(found - taught.layer_similarities(taught.encode(raw))).mean() < bound


@pytest.mark.parametrize("join", ["sum_logp", "last", "weighted"])
def test_layers_are_joined_as_before(taught, digits, join):
    joined = replace(taught, recipe=taught.recipe.replace(join=join, join_weights=(0.25, 2.0)))
    raw, integers = digits[1].x, quantize(joined, "int16")
    found = integers.to_core().predict(integers.encode(raw))
    assert accuracy(found, joined.predict(joined.encode(raw))) >= 0.99


@pytest.mark.parametrize("arith", ARITHS)
def test_what_was_quantized_goes_on_learning(digits, arith):
    rows, test = digits
    plain = network(seed=4, n_in=64, layers=(64, 32), n_classes=10)
    encoding = fit_encoding(rows.x, EncoderRecipe(center=True))
    integers = quantize(replace(plain, encoding=encoding, class_names=rows.class_names), arith)
    before, net = integers.state_crc32, integers.to_core()
    x, x_test = integers.encode(rows.x), integers.encode(test.x)
    start = accuracy(net.predict(x_test), test.y)
    net.train(x, rows.y)
    assert net.step == 640 + len(rows)
    assert all(net.layer_stats(i)["updates"] > 0 for i in (0, 1))
    assert start < 0.5
    assert accuracy(net.predict(x_test), test.y) > 0.8
    assert integers.state_crc32 == before


@pytest.mark.parametrize("arith", ARITHS)
def test_the_file_of_integers_is_like_any_other(tmp_path, arith):
    integers = quantize(network(k=3), arith)
    file.save(integers, tmp_path / "m.safetensors")
    back = file.load(tmp_path / "m.safetensors")
    assert back.state_crc32 == integers.state_crc32
    assert back.recipe == integers.recipe
    file.save(back, tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "m.safetensors").read_bytes()


def test_quantizing_twice_gives_the_same_bits_and_reads_only():
    plain = network()
    before = plain.weights_crc32
    assert quantize(plain, "int8").state_crc32 == quantize(plain, "int8").state_crc32
    assert plain.weights_crc32 == before


def test_a_layer_of_zeros_is_refused():
    silent = changed(network(), 1, weight=np.zeros((20, 40), np.float32))
    with pytest.raises(ShapeError, match="layer 1: all weights are zero") as caught:
        quantize(silent, "int8")
    assert caught.value.hint


@pytest.mark.parametrize("arith", ["float", "int4", "INT8", ""])
def test_another_arith_is_refused(arith):
    with pytest.raises(ShapeError, match="is none of int8, int16") as caught:
        quantize(network(), arith)
    assert caught.value.hint


@pytest.mark.parametrize("arith", ARITHS)
def test_a_weight_beyond_the_limit_stands_at_it_and_is_counted(arith):
    weight = np.full((20, 40), 0.01, np.float32)
    weight[3, 5], weight[7, 7] = 4.0, -4.0
    plain = changed(network(), 1, weight=weight)
    integers = quantize(plain, arith)
    found = integers.layers[1].weight
    assert (found[3, 5], found[7, 7]) == (W_LIMIT[arith], -W_LIMIT[arith])
    assert np.abs(found.astype(int)).max() == W_LIMIT[arith]
    assert saturated_share(integers) == 2 / (40 * 50 + 20 * 40)
    assert [integers.to_core().layer_stats(i)["saturated"] for i in (0, 1)] == [0, 2]
    assert saturated_share(quantize(network(), arith)) == 0


CONV = (
    ConvLayer(6, pool="max", pool_size=(2, 2), grid=(2, 2)),
    ConvLayer(6, kind="depthwise", pool="mean", pool_size=(2, 2), grid=(1, 2)),
)


def conv_network(seed=2, n_classes=3, k=2):
    """Two convolutions over maps of 12 x 12 x 2 and a dense layer."""
    rng = np.random.default_rng(seed)
    recipe = Recipe(
        conv=CONV, input_shape=(12, 12, 2), layers=(20,), arith="float", prototypes_per_class=k, scale=9.0
    )
    made = []
    for i, shape in enumerate(recipe.shapes(288)):
        prototypes = rng.normal(size=(n_classes, k, shape.head))
        prototypes /= np.linalg.norm(prototypes, axis=2, keepdims=True)
        weight = rng.normal(size=(shape.n_out, shape.n_in)) * 0.1
        made.append(FloatLayer(weight.astype(np.float32), prototypes.astype(np.float32), 0.5 + i))
    names = tuple(f"class {c}" for c in range(n_classes))
    return FloatNetwork(recipe, names, Encoding("int16", (288, 1)), tuple(made), 640)


@pytest.mark.parametrize("arith", ARITHS)
def test_convolutions_are_rescaled_like_dense_layers(arith):
    plain = conv_network()
    integers = quantize(plain, arith)
    for layer, source in zip(integers.layers, plain.layers, strict=True):
        weight = source.weight.astype(np.float64)
        gain = 16 / np.sqrt((weight**2).mean())
        assert layer.weight.dtype == np.dtype(arith)
        assert np.abs(layer.weight - weight * gain * STEPS[arith]).max() <= 0.5 + 1e-9
        assert layer.norm_sum == 1024 * round(256 * gain * source.norm_mean)
        assert layer.prototypes.shape == source.prototypes.shape
        assert np.abs(layer.prototypes - source.prototypes * float(ONE)).max() <= 1
    assert integers.recipe == plain.recipe.replace(arith=arith)
    assert integers.to_core().norm_sum(1) == integers.layers[1].norm_sum


@pytest.mark.parametrize("arith", ARITHS)
def test_a_convolutional_network_answers_as_before(arith):
    """The largest difference of a cosine; measured: 0.007."""
    plain, rng = conv_network(), np.random.default_rng(3)
    integers = quantize(plain, arith)
    raw = rng.integers(-9999, 9999, (60, 288)).astype(np.int16)
    logits = integers.to_core().layer_scores(integers.encode(raw)) / 65536
    wanted = plain.layer_similarities(plain.encode(raw))
    assert wanted.std() > 0.1
    assert np.abs(logits / (9.0 * np.log2(np.e)) - wanted).max() < 0.015
