"""Training of convolutions in torch: changed maps, what is learned, and backpropagation beside it."""

from dataclasses import replace

import numpy as np
import pytest

from edgehff import spec
from edgehff.core import ONE
from edgehff.data.dataset import from_arrays
from edgehff.data.sources import load
from edgehff.data.split import holdout
from edgehff.geometry import ConvLayer
from edgehff.quantize import quantize
from edgehff.recipe import AugmentRecipe, EncoderRecipe, PretrainRecipe, Recipe
from edgehff.train.events import EpochDone
from edgehff.train.metrics import accuracy

torch = pytest.importorskip("torch")
from edgehff.nn import HFFNetwork  # noqa: E402 (needs torch)
from edgehff.train import backprop  # noqa: E402
from edgehff.train.float import Learner, norm_means, predict, train  # noqa: E402

pytestmark = pytest.mark.torch
torch.set_num_threads(1)

PRETRAIN = PretrainRecipe(lr=0.01, lr_prototypes=0.01, batch_size=32, epochs=4)
RECIPE = Recipe(
    conv=(
        ConvLayer(12, pool="max", pool_size=(2, 2), grid=(2, 2)),
        ConvLayer(16, pool="mean", pool_size=(2, 2), grid=(2, 2)),
    ),
    input_shape=(8, 8, 1),
    layers=(24,),
    arith="float",
    pretrain=PRETRAIN,
    encoder=EncoderRecipe(center=True),
)


def recipe(pretrain=None, **changes):
    return replace(RECIPE, pretrain=replace(PRETRAIN, **(pretrain or {})), **changes)


@pytest.fixture(scope="module")
def parts():
    digits = load("digits")
    return tuple(digits.rows(at) for at in holdout(digits, 0.2, 0))


def inputs(dtype):
    """16 unit rows of 64."""
    drawn = torch.randn(16, 64, generator=torch.Generator().manual_seed(1), dtype=dtype)
    return torch.nn.functional.normalize(drawn, dim=1)


def trained(*arguments, by=train):
    *_, done = by(*arguments)
    return done.network


@pytest.mark.parametrize("setting", [{"flip": True}, {"warp": 1}, {"shift": 1}, {"cutout": 3}])
def test_maps_are_changed_while_they_are_learned_from_and_not_when_measured(parts, setting):
    rows = parts[0].rows(np.arange(200))
    augment = AugmentRecipe(**setting)
    plain = trained(recipe({"epochs": 1}), rows)
    *_, last, done = train(recipe({"epochs": 1}, augment=augment), rows, parts[1])
    ours = done.network
    assert ours.weights_crc32 != plain.weights_crc32
    assert trained(recipe({"epochs": 1}, augment=augment), rows).weights_crc32 == ours.weights_crc32
    network = HFFNetwork.from_data(ours)
    encoder = ours.encoding.to_core()
    x, held = (encoder.encode(ours.encoding.quantize_raw(part.x)) for part in (rows, parts[1]))
    answers = predict(network, held)
    assert np.array_equal(answers, ours.predict(ours.encode(parts[1].x)))
    assert last.validation == accuracy(answers, parts[1].y)
    means = norm_means(network, torch.from_numpy(x))
    assert [layer.norm_mean for layer in ours.layers] == pytest.approx(means, rel=1e-5)


def test_digits_are_learned_and_survive_quantizing(parts):
    rows, held = parts
    *_, last, done = train(recipe({"epochs": 6}), rows, held)
    network = done.network
    answers = network.predict(network.encode(held.x))
    assert last.validation == accuracy(answers, held.y) > 0.95
    for arith in ("int8", "int16"):
        integers = quantize(network, arith)
        assert accuracy(integers.to_core().predict(integers.encode(held.x)), answers) >= 0.98


def test_norms_are_what_the_core_would_find(parts):
    """The core's running mean of the first samples, over the mean that goes with the quantized network."""
    rows = parts[0]
    integers = quantize(trained(recipe({"epochs": 2}), rows), "int16")
    x = integers.encode(rows.x)
    net = replace(integers, layers=tuple(replace(layer, norm_sum=0) for layer in integers.layers)).to_core()
    net.set_rates(0, 0)
    net.train(x, rows.y)
    for i, layer in enumerate(integers.layers):
        assert layer.norm_sum == pytest.approx(net.norm_sum(i), rel=0.1)
    u = x / ONE
    for layer, shape in zip(integers.layers, RECIPE.shapes(64), strict=True):
        weight = layer.weight / 256.0
        if shape.conv is None:
            u, norm = spec.forward(weight, u)
        else:
            u, _, norm = spec.conv_forward(shape, weight, u)
        assert layer.norm_sum / 2**18 == pytest.approx(norm.mean(), rel=0.01)


def test_means_of_the_norm_are_over_all_samples():
    network = HFFNetwork(RECIPE, 64, 10, torch.Generator().manual_seed(0))
    x = torch.from_numpy(np.random.default_rng(0).integers(-9999, 9999, (9, 64)).astype(np.int16))
    u, wanted = x / ONE, []
    with torch.no_grad():
        for layer in network.layers:
            u, _, norm = layer.parts(u)
            wanted.append(float(norm.mean()))
    assert norm_means(network, x) == pytest.approx(wanted)
    assert norm_means(network, torch.cat([x] * 600)) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("setting", [{}, {"dropout": 0.3}])
def test_a_layer_learns_alike_whatever_the_next_one_is(setting):
    r = recipe(setting)
    ours, other = (
        Learner(HFFNetwork(r, 64, 10, torch.Generator().manual_seed(5)), r.pretrain, 10, r.seed)
        for _ in range(2)
    )
    with torch.no_grad():
        for p in other.layers[1].parameters():
            p.copy_(torch.flip(p, (0,)))
    x = inputs(torch.float32)
    label = torch.arange(16) % 10
    for _ in range(3):
        ours.learn(x, label)
        other.learn(x, label)
    first, second = (zip(a.parameters(), b.parameters(), strict=True)
                     for a, b in zip(ours.layers[:2], other.layers[:2], strict=True))  # fmt: skip
    assert all(torch.equal(a, b) for a, b in first)
    assert not any(torch.equal(a, b) for a, b in second)


def test_backpropagation_follows_the_last_layers_loss_through_all_layers():
    r = recipe({"optimizer": "sgd", "lr": 0.01, "lr_prototypes": 0.02}, join="last", gate=0.0)
    network = HFFNetwork(r, 64, 10, torch.Generator().manual_seed(5)).double()
    for layer in network.layers:
        layer.normalize()  # unit in this precision too
    learner = backprop.EndToEnd(network, r.pretrain, 10, r.seed)
    x = inputs(torch.float64)
    before = [p.detach().clone() for p in network.parameters()]
    u = x
    for layer in network.layers:
        u, head, _ = layer.parts(u)
    answers = network.layers[-1].similarities(u).argmax(1)
    label = (answers + (torch.arange(16) >= 11)) % 10  # 11 of 16 are right
    network.layers[-1].head_loss(head, label).backward()
    wanted = [p.grad for p in network.parameters()]
    network.zero_grad(set_to_none=True)
    assert learner.learn(x, label) == 11
    assert (learner.learned, learner.step) == ([16, 16, 16], 1)
    for i, (p, old, grad) in enumerate(zip(network.parameters(), before, wanted, strict=True)):
        if i in (1, 3):  # prototypes of layers that do not answer
            assert grad is None
            assert torch.allclose(p, old, rtol=0, atol=1e-12)
        elif i % 2 == 0:
            assert grad.abs().max() > 1e-4
            assert torch.allclose(old - p, 0.01 * grad, rtol=0, atol=1e-12)
    moved = torch.nn.functional.normalize(before[-1] - 0.02 * wanted[-1], dim=-1)
    assert not torch.allclose(moved, before[-1], atol=1e-5)
    assert torch.allclose(network.layers[-1].prototypes, moved, rtol=0, atol=1e-12)


def test_backpropagation_learns_digits_and_answers_by_its_last_layer(parts):
    rows, held = parts
    events = list(backprop.train(recipe({"epochs": 6}), rows, held))
    network = events[-1].network
    assert network.recipe.join == "last"
    answers = network.layer_similarities(network.encode(held.x))[:, -1].argmax(axis=1)
    last = [e for e in events if isinstance(e, EpochDone)][-1]
    assert last.validation == accuracy(answers, held.y) > 0.95
    local = trained(recipe({"epochs": 6}), rows)
    assert local.weights_crc32 != network.weights_crc32


def test_a_signal_is_learned():
    """Two classes that differ in which of two bumps comes first, anywhere in the window."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 400)
    x = rng.integers(0, 20, (400, 24))
    at = rng.integers(0, 16, 400)
    for row, start, label in zip(x, at, y, strict=True):
        row[start : start + 6] += (100, 60, 20, 0, 0, 0) if label else (20, 60, 100, 0, 0, 0)
    data = from_arrays("bumps", x.astype(np.uint8), y)
    conv = ConvLayer(8, kernel=(1, 5), padding=(0, 2), pool="max", pool_size=(1, 4))
    r = recipe(
        conv=(conv,),
        input_shape=(1, 24, 1),
        layers=(),
        pretrain={"epochs": 12},
        augment=AugmentRecipe(shift=2),
    )
    network = trained(r, data.rows(np.arange(300)))
    test = data.rows(np.arange(300, 400))
    assert accuracy(network.predict(network.encode(test.x)), test.y) > 0.9
