"""The float rule: its gradient is the true one, and the core follows it."""

import numpy as np
import pytest

from edgehff import core, spec
from edgehff.core import Net
from edgehff.geometry import ConvLayer, follow
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


def problem(seed, lead=(7,), k=1, n_in=5, n_out=6, n_classes=4):
    """Weights, unit prototypes, inputs with leading axes, and labels."""
    rng = np.random.default_rng(seed)
    prototype = rng.normal(size=(n_classes * k, n_out))
    prototype /= np.linalg.norm(prototype, axis=1, keepdims=True)
    label = rng.integers(0, n_classes, lead)
    return rng.normal(size=(n_out, n_in)), prototype, rng.normal(size=(*lead, n_in)), label


def everything(weight, prototype, x, label, k, scale, margin):
    """Every function of the module that takes both kinds of arrays, by name."""
    u, norm = spec.forward(weight, x)
    cosine = u @ prototype.T
    s = spec.similarities(cosine, k, scale)
    e = spec.error(cosine, label, k, scale, margin)
    out = {
        "u": u,
        "norm": norm,
        "similarities": s,
        "log_softmax": spec.log_softmax(scale * s),
        "onehot": spec.onehot(label, s),
        "loss": spec.loss(cosine, label, k, scale, margin),
        "error": e,
        "lead": spec.lead(s, label),
        "local_gradient": spec.local_gradient(prototype, u, cosine, e),
    }
    if x.ndim == 2:
        out["by_weight"], out["by_prototype"] = spec.gradients(prototype, x, u, norm, e, scale)
    return out


@pytest.mark.torch
@pytest.mark.parametrize("lead", [(), (7,), (2, 3)])
@pytest.mark.parametrize("k", [1, 3])
def test_numpy_and_torch_compute_the_same(lead, k):
    torch = pytest.importorskip("torch")
    arrays = problem(1, lead, k)
    ours = everything(*arrays, k, 11.0, 0.15)
    theirs = everything(*map(torch.as_tensor, arrays), k, 11.0, 0.15)
    for name, value in theirs.items():
        assert isinstance(value, torch.Tensor), name
        assert (value.dtype, tuple(value.shape)) == (torch.float64, np.shape(ours[name])), name
        assert np.abs(value.numpy() - ours[name]).max() <= 1e-12 * max(1, np.abs(ours[name]).max()), name


@pytest.mark.torch
def test_single_precision_and_the_device_stay():
    torch = pytest.importorskip("torch")
    weight, prototype, x, label = (torch.as_tensor(a) for a in problem(2, (3,), 2))
    found = everything(weight.float(), prototype.float(), x.float(), label, 2, 11.0, 0.15)
    assert {name: v.dtype for name, v in found.items()} == dict.fromkeys(found, torch.float32)
    meta = everything(
        *(t.to("meta") for t in (weight.float(), prototype.float(), x.float(), label)), 2, 11.0, 0.15
    )
    assert {v.device.type for v in meta.values()} == {"meta"}


@pytest.mark.parametrize("lead", [(7,), (2, 3)])
@pytest.mark.parametrize("k", [1, 3])
def test_leading_axes_are_samples(lead, k):
    weight, prototype, x, label = problem(3, lead, k)
    whole = everything(weight, prototype, x, label, k, 11.0, 0.15)
    for at in np.ndindex(lead):
        alone = everything(weight, prototype, x[at], label[at], k, 11.0, 0.15)
        for name, value in alone.items():
            assert np.allclose(whole[name][at], value, rtol=0, atol=1e-13), name


def numeric_gradients(loss, weight, prototype, step=1e-6):
    """Of loss(weight, prototype) by each of the two, from the loss a step to either side."""
    found = []
    for i, parameter in enumerate((weight, prototype)):
        numeric = np.zeros_like(parameter)
        for at in np.ndindex(parameter.shape):
            ends = []
            for sign in (step, -step):
                moved = [weight.copy(), prototype.copy()]
                moved[i][at] += sign
                ends.append(loss(*moved))
            numeric[at] = (ends[0] - ends[1]) / (2 * step)
        found.append(numeric)
    return found


@pytest.mark.parametrize("k", [1, 3])
def test_the_gradients_of_a_batch_are_numerical_ones_on_the_sphere(k):
    weight, prototype, x, label = problem(4, (7,), k)
    x[2] = 0
    scale, margin = 7.0, 0.1

    def mean_loss(weight, prototype):
        u, _ = spec.forward(weight, x)
        unit = prototype / np.linalg.norm(prototype, axis=1, keepdims=True)
        return spec.loss(u @ unit.T, label, k, scale, margin).mean()

    u, norm = spec.forward(weight, x)
    e = spec.error(u @ prototype.T, label, k, scale, margin)
    found = spec.gradients(prototype, x, u, norm, e, scale)
    for i, numeric in enumerate(numeric_gradients(mean_loss, weight, prototype)):
        assert np.abs(numeric).max() > 0.05
        assert np.abs(found[i] - numeric).max() < 1e-7 * scale
    assert np.abs((found[1] * prototype).sum(axis=1)).max() < 1e-14


@pytest.mark.parametrize("k", [1, 3])
def test_similarity_is_the_log_of_the_mean_of_exponentials(k):
    cosine = np.random.default_rng(6).uniform(-1, 1, (5, 4 * k))
    wanted = np.log(np.exp(9 * cosine.reshape(5, 4, k)).mean(axis=2)) / 9
    assert np.allclose(spec.similarities(cosine, k, 9.0), wanted, rtol=0, atol=1e-14)


def test_the_loss_is_the_cross_entropy_with_the_margin_off_the_own_class():
    cosine = np.array([[0.5, 0.2, -0.1], [0.0, 0.4, 0.9]])
    logits = 8 * (cosine - np.array([[0.25, 0, 0], [0, 0, 0.25]]))
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    label = np.array([0, 2])
    assert np.allclose(spec.loss(cosine, label, 1, 8.0, 0.25), [-np.log(p[0, 0]), -np.log(p[1, 2])])
    assert np.allclose(spec.error(cosine, label, 1, 8.0, 0.25), p - np.eye(3)[label])


def test_the_lead_is_over_the_best_other_class():
    s = np.array([[0.9, 0.5, -0.5], [-1.0, -0.9, 1.0], [-0.2, -0.2, -0.9], [-1.0, 1.0, -1.0]])
    assert np.allclose(spec.lead(s, np.array([0, 0, 1, 1])), [0.4, -2.0, 0.0, 2.0])


def test_probabilities_of_a_row_do_not_hang_on_other_rows():
    found = spec.log_softmax(np.array([[0.0, 0.0], [9e3, 9e3], [-9e3, 9e3]]))
    assert np.allclose(found, [[-np.log(2)] * 2, [-np.log(2)] * 2, [-18e3, 0.0]], rtol=1e-12, atol=0)


CONVOLUTIONS = {
    "max": ConvLayer(4, pool="max", pool_size=(2, 2), grid=(2, 1)),
    "mean": ConvLayer(4, kernel=(3, 2), stride=(1, 2), padding=(1, 0), pool="mean", pool_size=(2, 1)),
    "plain": ConvLayer(4, padding=(0, 0), grid=(2, 2)),
    "depthwise": ConvLayer(2, kind="depthwise", pool="mean", pool_size=(1, 3)),
}


@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_the_gradients_of_a_convolution_are_numerical_ones_on_the_sphere(case):
    rng = np.random.default_rng(4)
    shape = follow(CONVOLUTIONS[case], (6, 5, 2))
    weight = rng.normal(size=(shape.n_out, shape.n_in))
    prototype = rng.normal(size=(6, shape.head))
    prototype /= np.linalg.norm(prototype, axis=1, keepdims=True)
    x, label = rng.normal(size=(5, 60)), rng.integers(0, 3, 5)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    x[2] = 0
    scale, margin = 7.0, 0.1

    def mean_loss(weight, prototype):
        _, head, _ = spec.conv_forward(shape, weight, x)
        unit = prototype / np.linalg.norm(prototype, axis=1, keepdims=True)
        return spec.loss(head @ unit.T, label, 2, scale, margin).mean()

    head = spec.conv_forward(shape, weight, x)[1]
    e = spec.error(head @ prototype.T, label, 2, scale, margin)
    found = spec.conv_gradients(shape, weight, prototype, x, e, scale)
    for i, numeric in enumerate(numeric_gradients(mean_loss, weight, prototype)):
        assert np.abs(numeric).max() > 0.03
        assert np.abs(found[i] - numeric).max() < 1e-7 * scale


def test_ties_of_a_window_go_to_its_first_position_and_silence_to_none():
    shape = follow(ConvLayer(2, pool="max", pool_size=(2, 2)), (4, 4, 1))
    y = np.array([[[1.0, -1.0], [3.0, -2.0], [3.0, 0.0], [2.0, -1.0]]])
    assert spec.route(shape, y)[0].T.tolist() == [[0, 1, 0, 0], [0, 0, 0, 0]]
    shape = follow(ConvLayer(2, pool="mean", pool_size=(3, 1)), (4, 4, 1))
    y = np.array([[[1.0, -1.0], [3.0, 2.0], [0.0, 1.0]]])
    assert spec.route(shape, y)[0].T.tolist() == [[0.25, 0.25, 0], [0, 0.25, 0.25]]


def conv_net(seed, pool="max", kind="conv", k=1, **changes):
    """Two convolutions and a dense layer in the core, with weights that the int8 view shows, and the twin."""
    channels = 8 if kind == "depthwise" else 12
    recipe = Recipe(
        conv=(
            ConvLayer(8, pool="max", pool_size=(2, 2), grid=(2, 2)),
            ConvLayer(channels, kind=kind, pool=pool, pool_size=(2, 2), grid=(2, 1)),
        ),
        input_shape=(13, 12, 2), layers=(24,), prototypes_per_class=k, scale=9.0, margin=0.1, gate=None,
        lr=0.1, lr_prototypes=0.1, seed=seed, **changes,
    )  # fmt: skip
    net = Net(recipe.core_config(312, 4))
    for layer in range(3):
        net.weights(layer)[...] = (net.weights(layer) + 128) >> 8 << 8
    return net, FloatTwin(net, recipe)


def conv_rows(n, seed=7):
    rng = np.random.default_rng(seed)
    x = np.stack([core.unit(rng.integers(-999, 999, 312).astype(np.int32)) for _ in range(n)])
    return x, rng.integers(0, 4, n).astype(np.uint16)


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize(("pool", "kind"), [("max", "conv"), ("mean", "conv"), ("mean", "depthwise")])
def test_the_core_follows_the_float_rule_of_convolutions(pool, kind, k):
    """For one step within 2 % of its length; five steps later, on weights seen as int8, within a third.

    A position whose output the core rounds to zero does not learn there; these samples have none at first.
    """
    net, twin = conv_net(7, pool, kind, k)
    x, label = conv_rows(5)
    start = [w.copy() for w in twin.weights]
    for part, bound in ((slice(0, 1), 0.02), (slice(1, 5), 0.34)):
        net.train(x[part], label[part])
        twin.train(x[part], label[part])
        for layer in range(2):
            step = twin.weights[layer] - start[layer]
            apart = net.weights(layer) / 256 - start[layer] - step
            assert np.linalg.norm(step) > 0.3
            assert np.linalg.norm(apart) < bound * np.linalg.norm(step)
            reached = net.prototypes(layer).reshape(twin.prototypes[layer].shape) / 16384
            assert np.abs(reached - twin.prototypes[layer]).max() < bound / 20
            assert net.norm_sum(layer) / 2**18 == pytest.approx(twin.means[layer], rel=1e-3)


@pytest.mark.parametrize("revive", [True, False])
@pytest.mark.parametrize("pool", ["max", "mean"])
def test_a_channel_that_is_silent_everywhere_is_raised_as_in_the_core(revive, pool):
    net, twin = conv_net(3, pool, revive=revive)
    x, label = conv_rows(1)
    x = np.abs(x)
    for layer in range(2):
        net.weights(layer)[5] = -np.abs(net.weights(layer)[5])
    twin = FloatTwin(net, twin.recipe)
    start = [w.copy() for w in twin.weights]
    net.train(x, label)
    twin.train(x, label)
    for layer in range(2):
        step = (twin.weights[layer] - start[layer])[5]
        found = (net.weights(layer) / 256 - start[layer])[5]
        assert (step >= 0).all()  # of inputs that are not negative
        assert np.abs(found - step).max() <= 0.02 * step.max() + 1 / 256
        assert (step.max() > 0.02) == revive


@pytest.mark.torch
@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_numpy_and_torch_compute_the_same_of_convolutions(case):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    shape = follow(CONVOLUTIONS[case], (6, 5, 2))
    sizes = (shape.n_out, shape.n_in), (6, shape.head), (4, 60)
    arrays = [rng.normal(size=size) for size in sizes]
    e = rng.normal(size=(4, 6))
    ours = [*spec.conv_forward(shape, arrays[0], arrays[2]), *spec.conv_gradients(shape, *arrays, e, 5.0)]
    weight, prototype, x = map(torch.as_tensor, arrays)
    theirs = [
        *spec.conv_forward(shape, weight, x),
        *spec.conv_gradients(shape, weight, prototype, x, torch.as_tensor(e), 5.0),
    ]
    for a, b in zip(ours, theirs, strict=True):
        assert (b.dtype, tuple(b.shape)) == (torch.float64, a.shape)
        assert np.abs(a - b.numpy()).max() <= 1e-12 * np.abs(a).max()
