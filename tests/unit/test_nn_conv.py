"""The convolution in torch: it means what the specification means, and its gradient is autograd's."""

import copy
import math

import numpy as np
import pytest

from edgehff import core, spec
from edgehff.core import Net
from edgehff.errors import ShapeError
from edgehff.geometry import ConvLayer
from edgehff.model.encoding import Encoding
from edgehff.model.float_network import float_view
from edgehff.model.network import Network
from edgehff.recipe import Recipe
from edgehff.train.reference import FloatTwin

torch = pytest.importorskip("torch")
from edgehff.nn import AuxConv, HFFConv1d, HFFConv2d, HFFLinear, HFFNetwork  # noqa: E402 (needs torch)

pytestmark = pytest.mark.torch
torch.set_num_threads(1)

CASES = {
    "plain": ((8, 7, 1), ConvLayer(6, padding=(0, 0), grid=(3, 2))),
    "stride": ((9, 8, 3), ConvLayer(5, kernel=(3, 2), stride=(2, 3), padding=(1, 0))),
    "max": ((7, 6, 3), ConvLayer(5, pool="max", pool_size=(2, 2), grid=(2, 3))),
    "mean": ((7, 9, 2), ConvLayer(4, kernel=(5, 3), padding=(2, 0), pool="mean", pool_size=(3, 2))),
    "depthwise": ((6, 6, 4), ConvLayer(4, kind="depthwise", pool="max", pool_size=(2, 3), grid=(2, 1))),
    "depthwise mean": ((6, 7, 3), ConvLayer(3, kind="depthwise", kernel=(1, 5), padding=(0, 1), pool="mean",
                                            pool_size=(3, 1))),
    "signal": ((1, 21, 3), ConvLayer(6, kernel=(1, 5), padding=(0, 2), pool="max", pool_size=(1, 4))),
}  # fmt: skip
cases = pytest.mark.parametrize("case", CASES)


def layer(case, dtype=torch.float64, n_classes=4, **options):
    map_in, conv = CASES[case]
    module = HFFConv2d(map_in, conv, n_classes, generator=torch.Generator().manual_seed(1), **options)
    module.to(dtype).normalize()
    return module


def batch(module, n=7, seed=0, n_classes=4):
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(rng.normal(size=(n, math.prod(module.map_in))))
    return torch.nn.functional.normalize(x, dim=1), torch.from_numpy(rng.integers(0, n_classes, n))


def gradients(module):
    return module.weight.grad, module.prototypes.grad


def apart(found, wanted):
    """The largest difference in units of the largest wanted value."""
    return float((found - wanted).abs().max() / wanted.abs().max())


@cases
def test_a_pass_means_what_the_specification_means(case):
    module = layer(case)
    x, _ = batch(module)
    x[3] = 0
    with torch.no_grad():
        found = module.parts(x)
        handed_on, head = module(x), module.head(module(x))
    wanted = spec.conv_forward(module.shape, module.weight.detach().numpy(), x.numpy())
    for ours, theirs in zip(found, wanted, strict=True):
        assert tuple(ours.shape) == theirs.shape
        assert np.abs(ours.numpy() - theirs).max() < 1e-12
    assert torch.equal(handed_on, found[0])
    assert torch.allclose(head, found[1], rtol=0, atol=1e-14)
    assert not any(part[3].any() for part in found)


@cases
@pytest.mark.parametrize("k", [1, 3])
def test_the_gradient_is_that_of_autograd_and_of_the_specification(case, k):
    module = layer(case, n_per_class=k, scale=12.0)
    x, label = batch(module)
    x[3] = 0
    passed = module.local_gradient(x, label)
    found = [g.clone() for g in gradients(module)]
    module.zero_grad(set_to_none=True)
    module.loss(x, label).backward()
    for ours, true in zip(found, gradients(module), strict=True):
        assert ours.shape == true.shape
        assert apart(ours, true) < 1e-12
    u, head, norm = spec.conv_forward(module.shape, module.weight.detach(), x)
    rows = module.prototypes.detach().flatten(0, 1)
    e = spec.error(head @ rows.T, label, k, 12.0, module.margin)
    of_spec = spec.conv_gradients(module.shape, module.weight.detach(), rows, x, e, 12.0)
    for ours, theirs in zip(found, of_spec, strict=True):
        assert apart(ours.reshape(theirs.shape), theirs) < 1e-12
    assert torch.allclose(passed.u, u, rtol=0, atol=1e-12)
    assert torch.allclose(passed.norm, norm, rtol=0, atol=1e-12)
    assert torch.allclose(passed.similarities, spec.similarities(head @ rows.T, k, 12.0), rtol=0, atol=1e-12)
    assert passed.learned == 7
    assert not any(t.requires_grad for t in passed[:3])


@cases
def test_in_single_precision_too(case):
    module = layer(case, dtype=torch.float32, scale=12.0)
    x, label = batch(module)
    module.local_gradient(x.float(), label)
    found = [g.clone() for g in gradients(module)]
    exact = layer(case, scale=12.0)
    exact.local_gradient(x, label)
    for ours, true in zip(found, gradients(exact), strict=True):
        assert ours.dtype == torch.float32
        assert apart(ours, true) < 1e-5


@cases
def test_a_silent_layer_has_gradients_of_zero(case):
    module = layer(case, dtype=torch.float32)
    with torch.no_grad():
        module.weight.copy_(-module.weight.abs())
    x, label = batch(module)
    passed = module.local_gradient(x.abs().float(), label)
    assert not passed.u.any()
    assert not passed.norm.any()
    assert not any(g.any() for g in gradients(module))  # nan would count as true


def test_what_the_gate_holds_back_contributes_nothing():
    module = layer("max")
    x, label = batch(module, n=40)
    lead = spec.lead(module.similarities(module(x)), label).detach()
    order = lead.argsort()
    module.gate = float(lead[order[25]])
    passed = module.local_gradient(x, label)
    assert passed.learned == 25
    gated = [g.clone() for g in gradients(module)]
    module.gate = None
    module.local_gradient(x[order[:25]], label[order[:25]])
    for part, wanted in zip(gated, gradients(module), strict=True):
        assert apart(part * 40, wanted * 25) < 1e-12
    with pytest.raises(ShapeError, match="without samples"):
        module.local_gradient(x[:0], label[:0])


def test_no_gradient_leaves_through_what_is_handed_on():
    module = layer("mean")
    x, label = batch(module)
    x.requires_grad_()
    module.loss(x, label).backward()
    module(x).sum().backward()
    assert x.grad is None
    module.parts(x)[0].square().sum().backward()
    assert x.grad is not None


def test_the_kernel_is_a_view_of_the_weight_in_torchs_order():
    module = layer("stride")
    assert module.weight.shape == (5, 3 * 2 * 3)
    assert module.kernel.shape == (5, 3, 3, 2)
    assert torch.equal(module.kernel[4, 2, 1, 0], module.weight[4, (1 * 2 + 0) * 3 + 2])
    assert module.kernel.data_ptr() == module.weight.data_ptr()
    assert layer("depthwise").kernel.shape == (4, 1, 3, 3)
    assert list(module.state_dict()) == ["weight", "prototypes"]


def test_a_fresh_layer_is_scaled_on_the_sphere_and_drawn_from_its_generator():
    conv = ConvLayer(300)

    def fresh(seed):
        return HFFConv2d((8, 8, 40), conv, 5, generator=torch.Generator().manual_seed(seed))

    module = fresh(0)
    assert float(module.weight.detach().std()) == pytest.approx((2 / 360) ** 0.5, rel=0.01)
    assert torch.allclose(module.prototypes.norm(dim=-1), torch.ones(5, 1))
    assert torch.equal(fresh(0).weight, module.weight)
    assert not torch.equal(fresh(1).weight, module.weight)


def test_a_signal_is_a_map_of_height_one():
    options = {"n_per_class": 2, "scale": 9.0}
    signal = HFFConv1d(
        21, 3, 6, 4, kernel=5, padding=2, pool="max", pool_size=4,
        generator=torch.Generator().manual_seed(1), **options,
    ).double()  # fmt: skip
    same = layer("signal", **options)
    assert signal.shape == same.shape
    signal.normalize()
    x, _ = batch(same)
    assert torch.equal(signal(x), same(x))
    by_torch = torch.nn.functional.conv1d(x.view(7, 21, 3).mT, signal.kernel[:, :, 0], padding=2)
    y = torch.nn.functional.max_pool1d(by_torch.relu(), 4).mT.flatten(1)
    assert torch.allclose(signal(x), torch.nn.functional.normalize(y, dim=1), rtol=0, atol=1e-12)


def test_every_option_of_a_signal_is_that_of_its_map():
    aux = AuxConv(7, "path")
    signal = HFFConv1d(
        20, 6, 6, 4, kind="depthwise", kernel=4, stride=2, padding=1, pool="mean", pool_size=3, grid=2,
        aux=aux, n_per_class=2, scale=9.0, margin=0.3, gate=0.5,
    )  # fmt: skip
    conv = ConvLayer(6, "depthwise", (1, 4), (1, 2), (0, 1), "mean", (1, 3), (1, 2))
    assert (signal.map_in, signal.conv, signal.aux, signal.groups) == ((1, 20, 6), conv, aux, 6)
    assert signal.map_out == (1, 3, 7)
    assert signal.prototypes.shape == (4, 2, 2 * 7)
    assert (signal.scale, signal.margin, signal.gate) == (9.0, 0.3, 0.5)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ShapeError, match="depthwise layer of 5"):
        HFFConv2d((6, 6, 4), ConvLayer(5, kind="depthwise"), 3)
    with pytest.raises(ShapeError, match="stride"):
        HFFConv2d((6, 6, 4), ConvLayer(5, stride=(0, 1)), 3)


def test_the_device_follows_the_parameters():
    module = layer("max", dtype=torch.float32).to("meta")
    parts = module.parts(torch.empty(3, 7 * 6 * 3, device="meta"))
    assert {part.device.type for part in parts} == {"meta"}
    assert {part.dtype for part in parts} == {torch.float32}


RECIPE = Recipe(
    conv=(
        ConvLayer(8, pool="max", pool_size=(2, 2), grid=(2, 2)),
        ConvLayer(12, pool="mean", pool_size=(2, 2), grid=(2, 1)),
    ),
    input_shape=(13, 12, 2),
    layers=(24,),
    prototypes_per_class=3,
    scale=9.0,
)


def core_network(seed=3, **changes):
    recipe = RECIPE.replace(seed=seed, **changes)
    names, encoding = tuple("abcd"), Encoding("int16", (312, 1))
    return Network.from_core(Net(recipe.core_config(312, 4)), recipe, names, encoding)


def rows(n, seed=3):
    rng = np.random.default_rng(seed)
    x = np.stack([core.unit(rng.integers(-999, 999, 312).astype(np.int32)) for _ in range(n)])
    return x, rng.integers(0, 4, n).astype(np.uint16)


@pytest.mark.parametrize("arith", ["int8", "int16"])
def test_a_network_of_torch_answers_as_the_core(arith):
    """Within 0.0006 of a cosine: what the core rounds away (measured: 0.0003)."""
    network = core_network(arith=arith)
    x, _ = rows(40)
    torchs = HFFNetwork.from_data(float_view(network)).double()
    assert [type(each) for each in torchs.layers] == [HFFConv2d, HFFConv2d, HFFLinear]
    with torch.no_grad():
        found = torchs.layer_similarities(torch.from_numpy(x / core.ONE)).numpy()
    logits = network.to_core().layer_scores(x) / 65536
    cosines = logits / (RECIPE.scale * np.log2(np.e))
    assert found.std() > 0.01
    assert np.abs(found - cosines).max() < 0.0006
    wanted = float_view(network).layer_similarities(x / core.ONE)
    assert np.abs(found - wanted).max() < 1e-12


def test_a_mixed_network_goes_to_data_and_back():
    net = HFFNetwork(RECIPE.replace(arith="float"), 312, 4, torch.Generator().manual_seed(0))
    data = net.to_data(tuple("abcd"), Encoding("int16", (312, 1)), norm_means=[1.5, 2.5, 3.5])
    assert [each.norm_mean for each in data.layers] == [1.5, 2.5, 3.5]
    assert [each.weight.shape for each in data.layers] == [(8, 18), (12, 72), (24, 108)]
    assert [each.prototypes.shape for each in data.layers] == [(4, 3, 32), (4, 3, 24), (4, 3, 24)]
    back = HFFNetwork.from_data(data)
    for ours, theirs in zip(back.parameters(), net.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert back.layers[0].gate == RECIPE.gate


def test_the_float_twin_steps_along_the_gradient():
    recipe = RECIPE.replace(gate=None, cap=False, revive=False, lr=0.3, lr_prototypes=0.2)
    twin = FloatTwin(Net(recipe.core_config(312, 4)), recipe)
    before = copy.deepcopy(twin)
    x, label = rows(1)
    twin.train(x, label)
    u = torch.from_numpy(x / core.ONE)
    for i, shape in enumerate(twin.shapes):
        options = {"n_per_class": 3, "scale": 9.0, "margin": recipe.margin}
        module = (
            HFFLinear(shape.n_in, shape.n_out, 4, **options)
            if shape.conv is None
            else HFFConv2d(shape.map_in, shape.conv, 4, **options)
        ).double()
        with torch.no_grad():
            module.weight.copy_(torch.from_numpy(before.weights[i]))
            module.prototypes.copy_(torch.from_numpy(before.prototypes[i]).reshape(module.prototypes.shape))
        passed = module.local_gradient(u, torch.from_numpy(label.astype(np.int64)))
        change = torch.from_numpy(twin.weights[i] - before.weights[i])
        assert apart(-0.3 * shape.n_in * spec.W_RMS**2 / 9.0 * module.weight.grad, change) < 1e-9
        old, new = (torch.from_numpy(t.prototypes[i]) for t in (before, twin))
        across = new - (old * new).sum(1, keepdim=True) * old
        by_prototype = module.prototypes.grad.flatten(0, 1)
        assert torch.nn.functional.cosine_similarity(across, -by_prototype).min() > 1 - 1e-9
        u = passed.u
