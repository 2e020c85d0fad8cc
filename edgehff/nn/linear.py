"""The dense HFF layer as a torch module."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from edgehff import spec
from edgehff.errors import ShapeError


class LocalPass(NamedTuple):
    """What one pass of a batch of n samples through a layer gives.

    u: (n, n_out), the directions that the next layer gets.
    similarities: (n, n_classes), the layer's answers before it learns.
    norm: (n,), |y|.
    learned: from how many samples the layer learns: those that the gate lets through.
    """

    u: Tensor
    similarities: Tensor
    norm: Tensor
    learned: int


class HFFLinear(nn.Module):
    """A dense layer that classifies by cosine against its own prototypes, and learns from its own error.

    Shapes: x (n, n_in), rows unit or zero; u (n, n_out); label (n,), int64.

    weight: parameter, (n_out, n_in), bias-free; starts normal with deviation sqrt(2 / n_in).
    prototypes: parameter, (n_classes, n_per_class, n_out), unit rows; `normalize` keeps them so.
    scale: of the softmax over cosines.  margin: taken off the own class's cosine while learning.
    gate: learn from samples whose own class leads by less than this cosine; None: from all.

    Source: HFF, arXiv 2605.00082, as reconstructed; every formula is edgehff.spec's.
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        n_classes: int,
        *,
        n_per_class: int = 1,
        scale: float = 30.0,
        margin: float = 0.1,
        gate: float | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.n_per_class, self.scale, self.margin, self.gate = n_per_class, scale, margin, gate
        self.weight = nn.Parameter(torch.randn(n_out, n_in, generator=generator) * (2 / n_in) ** 0.5)
        self.prototypes = nn.Parameter(torch.randn(n_classes, n_per_class, n_out, generator=generator))
        self.normalize()

    def forward(self, x: Tensor) -> Tensor:
        """The direction u of relu(W x). What learns elsewhere gets no gradient from here: x is detached."""
        u: Tensor = spec.forward(self.weight, x.detach())[0]
        return u

    def similarities(self, u: Tensor) -> Tensor:
        """Class similarities of a direction, (n, n_classes), cosines."""
        out: Tensor = spec.similarities(u @ self._rows.T, self.n_per_class, self.scale)
        return out

    def loss(self, x: Tensor, label: Tensor) -> Tensor:
        """Mean local loss, in nats, for autograd; the gate is not in it."""
        u, _ = spec.forward(self.weight, x.detach())
        rows = self._rows / (self._rows * self._rows).sum(-1, keepdim=True).sqrt()
        losses: Tensor = spec.loss(u @ rows.T, label, self.n_per_class, self.scale, self.margin)
        return losses.mean()

    @torch.no_grad()
    def local_gradient(self, x: Tensor, label: Tensor) -> LocalPass:
        """Set weight.grad and prototypes.grad of the mean local loss, in closed form, in this one pass.

        Prototypes are taken to be unit rows, as `normalize` leaves them.

        Raises:
            ShapeError: there is no sample.
        """
        if not len(x):
            raise ShapeError("a batch without samples", hint="give one row a sample")
        u, norm = spec.forward(self.weight, x)
        cosine = u @ self._rows.T
        similarity = spec.similarities(cosine, self.n_per_class, self.scale)
        e = spec.error(cosine, label, self.n_per_class, self.scale, self.margin)
        learned = len(x)
        if self.gate is not None:
            unsure = spec.lead(similarity, label) < self.gate
            e, learned = e * unsure[:, None], int(unsure.sum())
        by_weight, by_prototype = spec.gradients(self._rows, x, u, norm, e, self.scale)
        self.weight.grad, self.prototypes.grad = by_weight, by_prototype.reshape(self.prototypes.shape)
        return LocalPass(u, similarity, norm, learned)

    @torch.no_grad()
    def normalize(self) -> None:
        """Bring the prototypes back on the sphere, after a step."""
        self.prototypes.div_(self.prototypes.norm(dim=-1, keepdim=True))

    @property
    def _rows(self) -> Tensor:
        return self.prototypes.flatten(0, 1)
