"""The float rule: its gradient is the true one, and the core follows it."""

import numpy as np
import pytest

from edgehff import core, spec
from edgehff.core import Net
from edgehff.recipe import Recipe
from edgehff.train.reference import FloatTwin


def loss(weight, prototype, x, label, k, scale, margin):
    u, _ = spec.forward(weight, x)
    return spec.loss(prototype @ u, label, k, scale, margin)


@pytest.mark.parametrize(("k", "margin"), [(1, 0.0), (1, 0.2), (3, 0.1)])
def test_the_local_gradient_is_the_numerical_one(k, margin):
    rng = np.random.default_rng(3)
    weight, x = rng.normal(size=(6, 5)), rng.normal(size=5)
    prototype = rng.normal(size=(4 * k, 6))
    prototype /= np.linalg.norm(prototype, axis=1, keepdims=True)
    scale = 7.0
    u, norm = spec.forward(weight, x)
    cosine = prototype @ u
    e = spec.error(cosine, 2, k, scale, margin)
    analytic = scale * np.outer(spec.local_gradient(prototype, u, cosine, e) * (u > 0) / norm, x)
    numeric = np.zeros_like(weight)
    for at in np.ndindex(weight.shape):
        step = np.zeros_like(weight)
        step[at] = 1e-6
        up, down = (loss(weight + s, prototype, x, 2, k, scale, margin) for s in (step, -step))
        numeric[at] = (up - down) / 2e-6
    assert np.abs(analytic - numeric).max() < 1e-7 * scale * max(1, np.abs(numeric).max())


@pytest.mark.parametrize("k", [1, 3])
def test_the_core_follows_the_float_rule_for_one_step(k):
    rng = np.random.default_rng(5)
    recipe = Recipe(
        layers=(40, 24), prototypes_per_class=k, scale=9.0, margin=0.1, gate=None, lr=0.3, lr_prototypes=0.2
    )
    net = Net(recipe.core_config(30, 4))
    for layer in range(2):  # weights that the int8 view shows exactly
        net.weights(layer)[...] = (net.weights(layer) + 128) >> 8 << 8
    twin = FloatTwin(net, recipe)
    before = [w.copy() for w in twin.weights]
    x = core.unit(rng.integers(-999, 999, 30).astype(np.int32))[None]
    label = np.array([2], np.uint16)
    net.train(x, label)
    twin.train(x, label)
    for layer in range(2):
        step = twin.weights[layer] - before[layer]
        core_step = net.weights(layer) / 256 - before[layer]
        assert np.abs(step).max() > 0.5
        assert np.abs(core_step - step).max() < 0.002 * np.abs(step).max() + 1 / 256
        reached = net.prototypes(layer).reshape(-1, net.config.dims[layer + 1]) / 16384
        assert np.abs(reached - twin.prototypes[layer]).max() < 3e-4


@pytest.mark.parametrize("cap", [True, False])
def test_the_cap_is_the_same_in_float(cap):
    recipe = Recipe(layers=(40,), scale=9.0, gate=None, lr=1.5, cap=cap)
    net = Net(recipe.core_config(30, 4))
    net.weights(0)[...] = (net.weights(0) + 128) >> 8 << 8
    net.set_norm_sum(0, 500 * 256 * 1024)  # far above |y|
    twin = FloatTwin(net, recipe)
    twin.means[0] = 500.0
    before = twin.weights[0].copy()
    x = core.unit(np.random.default_rng(5).integers(-999, 999, 30).astype(np.int32))[None]
    net.train(x, np.array([1], np.uint16))
    twin.train(x, np.array([1], np.uint16))
    step = twin.weights[0] - before
    assert np.abs(net.weights(0) / 256 - before - step).max() < 0.002 * np.abs(step).max() + 1 / 256
    assert (np.abs(step).max() < 3) == cap


def test_similarity_of_equal_prototypes_is_their_cosine():
    cosine = np.repeat([0.3, -0.2, 0.9], 4)
    assert np.allclose(spec.similarities(cosine, 4, 11.0), [0.3, -0.2, 0.9])


def test_a_silent_layer_gives_zero():
    u, norm = spec.forward(-np.ones((3, 2)), np.array([0.6, 0.8]))
    assert norm == 0
    assert not u.any()
