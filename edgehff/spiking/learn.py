"""Learning while spikes come: each layer from its own error, without backpropagation through time.

A layer's loss is the cross-entropy of its spike count's cosines. Its gradient by a weight is
g_i * sum_t slope(u_i(t)) * trace_j(t), where g is the gradient at the count, slope the surrogate's derivative
at the membrane, and trace_j = beta * trace_j + x_j what is left of the input. With reset by subtraction this
is the gradient that autograd finds back through time; with reset to zero it leaves out that a reset also ends
a trace. g is known when a sample ends, so that it is shown twice: once to count, once to learn; nothing is
kept of its steps. A chip keeps sum_t slope * trace in each synapse instead.

Source: e-prop's eligibility traces (Bellec et al., Nature Communications 11:3625, 2020), HFF's local error.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.grad import conv2d_weight

from edgehff import spec
from edgehff.model.spiking_network import HALF
from edgehff.spiking.layer import SpikingHFFLayer
from edgehff.spiking.neuron import slope, spike


@torch.no_grad()
def online_gradients(layers: Sequence[SpikingHFFLayer], inputs: Sequence[Tensor], label: Tensor) -> Tensor:
    """Set the gradients of every layer's mean loss, all steps of all layers side by side.

    inputs: one a step, spikes or currents, (n, n inputs); the same tensor for every step is a constant
    current, which the first layer multiplies and learns from once.  label: (n,), int64.  Memory does not grow
    with the number of steps.  Returns the layers' similarities before learning, (n, n_layers, n_classes).
    """
    is_constant = all(x is inputs[0] for x in inputs)
    known = layers[0].current(inputs[0]) if is_constant else None
    counts = [torch.zeros(()) for _ in layers]
    membranes: list[Tensor | None] = [None] * len(layers)
    for x in inputs:
        for i, layer in enumerate(layers):
            neurons = layer.neurons
            u = neurons.charged(_current(layer, x, known if i == 0 else None), membranes[i])
            spikes = neurons.fired(u)
            membranes[i] = neurons.after(u, spikes)
            x = layer.pooled(spikes)  # noqa: PLW2901
            counts[i] = counts[i] + x
    errors = [_count_gradient(layer, count, label) for layer, count in zip(layers, counts, strict=True)]
    membranes = [None] * len(layers)
    traces = [torch.zeros(()) for _ in layers]
    shares, constant = torch.zeros(()), 0.0
    for layer in layers:
        layer.synapses.weight.grad = torch.zeros_like(layer.synapses.weight)
    for x in inputs:
        for i, layer in enumerate(layers):
            neurons, of_first = layer.neurons, is_constant and i == 0
            u = neurons.charged(_current(layer, x, known if i == 0 else None), membranes[i])
            by_current = _by_current(layer, errors[i], u)
            if of_first:
                constant = float(neurons.beta) * constant + 1
                shares = shares + by_current.mul_(constant)
            else:
                traces[i] = neurons.beta * traces[i] + x
                _add_gradient(layer, by_current, traces[i])
            spikes = neurons.fired(u)
            membranes[i] = neurons.after(u, spikes)
            x = layer.pooled(spikes)  # noqa: PLW2901
    if is_constant:
        _add_gradient(layers[0], shares, inputs[0])
    found = [layer.similarities(count) for layer, count in zip(layers, counts, strict=True)]
    return torch.stack(found, 1)


def _current(layer: SpikingHFFLayer, x: Tensor, known: Tensor | None) -> Tensor:
    return layer.current(x) if known is None else known


def loss_through_time(
    layer: SpikingHFFLayer, inputs: Sequence[Tensor], label: Tensor
) -> tuple[Tensor, list[Tensor]]:
    """(mean loss, spikes a step) of one layer, for autograd back through its steps: the rule's control."""
    membrane, out = None, []
    for x in inputs:
        u = layer.neurons.charged(layer.current(x.detach()), membrane)
        out.append(_fired(layer, u))
        membrane = layer.neurons.after(u, (u > layer.neurons.threshold).to(u.dtype))
    head = layer.head(torch.stack(out).sum(0))
    unit = head / (_length(head) + HALF)
    rows = functional.normalize(layer.prototypes.flatten(0, 1), dim=1)
    losses: Tensor = spec.loss(unit @ rows.T, label, layer.n_per_class, layer.scale, layer.margin)
    return losses.mean(), [spikes.detach() for spikes in out]


def _length(head: Tensor) -> Tensor:
    return (head * head).sum(1, keepdim=True).clamp(min=1e-12).sqrt()


def _count_gradient(layer: SpikingHFFLayer, count: Tensor, label: Tensor) -> Tensor:
    """Set the prototypes' gradient; returns the loss's by the spikes of one step, as `pooled` gives them."""
    head, rows = layer.head(count), layer.prototypes.flatten(0, 1)
    length = _length(head)
    unit = head / (length + HALF)
    e = spec.error(unit @ rows.T, label, layer.n_per_class, layer.scale, layer.margin)
    by_prototype = spec.prototype_gradient(rows, unit, e, layer.scale)
    layer.prototypes.grad = by_prototype.reshape(layer.prototypes.shape)
    at_unit = (layer.scale / len(head)) * (e @ rows)
    at_head: Tensor = (at_unit - (at_unit * unit).sum(1, keepdim=True) * head / length) / (length + HALF)
    if layer.shape.map_out is None:
        return at_head
    cells = torch.from_numpy(spec.cell_matrix(layer.shape)).to(at_head)
    by_position: Tensor = cells.T @ at_head.reshape(len(head), cells.shape[0], -1)
    return by_position.flatten(1)


def _fired(layer: SpikingHFFLayer, u: Tensor) -> Tensor:
    """Spikes as `pooled` gives them, with the surrogate: a window's slope is that of its largest membrane."""
    conv = layer.shape.conv
    if conv is None or conv.pool != "max":
        return layer.pooled(spike(u - layer.neurons.threshold))
    largest = functional.max_pool2d(u, conv.pool_size)
    spikes: Tensor = spike(largest - layer.neurons.threshold)
    return spikes.permute(0, 2, 3, 1).flatten(1)


def _by_current(layer: SpikingHFFLayer, error: Tensor, u: Tensor) -> Tensor:
    """The gradient by what flows into the neurons at one step, in the shape of their membranes u."""
    conv, at = layer.shape.conv, slope(u - layer.neurons.threshold)
    if conv is None:
        return at.mul_(error)
    assert layer.shape.map_out is not None
    error = error.reshape(len(error), *layer.shape.map_out).permute(0, 3, 1, 2)
    if conv.pool == "none":
        return at.mul_(error)
    if conv.pool == "max":
        _, where = functional.max_pool2d(u, conv.pool_size, return_indices=True)
        wide = functional.max_unpool2d(error.contiguous(), where, conv.pool_size, output_size=u.shape[2:])
        return at * wide
    wide = error.repeat_interleave(conv.pool_size[0], 2).repeat_interleave(conv.pool_size[1], 3)
    left = u.shape[2] - wide.shape[2], u.shape[3] - wide.shape[3]
    return at * functional.pad(wide, (0, left[1], 0, left[0]))


def _add_gradient(layer: SpikingHFFLayer, by_current: Tensor, trace: Tensor) -> None:
    """Add one step's part to the weights' gradient.  trace: of the layer's inputs, (n, n inputs)."""
    conv, weight, grad = layer.shape.conv, layer.synapses.weight, layer.synapses.weight.grad
    assert grad is not None
    if conv is None:
        grad += by_current.T @ trace
        return
    assert layer.shape.map_in is not None
    height, width, channels = layer.shape.map_in
    seen = trace.reshape(-1, height, width, channels).permute(0, 3, 1, 2)
    groups = channels if conv.kind == "depthwise" else 1
    grad += conv2d_weight(  # type: ignore[no-untyped-call]
        seen, weight.shape, by_current, conv.stride, conv.padding, groups=groups
    )
