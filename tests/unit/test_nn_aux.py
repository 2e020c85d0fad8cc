"""The auxiliary convolution: its gradient is autograd's, and what it projects is what its place says."""

import math
import re
from pathlib import Path

import numpy as np
import pytest

from edgehff import spec
from edgehff.errors import ShapeError
from edgehff.geometry import ConvLayer

torch = pytest.importorskip("torch")
from torch.nn import functional  # noqa: E402 (needs torch)

from edgehff.nn import HFFConv1d, HFFConv2d  # noqa: E402 (needs torch)
from edgehff.nn.conv import AuxConv  # noqa: E402 (needs torch)

pytestmark = pytest.mark.torch
torch.set_num_threads(1)

CASES = {
    "plain": ((8, 7, 1), ConvLayer(6, padding=(0, 0), grid=(3, 2))),
    "one cell": ((6, 5, 2), ConvLayer(5, stride=(2, 1))),
    "max": ((7, 6, 3), ConvLayer(5, pool="max", pool_size=(2, 2), grid=(2, 3))),
    "mean": ((7, 9, 2), ConvLayer(4, kernel=(5, 3), padding=(2, 0), pool="mean", pool_size=(3, 2))),
    "depthwise": ((6, 6, 4), ConvLayer(4, kind="depthwise", pool="max", pool_size=(2, 3), grid=(2, 1))),
    "signal": ((1, 21, 3), ConvLayer(6, kernel=(1, 5), padding=(0, 2), pool="max", pool_size=(1, 4))),
}
cases = pytest.mark.parametrize("case", CASES)
places = pytest.mark.parametrize("on", ["head", "path"])


def layer(case, on, channels=3, dtype=torch.float64, **options):
    map_in, conv = CASES[case]
    generator = torch.Generator().manual_seed(2)  # no path of a case starts silent
    aux = None if on is None else AuxConv(channels, on)
    module = HFFConv2d(map_in, conv, 4, aux=aux, generator=generator, **options)
    module.to(dtype).normalize()
    return module


def batch(module, n=7, seed=0):
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(rng.normal(size=(n, math.prod(module.map_in))))
    return functional.normalize(x, dim=1), torch.from_numpy(rng.integers(0, 4, n))


def by_hand(module, x, label):
    """(what the pass gives, the gradients of weight, prototypes and aux_weight)."""
    module.zero_grad(set_to_none=True)
    return module.local_gradient(x, label), [p.grad for p in module.parameters()]


def apart(found, wanted):
    """The largest difference in units of the largest wanted value."""
    return float((found - wanted).abs().max() / wanted.abs().max())


@cases
@places
@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("channels", [3, 8])
def test_the_gradient_is_that_of_autograd(case, on, k, channels):
    module = layer(case, on, channels, n_per_class=k, scale=12.0)
    x, label = batch(module)
    x[3] = 0
    passed, found = by_hand(module, x, label)
    module.zero_grad(set_to_none=True)
    module.loss(x, label).backward()
    assert [name for name, _ in module.named_parameters()] == ["weight", "prototypes", "aux_weight"]
    for ours, p in zip(found, module.parameters(), strict=True):
        assert ours.shape == p.shape
        assert p.grad.abs().max() > 0.1
        assert apart(ours, p.grad) < 1e-9
    for ours, theirs in zip((passed.u, passed.norm), module.parts(x)[::2], strict=True):
        assert torch.equal(ours, theirs.detach())
    assert torch.equal(passed.similarities, module.similarities(passed.u).detach())
    assert not any(t.requires_grad for t in passed[:3])


@cases
@places
def test_in_single_precision_too(case, on):
    module = layer(case, on, dtype=torch.float32, scale=12.0)
    exact = layer(case, on, scale=12.0)
    x, label = batch(module)
    for ours, true in zip(by_hand(module, x.float(), label)[1], by_hand(exact, x, label)[1], strict=True):
        assert ours.dtype == torch.float32
        assert apart(ours, true) < 1e-5


@cases
@torch.no_grad()
def test_on_the_head_only_prototypes_see_it(case):
    """Projected position by position, and then summed: the order that the layer does not take."""
    module, plain = layer(case, "head"), layer(case, None)
    x, _ = batch(module)
    x[3] = 0
    u, head, norm = module.parts(x)
    assert torch.equal(u, plain.parts(x)[0])
    assert module.map_out == plain.map_out
    projected = functional.conv2d(
        u.view(-1, *module.map_out).permute(0, 3, 1, 2), module.aux_weight[:, :, None, None]
    )
    f = (torch.from_numpy(spec.cell_matrix(module.shape)).double() @ projected.flatten(2).mT).flatten(1)
    assert head.shape == (7, module.conv.n_cells * 3) == (7, module.shape.head)
    assert torch.allclose(head, functional.normalize(f, dim=1), rtol=0, atol=1e-12)
    assert torch.allclose(module.head(module(x)), head, rtol=0, atol=1e-14)
    doubled = layer(case, "head")
    doubled.weight.mul_(2)
    assert torch.allclose(doubled.parts(x)[2], 2 * norm, rtol=1e-12)
    of_plain = (plain.parts(x)[1] * plain.parts(x)[2][:, None]).unflatten(1, (-1, module.conv.channels))
    assert torch.allclose((of_plain @ module.aux_weight.T).flatten(1).norm(dim=1), norm, rtol=0, atol=1e-12)


@cases
@torch.no_grad()
def test_on_the_path_the_next_layer_sees_it_too(case):
    module, plain = layer(case, "path"), layer(case, None)
    x, _ = batch(module)
    x[3] = 0
    u, head, norm = module.parts(x)
    before = plain.parts(x)[0].view(-1, *plain.map_out).permute(0, 3, 1, 2)
    y = functional.conv2d(before, module.aux_weight[:, :, None, None]).relu().permute(0, 2, 3, 1)
    assert module.map_out == (*plain.map_out[:2], 3) == module.shape.map_out
    assert torch.allclose(u, functional.normalize(y.flatten(1), dim=1), rtol=0, atol=1e-12)
    f = torch.from_numpy(spec.cell_matrix(module.shape)).double() @ u.view(7, -1, 3)
    assert torch.allclose(head, functional.normalize(f.flatten(1), dim=1), rtol=0, atol=1e-12)
    assert torch.allclose(module.head(module(x)), head, rtol=0, atol=1e-14)
    pooled = plain._pooled(plain._convolved(plain._as_maps(x)))[0]
    of_y = pooled.flatten(1).norm(dim=1) * y.flatten(1).norm(dim=1) * f.flatten(1).norm(dim=1)
    assert torch.allclose(norm, of_y, rtol=0, atol=1e-12)
    follows = HFFConv2d(module.map_out, ConvLayer(2), 4).double()
    assert follows(u).shape == (7, math.prod(follows.map_out))


@places
def test_its_scale_leaves_the_direction_and_divides_its_gradient(on):
    module = layer("max", on)
    x, label = batch(module)
    before, small = by_hand(module, x, label)
    with torch.no_grad():
        module.aux_weight *= 1024
    after, large = by_hand(module, x, label)
    assert apart(after.u, before.u) < 1e-12
    assert apart(after.similarities, before.similarities) < 1e-12
    for old, new, factor in zip(small, large, (1, 1, 1024), strict=True):
        assert apart(new * factor, old) < 1e-12


@places
@pytest.mark.parametrize("silent", ["weight", "aux_weight"])
def test_a_silent_layer_has_gradients_of_zero(on, silent):
    module = layer("mean", on, dtype=torch.float32)
    x, label = batch(module)
    with torch.no_grad():
        getattr(module, silent).copy_(-getattr(module, silent).abs())
    passed, found = by_hand(module, x.abs().float(), label)
    assert bool(passed.u.any()) == bool(passed.norm.any()) == ((on, silent) == ("head", "aux_weight"))
    assert all(g.isfinite().all() for g in found)
    assert any(g.any() for g in found) == bool(passed.u.any())


@places
def test_what_the_gate_holds_back_contributes_nothing(on):
    module = layer("max", on)
    x, label = batch(module, n=40)
    lead = spec.lead(module.similarities(module(x)), label).detach()
    order = lead.argsort()
    module.gate = float(lead[order[25]])
    passed, gated = by_hand(module, x, label)
    assert passed.learned == 25
    module.gate = None
    for part, wanted in zip(gated, by_hand(module, x[order[:25]], label[order[:25]])[1], strict=True):
        assert apart(part * 40, wanted * 25) < 1e-12


def test_a_layer_without_it_is_what_it_was():
    with_it, without = layer("max", "head"), layer("max", None)
    assert torch.equal(with_it.weight, without.weight)  # drawn first
    assert without.aux_weight is None
    assert list(without.state_dict()) == ["weight", "prototypes"]
    assert list(with_it.state_dict()) == ["weight", "prototypes", "aux_weight"]
    wide = HFFConv2d((8, 8, 3), ConvLayer(200), 5, aux=AuxConv(100, "path"))
    assert float(wide.aux_weight.detach().std()) == pytest.approx((2 / 200) ** 0.5, rel=0.03)


@places
def test_a_signal_has_it_too(on):
    signal = HFFConv1d(
        21, 3, 6, 4, kernel=5, padding=2, pool="max", pool_size=4, aux=AuxConv(3, on),
        generator=torch.Generator().manual_seed(2),
    ).double()  # fmt: skip
    signal.normalize()
    same = layer("signal", on)
    x, _ = batch(same)
    assert torch.equal(signal.parts(x)[1], same.parts(x)[1])


@pytest.mark.parametrize(("channels", "on"), [(0, "head"), (65537, "path"), (4, "side")])
def test_what_is_out_of_range_is_refused(channels, on):
    with pytest.raises(ShapeError, match="AuxConv"):
        AuxConv(channels, on)


def test_the_how_tos_example_learns():
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "train-in-torch.md").read_text()
    section = page.split("## An auxiliary convolution")[1].split("\n## ")[0]
    (code,) = re.findall(r"^```python\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    torch.manual_seed(0)
    names = {}
    exec(compile(code, "train-in-torch.md", "exec"), names)  # noqa: S102 (the page's own code)
    rng = np.random.default_rng(0)
    label = torch.from_numpy(np.arange(80) % 10)
    pattern = rng.normal(size=(10, 784))[label] + rng.normal(size=(80, 784)) / 4
    x = functional.normalize(torch.from_numpy(pattern).float(), dim=1)

    @torch.no_grad()
    def losses():
        out, u = [], x
        for module in names["layers"]:
            out.append(float(module.loss(u, label)))
            u = module(u)
        return out

    before = losses()
    for _ in range(20):
        names["step"](x, label)
    assert all(new < old / 2 for new, old in zip(losses(), before, strict=True))
