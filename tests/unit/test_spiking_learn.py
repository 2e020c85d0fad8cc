"""The online rule gives the gradients that autograd finds back through time; what it needs does not grow."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("snntorch")

from snntorch import surrogate  # noqa: E402

from edgehff.geometry import ConvLayer, LayerShape, follow  # noqa: E402
from edgehff.spiking.layer import SpikingHFFLayer  # noqa: E402
from edgehff.spiking.learn import loss_through_time, online_gradients  # noqa: E402
from edgehff.spiking.neuron import HFFLeaky, slope, spike  # noqa: E402

pytestmark = pytest.mark.spiking

MAP = (7, 6, 2)
SHAPES = {
    "dense": LayerShape(84, 30, 30),
    "conv": follow(ConvLayer(5, kernel=(3, 2), padding=(1, 0), stride=(2, 1), grid=(2, 1)), MAP),
    "max": follow(ConvLayer(5, pool="max", pool_size=(2, 2), grid=(1, 3)), MAP),
    "mean": follow(ConvLayer(5, pool="mean", pool_size=(2, 2)), MAP),
    "depthwise": follow(ConvLayer(2, kind="depthwise", pool="max", pool_size=(3, 2)), MAP),
}


def layer_of(name: str, **options: object) -> SpikingHFFLayer:
    generator = torch.Generator().manual_seed(5)
    layer = SpikingHFFLayer(SHAPES[name], 3, generator=generator, **options).double()
    with torch.no_grad():
        layer.synapses.weight.mul_(0.7)
    layer.normalize()
    return layer


def test_the_slope_is_that_of_snntorchs_arcus_tangent() -> None:
    u = torch.linspace(-2, 2, 41, dtype=torch.float64)
    theirs, ours = u.clone().requires_grad_(), u.clone().requires_grad_()
    surrogate.atan(alpha=2.0)(theirs).sum().backward()
    spike(ours).sum().backward()
    assert torch.allclose(ours.grad, theirs.grad, rtol=1e-12)
    assert torch.equal(ours.grad, slope(u))
    assert slope(u)[20] == 1
    assert torch.equal(u, torch.linspace(-2, 2, 41, dtype=torch.float64))  # it wrote over nothing


def test_a_neuron_at_its_threshold_does_not_fire() -> None:
    neurons = HFFLeaky(0.5, threshold=1.5)
    u = torch.tensor([1.4, 1.5, 1.6])
    assert neurons.fired(u).tolist() == neurons(u)[0].tolist() == [0, 0, 1]


def samples(steps: int = 9) -> tuple[list[torch.Tensor], torch.Tensor]:
    rng = np.random.default_rng(6)
    rows = rng.random((steps, 8, 84)) * (rng.random((steps, 8, 84)) < 0.3)
    return list(torch.from_numpy(rows)), torch.from_numpy(rng.integers(0, 3, 8))


def worst(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((found - wanted).abs().max() / wanted.abs().max())


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("beta", [0.9, 1.0])
@pytest.mark.parametrize("name", SHAPES)
def test_the_rule_is_autograds_gradient_through_time(name: str, beta: float, constant: bool) -> None:
    options = {"beta": beta, "reset": "subtract", "margin": 0.1, "n_per_class": 2}
    layer, control = layer_of(name, **options), layer_of(name, **options)
    inputs, label = samples()
    if constant:
        inputs = [inputs[0] * 0.7] * len(inputs)
    loss, spikes = loss_through_time(control, inputs, label)
    loss.backward()
    online_gradients([layer], inputs, label)
    rates = torch.stack(spikes).mean()
    assert 0.02 < rates < 0.9
    assert worst(layer.synapses.weight.grad, control.synapses.weight.grad) < 1e-12
    assert worst(layer.prototypes.grad, control.prototypes.grad) < 1e-12


def test_a_second_layer_learns_from_the_spikes_of_the_first() -> None:
    generator = torch.Generator().manual_seed(1)
    options = {"reset": "subtract", "beta": 0.9, "generator": generator}
    first = SpikingHFFLayer(SHAPES["max"], 3, **options).double()
    second = SpikingHFFLayer(LayerShape(3 * 3 * 5, 12, 12), 3, **options).double()
    inputs, label = samples()
    for layer in (first, second):
        layer.normalize()
    similarities = online_gradients([first, second], inputs, label)
    found = second.synapses.weight.grad.clone()
    _, between = loss_through_time(first, inputs, label)
    second.zero_grad()
    loss, _ = loss_through_time(second, between, label)
    loss.backward()
    assert worst(found, second.synapses.weight.grad) < 1e-12
    assert similarities.shape == (8, 2, 3)
    assert torch.allclose(similarities[:, 0], first.similarities(torch.stack(between).sum(0)))


def test_reset_to_zero_is_near_to_it() -> None:
    layer, control = layer_of("dense", reset="zero", beta=0.9), layer_of("dense", reset="zero", beta=0.9)
    inputs, label = samples()
    loss, _ = loss_through_time(control, inputs, label)
    loss.backward()
    online_gradients([layer], inputs, label)
    found, wanted = layer.synapses.weight.grad.flatten(), control.synapses.weight.grad.flatten()
    assert 0.8 < float(found @ wanted / (found.norm() * wanted.norm())) < 1


def test_few_spikes_give_small_cosines_in_answers_and_in_the_loss() -> None:
    layer = layer_of("dense", n_per_class=1)
    count = torch.zeros(3, 30, dtype=torch.float64)
    count[1, 4], count[2, 4] = 1, 100
    found = layer.similarities(count)
    rows = layer.prototypes.detach()[:, 0, 4]
    assert found[0].tolist() == [0, 0, 0]
    assert torch.allclose(found[1], rows / 1.5)
    assert torch.allclose(found[2], rows * 100 / 100.5)
    inputs, label = samples()
    loss, spikes = loss_through_time(layer, inputs, label)
    logits = layer.scale * layer.similarities(torch.stack(spikes).sum(0))
    assert torch.allclose(loss, torch.nn.functional.cross_entropy(logits, label))
