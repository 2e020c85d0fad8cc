"""What every exported graph computes, as data: read in numpy alone, it answers as the core does."""

import math
from dataclasses import replace

import export_models as models
import numpy as np
import pytest

from edgehff import spec
from edgehff.core import Net
from edgehff.errors import ModelFileError
from edgehff.export import verify
from edgehff.export.program import forward_view, program_of
from edgehff.geometry import ConvLayer
from edgehff.model.encoding import Encoding
from edgehff.model.exact import encoded
from edgehff.model.float_network import join_shares
from edgehff.model.network import Network
from edgehff.recipe import Recipe


def followed(program, z):
    """The similarities of a program for features z, in float64: joined ones first."""
    each = []
    z = as_map(program, z)
    for layer in program.layers:
        if layer.shape.conv is None:
            y = z.reshape(len(z), -1) @ (layer.weight.astype(np.float64) * layer.weight_scale).T
            f = np.maximum(y + (0 if layer.bias is None else layer.bias.astype(np.float64)), 0)
        else:
            z, f = convolved(layer, z)
        u = f / np.sqrt((f * f).sum(1, keepdims=True) + program.eps)
        z = u if layer.shape.conv is None else z
        prototypes = layer.prototypes.astype(np.float64) * layer.prototype_scales[:, None]
        each.append(spec.similarities(u @ prototypes.T, program.n_per_class, program.scale))
    joined = sum(layer.share * s for layer, s in zip(program.layers, each, strict=True))
    return np.stack([joined, *each], axis=1)


def as_map(program, z):
    """Features with their constant channel, as (n, channels, height, width)."""
    if not program.maps:
        return z
    if program.constant_channel is not None:
        value, parts = program.constant_channel
        z = np.pad(z.reshape(len(z), parts, -1), ((0, 0), (0, 0), (0, 1)), constant_values=value)
    return z.reshape(len(z), *program.maps[0]).transpose(0, 3, 1, 2)


def convolved(layer, x):
    """What the next layer takes, and what the prototypes see before its norm; maps are channels first."""
    conv, (height, width, _) = layer.shape.conv, layer.shape.map_out
    (down, right), (high, wide) = conv.stride, conv.pool_size
    weight = layer.weight.astype(np.float64) * layer.weight_scale
    padded = np.pad(x, ((0, 0), (0, 0), *((n, n) for n in conv.padding)))
    seen = np.lib.stride_tricks.sliding_window_view(padded, conv.kernel, (2, 3))[:, :, ::down, ::right]
    kinds = {"conv": "nchwij,ocij->nohw", "depthwise": "nchwij,cuij->nchw"}
    y = np.maximum(np.einsum(kinds[conv.kind], seen, weight), 0)[:, :, : height * high, : width * wide]
    windows = y.reshape(*y.shape[:2], height, high, width, wide)
    y = windows.max((3, 5)) if conv.pool == "max" else windows.sum((3, 5))
    cells = np.zeros((*y.shape[:2], *conv.grid))
    for row in range(height):
        for column in range(width):
            cells[:, :, row * conv.grid[0] // height, column * conv.grid[1] // width] += y[:, :, row, column]
    return y, cells.reshape(len(y), -1)


def features(program, raw):
    """z of raw samples without the bias, with the program's constants."""
    segments = program.encoding.segments if program.encoding.features else 1
    z = encoded(replace(program.encoding, offset=None, gain=None, bias=0, segments=segments), raw)
    if program.standardization is None:
        return z
    offset, gain = program.standardization
    return np.clip((z - offset) * gain, -32767, 32767)


@pytest.mark.parametrize("name", models.ALL)
def test_a_program_says_what_the_core_says(name):
    proof, program = models.proof(name), program_of(models.model(name))
    truth = verify.reference(models.model(name), proof.raw)
    found = followed(program, features(program, proof.raw))
    assert np.abs(found - truth.spec).max() < 2e-6
    assert np.abs(found - truth.core).max() < 2 * verify.BOUND  # spiked: few steps are left of most values
    assert np.array_equal(found[:, 0].argmax(1), truth.answers)


def test_an_int16_master_is_seen_in_rounded_int8_steps():
    master = np.array([-32512, -385, -384, -129, -128, -127, 0, 127, 128, 32512], np.int16)
    seen = forward_view(master)
    assert seen.dtype == np.int8
    assert seen.tolist() == [-127, -2, -1, -1, 0, 0, 0, 0, 1, 127]
    for kept in (np.array([-127, 127], np.int8), np.array([0.5, -2.0], np.float32)):
        assert forward_view(kept) is kept


@pytest.mark.parametrize("name", ["plain", "equal", "float"])
def test_weights_are_brought_near_one_over_the_root_of_their_number_by_a_power_of_two(name):
    network = models.model(name)
    for layer, learned in zip(program_of(network).layers, network.layers, strict=True):
        assert math.frexp(layer.weight_scale)[0] == 0.5
        rms = np.sqrt(np.mean((layer.weight * layer.weight_scale) ** 2.0))
        assert 0.7 < rms * math.sqrt(layer.weight.shape[1]) < 1.42
        assert np.array_equal(layer.weight, forward_view(learned.weight))
        assert layer.weight.flags.c_contiguous


def test_a_dense_layer_sums_the_constants_of_all_parts_in_its_bias():
    encoding = Encoding("int8", (6, 1), segments=3, bias=50)
    recipe = Recipe(layers=(4,))
    net = Net(recipe.core_config(9, 2))
    program = program_of(Network.from_core(net, recipe, ["a", "b"], encoding))
    seen, first = forward_view(net.weights(0)), program.layers[0]
    assert np.array_equal(first.weight, seen[:, [0, 1, 3, 4, 6, 7]])
    assert np.allclose(first.bias, seen[:, [2, 5, 8]].sum(1) * (first.weight_scale * 50.0))
    assert program.constant_channel is None


def test_maps_are_brought_from_channels_last_to_channels_first():
    network = models.model("mixed")
    first, dense, last = program_of(network).layers
    assert first.weight.shape == (5, 2, 3, 5)
    seen = forward_view(network.layers[0].weight)
    assert first.weight[3, 1, 2, 4] == seen[3, (2 * 5 + 4) * 2 + 1]
    assert (
        dense.weight[7, (4 * 4 + 3) * 2 + 1] == forward_view(network.layers[1].weight)[7, (3 * 2 + 1) * 5 + 4]
    )
    assert np.array_equal(last.weight, forward_view(network.layers[2].weight))
    program = program_of(models.model("maps"))
    kept = models.model("maps").layers[0].prototypes
    assert program.layers[0].prototypes[9, 5 * 4 + 2] == kept[9, 0, 2 * 6 + 5]
    assert program.maps == ((8, 8, 1), (3, 3, 6), (3, 3, 10))
    assert program_of(models.model("plain")).maps == ()
    depthwise = program_of(models.model("depthwise")).layers[1]
    assert depthwise.weight.shape == (8, 1, 3, 3)


def test_convolutions_one_behind_another_keep_the_length_of_noise():
    """Kernels without a negative weight make a map longer at every layer: 32 of them by 10^34."""
    conv = tuple(ConvLayer(16, grid=(2, 2)) for _ in range(32))
    network = models.fresh((), 64, conv=conv, input_shape=(8, 8, 1))
    louder = replace(network, layers=tuple(replace(w, weight=np.abs(w.weight)) for w in network.layers))
    program = program_of(louder)
    z = np.random.default_rng(5).random((3, 1, 8, 8)) * 200
    before = np.linalg.norm(z)
    for layer in program.layers:
        assert math.frexp(layer.weight_scale)[0] == 0.5
        z, f = convolved(layer, z)
        assert 1e-3 < np.linalg.norm(z) / before < 1e3
        assert 1e-2 < np.linalg.norm(f) < 1e7


def test_a_convolution_that_silences_all_noise_keeps_the_scale_of_its_weights():
    network = models.model("maps")
    silent = replace(network.layers[1], weight=-np.abs(network.layers[1].weight))
    layer = program_of(replace(network, layers=(network.layers[0], silent))).layers[1]
    rms = np.sqrt(np.mean((layer.weight * layer.weight_scale) ** 2.0))
    assert 0.7 < rms * math.sqrt(54) < 1.42


def test_the_scale_of_float_weights_is_taken_out():
    network = models.model("float")
    louder = replace(
        network, layers=tuple(replace(w, weight=w.weight * np.float32(1024)) for w in network.layers)
    )
    for quiet, loud in zip(program_of(network).layers, program_of(louder).layers, strict=True):
        assert quiet.weight_scale == 1024 * loud.weight_scale


def test_the_constant_feature_becomes_a_bias_of_the_first_layer():
    network = models.model("bias")
    first, second = program_of(network).layers
    seen = forward_view(network.layers[0].weight)
    assert np.array_equal(first.weight, seen[:, :-1])
    assert np.allclose(first.bias, seen[:, -1] * (first.weight_scale * 4096.0))
    assert first.bias.dtype == np.float32
    assert np.abs(first.bias).max() > 0
    assert second.bias is None
    assert program_of(models.model("plain")).layers[0].bias is None


@pytest.mark.parametrize(
    ("join", "weights", "shares"),
    [
        ("sum_logp", (), (1 / 3, 1 / 3, 1 / 3)),
        ("last", (), (0, 0, 1)),
        ("weighted", (0.5, 0, 2), (0.2, 0, 0.8)),
        ("weighted", (1 / 3, 1, 1), (85 / 597, 256 / 597, 256 / 597)),
        ("weighted", (0, 0.005, 0.001), (0, 1, 0)),
    ],
)
def test_a_layer_counts_in_the_answer_as_the_recipe_says(join, weights, shares):
    recipe = Recipe(layers=(6, 5, 4), join=join, join_weights=weights)
    assert join_shares(recipe) == pytest.approx(shares)
    network = models.fresh((6, 5, 4), 8, 3, join=join, join_weights=weights)
    assert [layer.share for layer in program_of(network).layers] == pytest.approx(shares)


def test_prototypes_are_rows_of_unit_length_class_by_class():
    layer = program_of(models.model("k3")).layers[1]
    assert layer.prototypes.shape == (30, 16)
    assert np.array_equal(layer.prototypes[4], models.model("k3").layers[1].prototypes[1, 1])
    length = np.linalg.norm(layer.prototypes * layer.prototype_scales[:, None], axis=1)
    assert np.abs(length - 1).max() < 1e-3


def test_each_int8_prototype_has_its_own_scale():
    wide, small = program_of(models.model("plain")), program_of(models.model("small"))
    for a, b in zip(wide.layers, small.layers, strict=True):
        assert (a.prototypes.dtype, b.prototypes.dtype) == (np.int16, np.int8)
        assert np.unique(a.prototype_scales).tolist() == [2.0**-14]
        assert len(np.unique(b.prototype_scales)) > 1
        off = np.abs(a.prototypes * a.prototype_scales[:, None] - b.prototypes * b.prototype_scales[:, None])
        assert (off.max(axis=1) <= b.prototype_scales * 0.5001).all()


def test_a_float_network_keeps_its_prototypes():
    for layer, learned in zip(
        program_of(models.model("float")).layers, models.model("float").layers, strict=True
    ):
        assert layer.weight.dtype == layer.prototypes.dtype == np.float32
        assert np.array_equal(layer.prototypes, learned.prototypes[:, 0])
        assert (layer.prototype_scales == 1).all()


def test_standardization_is_an_offset_and_a_gain_a_feature():
    e = models.model("bias").encoding
    offset, gain = program_of(models.model("bias")).standardization
    assert offset.dtype == gain.dtype == np.float32
    assert np.array_equal(offset, e.offset)
    assert np.array_equal(gain * 2.0**e.gain_shift, e.gain)
    assert program_of(models.model("plain")).standardization is None


@pytest.mark.parametrize(("name", "shape"), [("plain", (64,)), ("windows", (50, 8)), ("floats", (10,))])
def test_a_program_names_its_samples_and_outputs(name, shape):
    program = program_of(models.model(name))
    assert program.sample_shape == shape
    assert program.output_names == ("similarity", "similarity_0", "similarity_1")


def test_a_layer_without_any_weight_has_no_program():
    network = models.model("plain")
    silent = replace(network.layers[1], weight=np.zeros_like(network.layers[1].weight))
    with pytest.raises(ModelFileError, match="layer 1: all weights are zero") as caught:
        program_of(replace(network, layers=(network.layers[0], silent)))
    assert caught.value.hint
