"""What HFF layers as torch modules have in common: prototypes, their answers, the layer's own error."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from edgehff import spec
from edgehff.errors import ShapeError
from edgehff.geometry import LayerShape


class LocalPass(NamedTuple):
    """What one pass of a batch of n samples through a layer gives.

    u: (n, n_out), the directions that the next layer gets; of a convolution (n, elements of its map).
    similarities: (n, n_classes), the layer's answers before it learns.
    norm: (n,), |y|; of a convolution |f|, of its map summed over the grid.
    learned: from how many samples the layer learns: those that the gate lets through.
    """

    u: Tensor
    similarities: Tensor
    norm: Tensor
    learned: int


class HFFLayer(nn.Module, ABC):
    """A layer that classifies by cosine against its own prototypes, and learns from its own error.

    weight: parameter, (shape.n_out, shape.n_in), bias-free; starts normal with deviation sqrt(2 / n_in).
    prototypes: parameter, (n_classes, n_per_class, shape.head), unit rows; `normalize` keeps them so.
    scale: of the softmax over cosines.  margin: taken off the own class's cosine while learning.
    gate: learn from samples whose own class leads by less than this cosine; None: from all.
    """

    def __init__(
        self,
        shape: LayerShape,
        n_classes: int,
        *,
        n_per_class: int = 1,
        scale: float = 30.0,
        margin: float = 0.1,
        gate: float | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.shape = shape
        self.n_per_class, self.scale, self.margin, self.gate = n_per_class, scale, margin, gate
        size = shape.n_out, shape.n_in
        self.weight = nn.Parameter(torch.randn(*size, generator=generator) * (2 / shape.n_in) ** 0.5)
        self.prototypes = nn.Parameter(torch.randn(n_classes, n_per_class, shape.head, generator=generator))
        self.normalize()

    def forward(self, x: Tensor) -> Tensor:
        """The direction u that the next layer gets. What learns elsewhere gets no gradient: x is detached."""
        return self.parts(x.detach())[0]

    @abstractmethod
    def parts(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(u, head, norm): the direction, what prototypes see, unit rows, and its length for unit inputs.

        Autograd passes through here, to x too.
        """

    @abstractmethod
    def head(self, u: Tensor) -> Tensor:
        """What prototypes see of a direction: (n, shape.head), unit or zero."""

    @abstractmethod
    def local_gradient(self, x: Tensor, label: Tensor) -> LocalPass:
        """Set weight.grad and prototypes.grad of the mean local loss, in closed form, in this one pass.

        Prototypes are taken to be unit rows, as `normalize` leaves them.

        Raises:
            ShapeError: there is no sample.
        """

    def similarities(self, u: Tensor) -> Tensor:
        """Class similarities of a direction, (n, n_classes), cosines."""
        return self._similarities(self.head(u) @ self._rows.T)

    def head_loss(self, head: Tensor, label: Tensor) -> Tensor:
        """Mean loss, in nats, of what prototypes see; for autograd; the gate is not in it."""
        rows = self._rows / (self._rows * self._rows).sum(-1, keepdim=True).sqrt()
        losses: Tensor = spec.loss(head @ rows.T, label, self.n_per_class, self.scale, self.margin)
        return losses.mean()

    def loss(self, x: Tensor, label: Tensor) -> Tensor:
        """Mean local loss, in nats, for autograd; the gate is not in it."""
        return self.head_loss(self.parts(x.detach())[1], label)

    @torch.no_grad()
    def normalize(self) -> None:
        """Bring the prototypes back on the sphere, after a step."""
        self.prototypes.div_(self.prototypes.norm(dim=-1, keepdim=True))

    @property
    def _rows(self) -> Tensor:
        return self.prototypes.flatten(0, 1)

    def _similarities(self, cosine: Tensor) -> Tensor:
        out: Tensor = spec.similarities(cosine, self.n_per_class, self.scale)
        return out

    def _errors(self, head: Tensor, label: Tensor) -> tuple[Tensor, Tensor, int]:
        """(e, similarities, learned) of a batch; rows of e that the gate holds back are zero."""
        if not len(head):
            raise ShapeError("a batch without samples", hint="give one row a sample")
        cosine = head @ self._rows.T
        similarity = self._similarities(cosine)
        e: Tensor = spec.error(cosine, label, self.n_per_class, self.scale, self.margin)
        if self.gate is None:
            return e, similarity, len(head)
        unsure = spec.lead(similarity, label) < self.gate
        return e * unsure[:, None], similarity, int(unsure.sum())
