"""What every exported graph computes, as data: read in numpy alone, it answers as the core does."""

import math
from dataclasses import replace

import export_models as models
import numpy as np
import pytest

from edgehff import spec
from edgehff.errors import ModelFileError
from edgehff.export import verify
from edgehff.export.program import forward_view, program_of
from edgehff.model.exact import encoded
from edgehff.model.float_network import join_shares
from edgehff.recipe import Recipe


def followed(program, z):
    """The similarities of a program for features z, in float64: joined ones first."""
    each = []
    for layer in program.layers:
        y = z @ (layer.weight.astype(np.float64) * layer.weight_scale).T
        y = np.maximum(y + (0 if layer.bias is None else layer.bias.astype(np.float64)), 0)
        z = y / np.sqrt((y * y).sum(1, keepdims=True) + program.eps)
        prototypes = layer.prototypes.astype(np.float64) * layer.prototype_scales[:, None]
        each.append(spec.similarities(z @ prototypes.T, program.n_per_class, program.scale))
    joined = sum(layer.share * s for layer, s in zip(program.layers, each, strict=True))
    return np.stack([joined, *each], axis=1)


def features(program, raw):
    """z of raw samples without the bias, with the program's constants."""
    z = encoded(replace(program.encoding, offset=None, gain=None, bias=0), raw)
    if program.standardization is None:
        return z
    offset, gain = program.standardization
    return np.clip((z - offset) * gain, -32767, 32767)


@pytest.mark.parametrize("name", [*models.MODELS, "small", "float"])
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
