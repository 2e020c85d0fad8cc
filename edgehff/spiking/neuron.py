"""Leaky integrate-and-fire neurons, as snnTorch's modules, with a slope for learning.

A step adds the current to what is left of the membrane, fires above the threshold, and resets what fired:
u = beta * v + current; a spike where u > threshold; v = 0 there ("zero") or u - threshold ("subtract").
"""

from __future__ import annotations

from typing import Any

import snntorch
import torch
from torch import Tensor


class Surrogate(torch.autograd.Function):
    """A spike where u > 0; backwards the derivative of an arcus tangent, 1 / (1 + (pi u)^2).

    Source: snnTorch's surrogate.atan(alpha=2).
    """

    @staticmethod
    def forward(ctx: Any, u: Tensor) -> Tensor:
        """1.0 where u > 0."""
        ctx.save_for_backward(u)
        return (u > 0).to(u.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        """The gradient, as if the step had a slope."""
        (u,) = ctx.saved_tensors
        return grad * slope(u)


def spike(u: Tensor) -> Tensor:
    """1.0 where u > 0, with a slope for autograd."""
    out: Tensor = Surrogate.apply(u)  # type: ignore[no-untyped-call]
    return out


def slope(u: Tensor) -> Tensor:
    """The surrogate's derivative at a distance u from the threshold."""
    scaled = torch.pi * u
    return scaled.mul_(scaled).add_(1).reciprocal_()


class HFFLeaky(snntorch.Leaky):  # type: ignore[misc]
    """snnTorch's Leaky with the reset in the step of the spike, not in the next one; explicit state alone.

    snnTorch 1.0.0, with `reset_delay=False` and "subtract", takes the threshold off a membrane that stays
    above it only once: such a neuron falls silent for ever. The reset gives no gradient.
    """

    def __init__(self, beta: float, threshold: float | Tensor = 1.0, reset: str = "zero") -> None:
        super().__init__(beta, threshold, spike, reset_mechanism=reset)
        snntorch.SpikingNeuron.instances.remove(self)  # a list that would keep every neuron for ever

    def forward(self, input_: Tensor, mem: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(spikes, membrane after the reset) of one step.  mem: the membrane before; None: at rest."""
        u = self.charged(input_, mem)
        spikes: Tensor = self.spike_grad(u - self.threshold)
        return spikes, self.after(u, spikes)

    def charged(self, input_: Tensor, mem: Tensor | None) -> Tensor:
        """The membrane before it may fire."""
        if mem is None:
            return input_
        return (mem if self.beta == 1 else self.beta * mem) + input_

    def fired(self, u: Tensor) -> Tensor:
        """1.0 where the membrane u fires, without a slope."""
        out: Tensor = (u > self.threshold).to(u.dtype)
        return out

    def after(self, u: Tensor, spikes: Tensor) -> Tensor:
        """The membrane after the reset, which no gradient passes."""
        fired = spikes.detach()
        return u * (1 - fired) if self.reset_mechanism == "zero" else u - fired * self.threshold
