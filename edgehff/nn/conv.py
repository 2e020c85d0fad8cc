"""The convolutional HFF layer as a torch module, of maps and of signals.

Maps lie flat in the order (height, width, channels) between layers, as in edgehff.spec and in the core. That
is torch's channels_last: no value is moved on the way into a convolution and out of it, and on a CPU it is
the faster of torch's two orders besides.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.grad import conv2d_weight

from edgehff import geometry, spec
from edgehff.errors import ShapeError
from edgehff.geometry import MAX_DIM, ConvLayer, Map
from edgehff.nn.layer import HFFLayer, LocalPass


@dataclass(frozen=True)
class AuxConv:
    """An auxiliary convolution A of 1 x 1, without bias, trained in the same pass, over a layer's map u.

    channels: that it gives, 1 to 65,536.
    on: "head": prototypes see A u summed over the grid, and the next layer gets u;
        "path": prototypes and the next layer see u' = relu(A u) / |relu(A u)| in the place of u.

    Source: HFF, arXiv 2605.00082, names an auxiliary convolution that "may create an information bottleneck";
    that it is 1 x 1, and both places, are ours.

    Raises:
        ShapeError: a field lies outside its range.
    """

    channels: int
    on: str

    def __post_init__(self) -> None:
        if not 1 <= self.channels <= MAX_DIM or self.on not in ("head", "path"):
            raise ShapeError(
                f"AuxConv: channels = {self.channels}, on = {self.on!r}",
                hint=f'1 to {MAX_DIM} channels, on "head" or "path"',
            )


class HFFConv2d(HFFLayer):
    """A convolution, a rectifier and pooling; its prototypes see the map summed over a grid.

    Shapes: x (n, elements of map_in), rows unit or zero; u (n, elements of map_out); label (n,), int64. Maps
    are flat in the order (height, width, channels).

    map_in: (height, width, channels) of the input.
    conv: kernel, stride, padding, pooling and grid; what pooling leaves over at the end of a map is cropped,
        and the mean of a window divides by the power of two not below its positions.
    weight: parameter, (channels, kernel_height * kernel_width * channels in), flat in this order; of a
        depthwise layer (channels, kernel_height * kernel_width). `kernel` shows it as functional.conv2d
        takes it.
    aux: a convolution of 1 x 1 behind this one, before its prototypes alone or before the next layer too.
    aux_weight: parameter, (channels of aux, channels), starts normal with deviation sqrt(2 / channels); None
        without aux. As with the weight, the norm divides its scale out.
    prototypes: parameter, (n_classes, n_per_class, cells of the grid * channels), unit rows; the channels
        are those of aux where there is one.
    map_out: (height, width, channels) of what the next layer gets.
    options: n_per_class, scale, margin, gate and generator, of HFFLayer.

    Raises:
        ShapeError: the convolution does not fit the map.

    Source: HFF, arXiv 2605.00082, as reconstructed; every formula is edgehff.spec's.
    """

    def __init__(
        self, map_in: Map, conv: ConvLayer, n_classes: int, *, aux: AuxConv | None = None, **options: Any
    ) -> None:
        geometry.check(conv)
        shape = geometry.follow(conv, map_in)
        assert shape.map_out is not None
        map_out = shape.map_out
        if aux is not None:
            shape = replace(shape, head=conv.n_cells * aux.channels)
            if aux.on == "path":
                map_out = (*map_out[:2], aux.channels)
        super().__init__(replace(shape, map_out=map_out), n_classes, **options)
        self.map_in, self.conv, self.map_out, self.aux = map_in, conv, map_out, aux
        self.aux_weight: nn.Parameter | None = None
        if aux is not None:
            drawn = torch.randn(aux.channels, conv.channels, generator=options.get("generator"))
            self.aux_weight = nn.Parameter(drawn * (2 / conv.channels) ** 0.5)
        self.groups = map_in[2] if conv.kind == "depthwise" else 1
        cells = torch.from_numpy(spec.cell_matrix(self.shape))
        self.cells: Tensor
        self.cell: Tensor
        self.register_buffer("cells", cells, persistent=False)
        self.register_buffer("cell", cells.argmax(0), persistent=False)

    @property
    def kernel(self) -> Tensor:
        """A view of the weight for functional.conv2d: (channels, channels in / groups, height, width)."""
        channels = self.map_in[2] // self.groups
        return self.weight.view(-1, *self.conv.kernel, channels).permute(0, 3, 1, 2)

    def parts(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(u, head, |f|) as spec.conv_forward gives them; f is the sum that the head is the direction of."""
        y = self._convolved(self._as_maps(x))
        return self._directed(self._pooled(y)[0])

    def head(self, u: Tensor) -> Tensor:
        """The direction summed over the grid, projected on the head if it is so, of length 1."""
        return self._on_grid(u)[0]

    @torch.no_grad()
    def local_gradient(self, x: Tensor, label: Tensor) -> LocalPass:
        """Set each parameter's grad of the mean local loss, in closed form, in this one pass.

        Prototypes are taken to be unit rows, as `normalize` leaves them.

        Raises:
            ShapeError: there is no sample.
        """
        maps = self._as_maps(x)
        y = self._convolved(maps)
        pooled, at = self._pooled(y)
        u, head, norm = self._directed(pooled)
        e, similarity, learned = self._errors(head, label)
        of_head = spec.head_gradient(self._rows, head, norm, e, self.scale)
        t = self._by_pooled(of_head, u, pooled)
        by_kernel: Tensor = conv2d_weight(  # type: ignore[no-untyped-call]
            maps,
            self.kernel.shape,
            self._before_pooling(t * (pooled > 0), y, at),
            stride=self.conv.stride,
            padding=self.conv.padding,
            groups=self.groups,
        )
        self.weight.grad = by_kernel.permute(0, 2, 3, 1).reshape(self.weight.shape)
        by_prototype = spec.prototype_gradient(self._rows, head, e, self.scale)
        self.prototypes.grad = by_prototype.reshape(self.prototypes.shape)
        return LocalPass(u, similarity, norm, learned)

    def _as_maps(self, x: Tensor) -> Tensor:
        """Flat maps as (n, channels, height, width), without a copy."""
        return x.reshape(-1, *self.map_in).permute(0, 3, 1, 2)

    def _by_position(self, u: Tensor) -> Tensor:
        """A flat map that is handed on as (n, positions, channels)."""
        return u.view(len(u), u.shape[1] // self.map_out[2], self.map_out[2])

    def _convolved(self, maps: Tensor) -> Tensor:
        """W * x before rectifier and pooling: (n, channels, height, width)."""
        stride, padding = self.conv.stride, self.conv.padding
        return functional.conv2d(maps, self.kernel, stride=stride, padding=padding, groups=self.groups)

    def _pooled(self, y: Tensor) -> tuple[Tensor, Tensor | None]:
        """The rectified map after pooling, and for "max" which positions it came from."""
        conv = self.conv
        if conv.pool == "max":
            top, at = functional.max_pool2d(y, conv.pool_size, return_indices=True)
            return top.relu(), at
        y = y.relu()
        if conv.pool == "mean":
            y = functional.avg_pool2d(y, conv.pool_size, divisor_override=spec.pool_divisor(self.shape))
        return y, None

    def _before_pooling(self, t: Tensor, y: Tensor, at: Tensor | None) -> Tensor:
        """A gradient by the pooled map, brought to the positions before pooling: as y."""
        conv = self.conv
        if conv.pool == "none":
            return t
        if at is not None:
            return functional.max_unpool2d(t, at, conv.pool_size, output_size=y.shape[2:])
        shares = t.repeat_interleave(conv.pool_size[0], 2).repeat_interleave(conv.pool_size[1], 3)
        out = torch.zeros_like(y)
        out[:, :, : shares.shape[2], : shares.shape[3]] = shares / spec.pool_divisor(self.shape)
        return out * (y > 0)

    def _aux_on(self, place: str) -> nn.Parameter | None:
        """aux_weight, if aux is on this place."""
        return self.aux_weight if self.aux is not None and self.aux.on == place else None

    def _by_pooled(self, of_head: Tensor, u: Tensor, pooled: Tensor) -> Tensor:
        """The gradient by the pooled map, as it, from that by f; sets aux_weight.grad.

        A and the sum over a cell commute: on the head, A meets a few cells and not the map.
        """
        y = pooled.permute(0, 2, 3, 1)
        seen = y.flatten(1, 2)
        t = of_head.view(len(y), self.conv.n_cells, -1)
        if (aux := self._aux_on("head")) is not None:
            t = _through(aux, t, self._summed(seen))
        t = t[:, self.cell]
        if (aux := self._aux_on("path")) is not None:
            t = _through(aux, t * (self._by_position(u) > 0), seen)
        return t.view(y.shape).permute(0, 3, 1, 2)

    def _directed(self, pooled: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(u, head, |f|) of a rectified and pooled map, (n, channels, height, width)."""
        y = pooled.permute(0, 2, 3, 1)
        u, norm = _direction(y.flatten(1))
        if (aux := self._aux_on("path")) is not None:
            u, of_aux = _direction((u.view(y.shape) @ aux.T).relu().flatten(1))
            norm = norm * of_aux
        head, length = self._on_grid(u)
        return u, head, norm * length

    def _on_grid(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """(head, its length before it was brought to 1) of a direction that is handed on."""
        f = self._summed(self._by_position(u))
        if (aux := self._aux_on("head")) is not None:
            f = f @ aux.T
        f = f.flatten(1)
        length = ((f * f).sum(-1) + spec.EPS) ** 0.5
        return f / length[:, None], length

    def _summed(self, by_position: Tensor) -> Tensor:
        """(n, positions, channels) summed over the grid: (n, cells, channels)."""
        return by_position.sum(1, keepdim=True) if self.conv.n_cells == 1 else self.cells @ by_position


def _direction(y: Tensor) -> tuple[Tensor, Tensor]:
    """(y / |y|, |y|) of rows, the length without EPS."""
    squares = (y * y).sum(-1)
    return y / (squares + spec.EPS)[:, None] ** 0.5, squares**0.5


def _through(aux: nn.Parameter, t: Tensor, seen: Tensor) -> Tensor:
    """The gradient by what aux saw, from t by what it gave, (n, positions or cells, channels); sets .grad."""
    aux.grad = t.flatten(0, 1).T @ seen.flatten(0, 1)
    return t @ aux


class HFFConv1d(HFFConv2d):
    """A convolution over a signal: HFFConv2d over a map of height 1, its sizes given as single numbers.

    Shapes: x (n, n_frames * channels_in), frames in order, each with its channels.

    n_frames, channels_in: of the input.  channels: that the layer gives.
    kind, kernel, stride, padding, pool, pool_size, grid: of ConvLayer, along the frames.
    options: aux, as of HFFConv2d; n_per_class, scale, margin, gate and generator, of HFFLayer.

    Raises:
        ShapeError: the convolution does not fit the signal.
    """

    def __init__(
        self,
        n_frames: int,
        channels_in: int,
        channels: int,
        n_classes: int,
        *,
        kind: str = "conv",
        kernel: int = 3,
        stride: int = 1,
        padding: int = 1,
        pool: str = "none",
        pool_size: int = 1,
        grid: int = 1,
        **options: Any,
    ) -> None:
        conv = ConvLayer(
            channels,
            kind=kind,
            kernel=(1, kernel),
            stride=(1, stride),
            padding=(0, padding),
            pool=pool,
            pool_size=(1, pool_size),
            grid=(1, grid),
        )
        super().__init__((1, n_frames, channels_in), conv, n_classes, **options)
