"""The dense HFF layer as a torch module."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from edgehff import spec
from edgehff.geometry import LayerShape
from edgehff.nn.layer import HFFLayer, LocalPass


class HFFLinear(HFFLayer):
    """A dense layer that classifies by cosine against its own prototypes, and learns from its own error.

    Shapes: x (n, n_in), rows unit or zero; u (n, n_out); label (n,), int64.

    weight: parameter, (n_out, n_in), bias-free; starts normal with deviation sqrt(2 / n_in).
    prototypes: parameter, (n_classes, n_per_class, n_out), unit rows; `normalize` keeps them so.
    options: n_per_class, scale, margin, gate and generator, of HFFLayer.

    Source: HFF, arXiv 2605.00082, as reconstructed; every formula is edgehff.spec's.
    """

    def __init__(self, n_in: int, n_out: int, n_classes: int, **options: Any) -> None:
        super().__init__(LayerShape(n_in, n_out, n_out), n_classes, **options)

    def parts(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(u, u, |y|) of relu(W x): prototypes see the direction itself."""
        u, norm = spec.forward(self.weight, x)
        return u, u, norm

    def head(self, u: Tensor) -> Tensor:
        """The direction itself, (n, n_out)."""
        return u

    @torch.no_grad()
    def local_gradient(self, x: Tensor, label: Tensor) -> LocalPass:
        """Set weight.grad and prototypes.grad of the mean local loss, in closed form, in this one pass.

        Prototypes are taken to be unit rows, as `normalize` leaves them.

        Raises:
            ShapeError: there is no sample.
        """
        u, norm = spec.forward(self.weight, x)
        e, similarity, learned = self._errors(u, label)
        by_weight, by_prototype = spec.gradients(self._rows, x, u, norm, e, self.scale)
        self.weight.grad, self.prototypes.grad = by_weight, by_prototype.reshape(self.prototypes.shape)
        return LocalPass(u, similarity, norm, learned)
