"""Training in torch: what it gives, what it depends on, and that its layers learn apart from each other."""

import copy
from dataclasses import replace

import numpy as np
import pytest

from edgehff import core, spec
from edgehff.data.dataset import from_arrays
from edgehff.data.sources import load
from edgehff.data.split import holdout
from edgehff.errors import DataError, RecipeError, ShapeError
from edgehff.model.encoding import Encoding
from edgehff.model.float_network import FloatNetwork
from edgehff.quantize import quantize
from edgehff.recipe import EncoderRecipe, PretrainRecipe, Recipe
from edgehff.train.events import Advanced, EpochDone, Trained
from edgehff.train.local import pass_order
from edgehff.train.metrics import accuracy

torch = pytest.importorskip("torch")
from edgehff.nn import HFFNetwork  # noqa: E402 (needs torch)
from edgehff.train.float import (  # noqa: E402
    SMALL,
    Learner,
    decayed,
    norm_means,
    predict,
    quick_arithmetic,
    train,
)

pytestmark = pytest.mark.torch
torch.set_num_threads(1)

PRETRAIN = PretrainRecipe(lr=0.02, lr_prototypes=0.02, batch_size=16, epochs=3)
RECIPE = Recipe(layers=(12, 8), arith="float", pretrain=PRETRAIN, encoder=EncoderRecipe(center=True))


def recipe(pretrain=None, **changes):
    return replace(RECIPE, pretrain=replace(PRETRAIN, **(pretrain or {})), **changes)


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 250)
    x = rng.integers(0, 40, (250, 10)) + 60 * np.eye(3, 10, dtype=np.int64)[y]
    return from_arrays("blobs", x.astype(np.uint8), y)


@pytest.fixture(scope="module")
def parts(rows):
    return rows.rows(np.arange(200)), rows.rows(np.arange(200, 250))


def encoded(network, raw):
    """Raw samples as the core encodes them, which is what torch learns from: int16 Q14."""
    return network.encoding.to_core().encode(network.encoding.quantize_raw(raw))


def trained(*arguments):
    *_, done = train(*arguments)
    return done.network


def test_events_add_up_and_the_network_learned(parts):
    events = list(train(RECIPE, *parts))
    epochs = [e for e in events if isinstance(e, EpochDone)]
    assert [e.epoch for e in epochs] == [1, 2, 3]
    assert [e.samples for e in events if isinstance(e, Advanced)] == 3 * (12 * [16] + [8])
    assert epochs[0].online < epochs[-1].online
    assert epochs[-1].validation > 0.95
    assert {e.saturated for e in epochs} == {0.0}
    done = events[-1]
    assert isinstance(done, Trained)
    assert isinstance(done.network, FloatNetwork)
    assert (done.samples, done.network.step) == (600, 600)
    assert done.seconds > 0
    assert done.network.recipe == RECIPE
    assert done.network.class_names == parts[0].class_names


def test_without_validation_rows_there_is_no_validation(parts):
    assert {e.validation for e in train(RECIPE, parts[0]) if isinstance(e, EpochDone)} == {None}


def test_what_is_validated_is_the_network_of_that_moment(parts):
    *_, last, done = train(RECIPE, *parts)
    held = parts[1]
    answers = done.network.predict(done.network.encode(held.x))
    assert last.validation == accuracy(answers, held.y)


def test_torch_and_data_give_the_same_answers(parts):
    network = trained(RECIPE, parts[0])
    answers = predict(HFFNetwork.from_data(network), encoded(network, parts[1].x))
    assert np.array_equal(answers, network.predict(network.encode(parts[1].x)))


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(parts):
    def crc(seed, **pretrain):
        return trained(recipe(pretrain, seed=seed), parts[0]).weights_crc32

    assert crc(1) == crc(1) != crc(2)
    assert crc(1, dropout=0.2) == crc(1, dropout=0.2) != crc(1)


def test_the_state_of_torch_has_no_say(parts):
    crc = trained(recipe({"dropout": 0.2}), parts[0]).weights_crc32
    torch.manual_seed(99)
    before = torch.get_rng_state()
    assert trained(recipe({"dropout": 0.2}), parts[0]).weights_crc32 == crc
    assert torch.equal(torch.get_rng_state(), before)


def test_validation_rows_and_their_labels_change_no_weight(parts):
    rows, held = parts
    alone = trained(RECIPE, rows).weights_crc32
    permuted = replace(held, y=np.roll(held.y, 1))
    assert trained(RECIPE, rows, held).weights_crc32 == alone
    assert trained(RECIPE, rows, permuted).weights_crc32 == alone
    assert trained(RECIPE, replace(rows, y=np.roll(rows.y, 1))).weights_crc32 != alone


def test_the_order_is_another_one_for_each_pass_and_seed(parts, monkeypatch):
    rows, seen, learn = parts[0], [], Learner.learn

    def spy(self, x, label):
        seen.append(x)
        return learn(self, x, label)

    monkeypatch.setattr(Learner, "learn", spy)
    network = trained(recipe({"epochs": 2}, seed=6), rows)
    x = encoded(network, rows.x) / core.ONE
    wanted = np.concatenate([x[pass_order(200, 6, epoch)] for epoch in (0, 1)])
    assert np.array_equal(torch.cat(seen).numpy(), wanted.astype(np.float32))


def test_the_encoder_is_fitted_on_training_rows_alone(parts):
    rows, held = parts
    alone = trained(RECIPE, rows).encoding
    beside = trained(RECIPE, rows, replace(held, x=held.x // 2)).encoding
    assert np.array_equal(alone.offset, beside.offset)
    assert np.array_equal(alone.offset, np.floor(rows.x.mean(axis=0) + 0.5))


@pytest.mark.parametrize(("optimizer", "lr"), [("adam", 0.01), ("sgd", 0.03)])
def test_digits_are_learned_and_survive_quantizing(optimizer, lr):
    digits = load("digits")
    rows, held = (digits.rows(at) for at in holdout(digits, 0.2, 0))
    p = PretrainRecipe(optimizer=optimizer, lr=lr, lr_prototypes=lr, batch_size=64, epochs=8)
    network = trained(replace(RECIPE, layers=(64, 32), pretrain=p), rows)
    answers = network.predict(network.encode(held.x))
    assert accuracy(answers, held.y) > 0.93
    for arith in ("int8", "int16"):
        integers = quantize(network, arith)
        assert accuracy(integers.to_core().predict(integers.encode(held.x)), answers) >= 0.99


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("k", [1, 3])
def test_what_comes_out_is_unit_finite_and_knows_its_norms(parts, optimizer, k):
    p = {"optimizer": optimizer, "lr": 0.003, "lr_prototypes": 0.1, "epochs": 20}
    network = trained(recipe(p, prototypes_per_class=k), parts[0])
    u = network.encode(parts[0].x)
    for layer in network.layers:
        assert layer.weight.dtype == layer.prototypes.dtype == np.float32
        assert layer.prototypes.shape[:2] == (3, k)
        assert np.abs(np.linalg.norm(layer.prototypes, axis=2) - 1).max() < 1e-6
        u, norm = spec.forward(layer.weight.astype(np.float64), u)
        assert layer.norm_mean == pytest.approx(norm.mean(), rel=0.15)


def test_without_a_gate_every_layer_learns_from_every_sample(parts):
    events = train(recipe(gate=None), parts[0])
    assert [e.updates for e in events if isinstance(e, EpochDone)] == [(1.0, 1.0)] * 3


def test_shares_are_those_that_the_gate_lets_through(parts):
    """In one step over all rows, of the network as it started."""
    rows = parts[0]
    one_step = recipe({"batch_size": 1000, "epochs": 1}, gate=0.1)
    start = HFFNetwork(one_step, 10, 3, torch.Generator().manual_seed(one_step.seed))
    _, epoch, done = train(one_step, rows)
    x = torch.from_numpy(done.network.encode(rows.x)).float()
    with torch.no_grad():
        leads = spec.lead(start.layer_similarities(x), torch.from_numpy(rows.y.astype(np.int64))[:, None])
    wanted = (leads < 0.1).double().mean(0)
    assert 0.1 < wanted.min() <= wanted.max() < 0.9
    assert epoch.updates == pytest.approx(wanted.tolist(), abs=1e-9)


def test_a_layer_stops_learning_where_it_leads_by_the_gate(parts):
    rows = parts[0]
    alike = replace(rows, x=np.repeat(rows.x[:1], 200, axis=0), y=np.zeros(200, np.uint16))
    plain = recipe({"epochs": 10}, encoder=EncoderRecipe())
    shares = [e.updates for e in train(plain, alike) if isinstance(e, EpochDone)]
    assert min(shares[0]) > 0
    assert shares[-1] == (0.0, 0.0)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_weights_that_grow_without_bound_are_an_error_with_a_next_step(parts, optimizer):
    p = {"optimizer": optimizer, "lr": 10.0, "lr_final": 1.0, "weight_decay": 1.0, "epochs": 40}
    with pytest.raises(DataError, match=r"pass \d+ made weights infinite") as caught:
        list(train(recipe(p), parts[0]))
    assert "pretrain.lr" in caught.value.hint


@pytest.mark.parametrize(
    ("step", "factor"), [(0, 1.0), (50, 0.55), (100, 0.1), (25, 0.1 + 0.9 * (1 + 0.5**0.5) / 2)]
)
def test_rates_fall_by_a_cosine(step, factor):
    assert decayed(replace(PRETRAIN, lr_final=0.1), step, 101) == pytest.approx(factor)


def test_a_single_step_is_taken_at_the_full_rate():
    assert decayed(PRETRAIN, 0, 1) == 1.0


def learner(steps=10, seed=5, **changes):
    r = recipe(**changes)
    network = HFFNetwork(r, 6, 3, torch.Generator().manual_seed(seed))
    return Learner(network, r.pretrain, steps, r.seed)


def batch(seed=1, n=16):
    rng = np.random.default_rng(seed)
    x = torch.nn.functional.normalize(torch.from_numpy(rng.normal(size=(n, 6))).float(), dim=1)
    return x, torch.from_numpy(rng.integers(0, 3, n))


def state(module):
    return [p.detach().clone() for p in module.parameters()]


def same(a, b):
    return all(torch.equal(p, q) for p, q in zip(a, b, strict=True))


@pytest.mark.parametrize("pretrain", [{}, {"optimizer": "sgd"}, {"dropout": 0.3}])
def test_a_layer_learns_alike_whatever_the_next_one_is(pretrain):
    ours, other = learner(pretrain=pretrain), learner(pretrain=pretrain)
    with torch.no_grad():
        for p in other.layers[1].parameters():
            p.copy_(torch.flip(p, (0,)))
    start = state(ours.layers[0])
    for seed in range(4):
        ours.learn(*batch(seed))
        other.learn(*batch(seed))
    assert not same(state(ours.layers[0]), start)
    assert same(state(ours.layers[0]), state(other.layers[0]))
    assert not same(state(ours.layers[1]), state(other.layers[1]))


def test_every_layer_learns_from_the_labels():
    ours, other = learner(gate=None), learner(gate=None)
    x, label = batch()
    ours.learn(x, label)
    other.learn(x, (label + 1) % 3)
    for a, b in zip(ours.layers, other.layers, strict=True):
        assert not torch.equal(a.weight, b.weight)
        assert not torch.equal(a.prototypes, b.prototypes)


def test_the_next_layer_gets_the_direction_from_before_the_step():
    ours = learner(gate=None, pretrain={"lr": 0.1})
    first, second = copy.deepcopy(ours.layers)
    x, label = batch()
    ours.learn(x, label)
    second.local_gradient(first(x).detach(), label)
    assert torch.equal(ours.layers[1].weight.grad, second.weight.grad)
    assert torch.equal(ours.layers[1].prototypes.grad, second.prototypes.grad)
    second.local_gradient(ours.layers[0](x).detach(), label)
    assert not torch.allclose(ours.layers[1].weight.grad, second.weight.grad, rtol=1e-3)


def test_a_step_answers_before_it_learns():
    ours = learner()
    x, label = batch(n=64)
    with torch.no_grad():
        right = int((ours.network(x).argmax(1) == label).sum())
    assert 0 < right < 64
    assert ours.learn(x, label) == right


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_the_first_step_is_that_of_the_optimizer(optimizer):
    ours = learner(gate=None, pretrain={"optimizer": optimizer, "lr": 0.01})
    before = [layer.weight.detach().clone() for layer in ours.layers]
    ours.learn(*batch())
    for layer, old in zip(ours.layers, before, strict=True):
        grad = layer.weight.grad
        wanted = 0.01 * (grad if optimizer == "sgd" else grad.sign())  # adam's first step has one length
        at = grad.abs() > 1e-3
        assert at.sum() > 10
        assert torch.allclose((old - layer.weight)[at], wanted[at], rtol=1e-3)


def test_sgd_has_momentum():
    ours = learner(gate=None, pretrain={"optimizer": "sgd", "lr": 0.01, "lr_final": 1.0})
    first, second = [], []
    for grads in (first, second):
        start = ours.layers[0].weight.detach().clone()
        ours.learn(*batch())
        grads.append(ours.layers[0].weight.grad.clone())
    wanted = 0.01 * (0.9 * first[0] + second[0])
    assert torch.allclose(start - ours.layers[0].weight, wanted, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_rates_belong_to_weights_and_prototypes(optimizer):
    for still, wanted in (("lr_prototypes", [True, False]), ("lr", [False, True])):
        ours = learner(gate=None, pretrain={"optimizer": optimizer, still: 0.0})
        before = [copy.deepcopy(layer) for layer in ours.layers]
        ours.learn(*batch())
        for a, b in zip(ours.layers, before, strict=True):
            moved = [not torch.allclose(p, q, atol=1e-6) for p, q in zip(state(a), state(b), strict=True)]
            assert moved == wanted


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_weights_decay_and_prototypes_do_not(optimizer):
    """Decoupled: where the gate holds every sample back, a step is the decay alone."""
    ours = learner(pretrain={"optimizer": optimizer, "lr": 0.1, "weight_decay": 0.5, "lr_final": 1.0})
    before = [state(layer) for layer in ours.layers]
    for layer in ours.layers:
        layer.gate = -3.0
    ours.learn(*batch())
    for layer, (weight, prototypes) in zip(ours.layers, before, strict=True):
        assert torch.allclose(layer.weight, weight * 0.95, atol=1e-7)
        assert torch.allclose(layer.prototypes, prototypes, atol=1e-6)


def test_the_schedule_reaches_the_optimizers():
    ours = learner(steps=3, pretrain={"lr": 0.5, "lr_prototypes": 0.25, "lr_final": 0.1})
    for factor in (1.0, 0.55, 0.1):
        ours.learn(*batch())
        for optimizer in ours.optimizers:
            assert [g["lr"] for g in optimizer.param_groups] == pytest.approx([0.5 * factor, 0.25 * factor])


def test_means_of_the_norm_are_over_all_samples():
    ours = learner()
    q14 = (batch(n=9)[0] * core.ONE).round().to(torch.int16)
    u, wanted = q14 / core.ONE, []
    for layer in ours.layers:
        u, norm = spec.forward(layer.weight.detach(), u)
        wanted.append(float(norm.mean()))
    assert norm_means(ours.network, q14) == pytest.approx(wanted)


def test_dropout_silences_inputs_and_keeps_rows_unit():
    ours, (x, _) = learner(pretrain={"dropout": 0.5}), batch(n=400)
    seen = ours._dropped(x)
    assert float((seen == 0).float().mean()) == pytest.approx(0.5, abs=0.03)
    length = seen.norm(dim=1)
    silent = (seen == 0).all(1)
    assert torch.allclose(length[~silent], torch.ones(1), atol=1e-6)
    assert not length[silent].any()
    assert not torch.equal(ours._dropped(x), seen)
    assert learner()._dropped(x) is x


@pytest.mark.parametrize(
    ("join", "weights"), [("sum_logp", ()), ("last", ()), ("weighted", (2.0, 0.25)), ("weighted", (0.0, 1.0))]
)
def test_what_was_trained_answers_as_join_says(parts, join, weights):
    """Of the network as data, whose layers are made to disagree."""
    network = trained(recipe({"epochs": 1, "lr": 0.003}, join=join, join_weights=weights), parts[0])
    rng = np.random.default_rng(3)
    x = rng.integers(-9999, 9999, (500, 10)).astype(np.int16)
    logp = spec.log_softmax(network.recipe.scale * network.layer_similarities(x / core.ONE))
    counts = {"sum_logp": (1.0, 1.0), "last": (0.0, 1.0)}.get(join, weights)
    answers = (logp * np.array(counts)[:, None]).sum(axis=1).argmax(axis=1)
    assert np.array_equal(network.predict(x / core.ONE), answers)
    assert np.array_equal(predict(HFFNetwork.from_data(network), x), answers)
    assert 0.2 < accuracy(logp[:, 0].argmax(axis=1), logp[:, 1].argmax(axis=1)) < 0.95


def test_predicting_goes_over_any_number_of_rows():
    network = HFFNetwork(RECIPE, 6, 3, torch.Generator().manual_seed(0))
    x = np.random.default_rng(3).integers(-9999, 9999, (5000, 6)).astype(np.int16)
    answers = predict(network, x)
    assert np.array_equal(answers[4000:], predict(network, x[4000:]))
    data = network.to_data(("a", "b", "c"), Encoding("int16", (6, 1)))
    assert np.array_equal(data.predict(x / core.ONE)[4000:], answers[4000:])
    assert predict(network, x[:1]).shape == (1,)


def test_a_recipe_of_integers_and_more_prototypes_than_the_core_takes_are_refused_at_once(parts):
    with pytest.raises(RecipeError, match="is not trained in float"):
        next(train(recipe(arith="int16"), parts[0]))
    many = from_arrays("many", np.tile(parts[0].x, (6, 1))[:1024], np.arange(1024))
    with pytest.raises(ShapeError, match="ehff_net_sizes"):
        next(train(recipe(prototypes_per_class=64), many))


def test_an_interrupted_step_leaves_torch_its_threads(parts, monkeypatch):
    monkeypatch.setattr(Learner, "learn", lambda *_: 1 / 0)
    torch.set_num_threads(2)
    try:
        with pytest.raises(ZeroDivisionError):
            next(train(RECIPE, parts[0]))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize("flushed", [False, True])
def test_numbers_too_small_to_matter_are_zeros_while_learning_and_no_longer(flushed):
    small = torch.full((64,), 2.0**-130)

    def lost():
        return not (small * 1).any()

    torch.set_flush_denormal(flushed)
    try:
        with quick_arithmetic(SMALL):
            assert lost()
        assert lost() == flushed
        with pytest.raises(KeyError), quick_arithmetic(SMALL):
            raise KeyError
        assert lost() == flushed
    finally:
        torch.set_flush_denormal(False)


def test_small_layers_learn_in_one_thread():
    torch.set_num_threads(2)
    try:
        with quick_arithmetic(SMALL - 1):
            assert torch.get_num_threads() == 1
        with quick_arithmetic(SMALL):
            assert torch.get_num_threads() == 2
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
