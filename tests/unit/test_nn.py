"""The torch layer: its gradient is autograd's, its rule the float twin's, and no gradient leaves it."""

import copy

import numpy as np
import pytest

from edgehff import core, spec
from edgehff.core import Net
from edgehff.errors import ShapeError
from edgehff.model.encoding import Encoding
from edgehff.recipe import Recipe
from edgehff.train.reference import FloatTwin

torch = pytest.importorskip("torch")
from edgehff.nn import HFFLinear, HFFNetwork  # noqa: E402 (needs torch)

pytestmark = pytest.mark.torch
torch.set_num_threads(1)


def layer(seed=0, n_in=9, n_out=12, n_classes=5, dtype=torch.float64, **options):
    module = HFFLinear(n_in, n_out, n_classes, generator=torch.Generator().manual_seed(seed), **options)
    module.to(dtype).normalize()  # unit in this precision too
    return module


def batch(n, seed=1, n_in=9, n_classes=5):
    """Unit rows and labels, in float64."""
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(rng.normal(size=(n, n_in)))
    return torch.nn.functional.normalize(x, dim=1), torch.from_numpy(rng.integers(0, n_classes, n))


def gradients(module):
    return [p.grad for p in (module.weight, module.prototypes)]


def by_hand(module, x, label):
    module.zero_grad(set_to_none=True)
    return module.local_gradient(x, label), gradients(module)


def by_autograd(module, x, label):
    module.zero_grad(set_to_none=True)
    module.loss(x, label).backward()
    return gradients(module)


def apart(found, wanted):
    """The largest difference in units of the largest wanted value."""
    return float((found - wanted).abs().max() / wanted.abs().max())


@pytest.mark.parametrize("n", [1, 7])
@pytest.mark.parametrize("margin", [0.0, 0.1, 0.6])
@pytest.mark.parametrize("scale", [1.0, 12.0, 30.0])
@pytest.mark.parametrize("k", [1, 3])
def test_the_hand_gradient_is_that_of_autograd(k, scale, margin, n):
    module = layer(n_per_class=k, scale=scale, margin=margin)
    x, label = batch(n)
    if n > 1:
        x[3] = 0
    _, found = by_hand(module, x, label)
    for ours, true in zip(found, by_autograd(module, x, label), strict=True):
        assert ours.shape == true.shape
        assert apart(ours, true) < 1e-9


@pytest.mark.parametrize("n", [1, 7])
@pytest.mark.parametrize("k", [1, 3])
def test_in_single_precision_too(k, n):
    module = layer(n_per_class=k, scale=12.0, dtype=torch.float32)
    x, label = batch(n)
    _, found = by_hand(module, x.float(), label)
    for ours, true in zip(found, by_autograd(module, x.float(), label), strict=True):
        assert ours.dtype == torch.float32
        assert apart(ours, true) < 1e-5


def test_the_scale_of_the_weights_leaves_the_direction_and_divides_the_gradient():
    module, (x, label) = layer(), batch(7)
    before, (small, _) = by_hand(module, x, label)
    with torch.no_grad():
        module.weight *= 1024
    after, (large, _) = by_hand(module, x, label)
    assert apart(after.u, before.u) < 1e-12
    assert apart(large * 1024, small) < 1e-12


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_silent_layer_has_gradients_of_zero(dtype):
    module = layer(n_per_class=2, dtype=dtype)
    with torch.no_grad():
        module.weight.copy_(-module.weight.abs())
    x, label = batch(7)
    passed, found = by_hand(module, x.abs().to(dtype), label)
    assert not passed.u.any()
    assert not passed.norm.any()
    assert not any(g.any() for g in found)  # nan would count as true
    assert not any(g.any() for g in by_autograd(module, x.abs().to(dtype), label))


def test_a_row_of_zeros_contributes_nothing_but_counts_in_the_mean():
    module, (x, label) = layer(), batch(7)
    x[2] = 0
    _, whole = by_hand(module, x, label)
    kept = [0, 1, 3, 4, 5, 6]
    _, rest = by_hand(module, x[kept], label[kept])
    for with_zeros, without in zip(whole, rest, strict=True):
        assert apart(with_zeros * 7, without * 6) < 1e-12


def test_what_the_gate_holds_back_contributes_nothing():
    module, (x, label) = layer(seed=3), batch(40, seed=2)
    lead = spec.lead(module.similarities(module(x)), label).detach()
    order = lead.argsort()
    module.gate = float(lead[order[25]])  # whose own lead is no longer below it
    passed, gated = by_hand(module, x, label)
    assert passed.learned == 25
    kept = order[:25]
    module.gate = None
    all_learn, _ = by_hand(module, x, label)
    assert all_learn.learned == 40
    _, alone = by_hand(module, x[kept], label[kept])
    for part, wanted in zip(gated, alone, strict=True):
        assert apart(part * 40, wanted * 25) < 1e-12
    module.gate = float(lead.min())
    nothing, found = by_hand(module, x, label)
    assert nothing.learned == 0
    assert not any(g.any() for g in found)


def test_a_pass_tells_what_the_layer_was_before():
    module, (x, label) = layer(n_per_class=3), batch(7)
    passed, _ = by_hand(module, x, label)
    u, norm = spec.forward(module.weight.detach(), x)
    assert torch.equal(passed.u, u)
    assert torch.equal(passed.norm, norm)
    assert torch.allclose(passed.similarities, module.similarities(module(x)), rtol=0, atol=1e-14)
    assert not any(t.requires_grad for t in passed[:3])


def test_a_fresh_layer_is_scaled_on_the_sphere_and_drawn_from_its_generator():
    module = layer(n_in=400, n_out=300)
    assert float(module.weight.detach().std()) == pytest.approx((2 / 400) ** 0.5, rel=0.01)
    assert torch.allclose(module.prototypes.norm(dim=-1), torch.ones(5, 1).double())
    again, other = layer(n_in=400, n_out=300), layer(seed=1, n_in=400, n_out=300)
    assert torch.equal(again.weight, module.weight)
    assert torch.equal(again.prototypes, module.prototypes)
    assert not torch.equal(other.weight, module.weight)


def test_normalize_brings_prototypes_back_on_the_sphere():
    module = layer(n_per_class=3)
    direction = module.prototypes.detach().clone()
    with torch.no_grad():
        module.prototypes *= torch.rand_like(module.prototypes[..., :1]) + 0.5
    module.normalize()
    assert torch.allclose(module.prototypes, direction, rtol=0, atol=1e-14)


def network(seed=0, n_in=9, n_classes=5, **changes):
    recipe = Recipe(**{"layers": (12, 8), "arith": "float", **changes})
    return HFFNetwork(recipe, n_in, n_classes, torch.Generator().manual_seed(seed))


def test_the_loss_of_a_layer_gives_the_layers_before_it_no_gradient():
    net, (x, label) = network().double(), batch(7)
    first, second = net.layers
    second.loss(first(x), label).backward()
    assert gradients(first) == [None, None]
    assert all(g.any() for g in gradients(second))
    net.zero_grad(set_to_none=True)
    (first.loss(x, label) + second.loss(first(x), label)).backward()
    together = gradients(first)
    for ours, alone in zip(together, by_autograd(first, x, label), strict=True):
        assert torch.equal(ours, alone)


def test_a_layer_gives_its_input_no_gradient():
    module, (x, label) = layer(), batch(7)
    x.requires_grad_()
    module.loss(x, label).backward()
    module(x).sum().backward()
    assert x.grad is None


def test_a_network_hands_its_recipe_to_every_layer():
    net = network(prototypes_per_class=3, scale=11.0, margin=0.2, gate=None)
    for module, (n_out, n_in) in zip(net.layers, ((12, 9), (8, 12)), strict=True):
        assert module.weight.shape == (n_out, n_in)
        assert module.prototypes.shape == (5, 3, n_out)
        assert (module.n_per_class, module.scale, module.margin, module.gate) == (3, 11.0, 0.2, None)


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize(
    ("join", "weights"), [("sum_logp", ()), ("last", ()), ("weighted", (0.25, 2.0)), ("weighted", (4.0, 0.0))]
)
def test_layers_answer_together_as_the_recipe_says(join, weights, k):
    net = network(join=join, join_weights=weights, prototypes_per_class=k).double()
    x, _ = batch(400)
    with torch.no_grad():
        alone = net.layer_similarities(x)
        joined = net(x)
    counts = {"sum_logp": (1, 1), "last": (0, 1), "weighted": weights}[join]
    logp = torch.log_softmax(net.recipe.scale * alone, 2)
    answers = sum(w * logp[:, i] for i, w in enumerate(counts)).argmax(1)
    assert torch.equal(joined.argmax(1), answers)
    assert len(answers.unique()) > 2
    assert joined.abs().max() <= 1
    shares = torch.tensor(counts, dtype=torch.float64) / sum(counts)
    assert torch.allclose(joined, (alone * shares[:, None]).sum(1), rtol=0, atol=1e-14)


@pytest.mark.parametrize("k", [1, 3])
def test_a_network_goes_to_data_and_back(k):
    net = network(prototypes_per_class=k)
    data = net.to_data(tuple("abcde"), Encoding("int16", (9, 1)), norm_means=[1.5, 2.5], step=7)
    assert [each.norm_mean for each in data.layers] == [1.5, 2.5]
    assert (data.step, data.class_names, data.recipe) == (7, tuple("abcde"), net.recipe)
    back = HFFNetwork.from_data(data)
    for ours, theirs in zip(back.parameters(), net.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    x = np.random.default_rng(3).uniform(-1, 1, (50, 9))
    with torch.no_grad():
        wanted = net.layer_similarities(torch.from_numpy(x).float())
    assert np.abs(data.layer_similarities(x) - wanted.numpy()).max() < 1e-5
    before = data.weights_crc32
    with torch.no_grad():
        for p in (*net.parameters(), *back.parameters()):
            p.zero_()
    assert data.weights_crc32 == before


def test_norm_means_are_zero_where_they_are_not_known():
    data = network().to_data(tuple("abcde"), Encoding("int16", (9, 1)))
    assert [each.norm_mean for each in data.layers] == [0.0, 0.0]


@pytest.mark.parametrize("k", [1, 3])
def test_the_float_twin_steps_along_the_gradient(k):
    """The twin divides by |y| and multiplies by the inputs: the same direction, a known length."""
    recipe = Recipe(
        layers=(40, 24), prototypes_per_class=k, scale=9.0, margin=0.1, gate=None, cap=False, revive=False,
        lr=0.3, lr_prototypes=0.2, arith="int16",
    )  # fmt: skip
    twin = FloatTwin(Net(recipe.core_config(30, 4)), recipe)
    before = copy.deepcopy(twin)
    row = core.unit(np.random.default_rng(5).integers(-999, 999, 30).astype(np.int32))
    twin.train(row[None], np.array([2], np.uint16))
    x = torch.from_numpy(row[None] / core.ONE)
    for i, (n_in, n_out) in enumerate(((30, 40), (40, 24))):
        module = layer(n_in=n_in, n_out=n_out, n_classes=4, n_per_class=k, scale=9.0, margin=0.1)
        with torch.no_grad():
            module.weight.copy_(torch.from_numpy(before.weights[i]))
            module.prototypes.copy_(torch.from_numpy(before.prototypes[i]).reshape(module.prototypes.shape))
        passed, (by_weight, by_prototype) = by_hand(module, x, torch.tensor([2]))
        change = torch.from_numpy(twin.weights[i] - before.weights[i])
        assert apart(-0.3 * n_in * spec.W_RMS**2 / 9.0 * by_weight, change) < 1e-9
        old, new = (torch.from_numpy(t.prototypes[i]) for t in (before, twin))
        across = new - (old * new).sum(1, keepdim=True) * old
        cosine = torch.nn.functional.cosine_similarity(across, -by_prototype.flatten(0, 1))
        assert cosine.min() > 1 - 1e-9
        x = passed.u


def test_a_batch_without_samples_is_refused():
    with pytest.raises(ShapeError, match="without samples"):
        layer().local_gradient(torch.zeros(0, 9, dtype=torch.float64), torch.zeros(0, dtype=torch.int64))
