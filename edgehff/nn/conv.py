"""The convolutional HFF layer as a torch module, of maps and of signals.

Maps lie flat in the order (height, width, channels) between layers, as in edgehff.spec and in the core. That
is torch's channels_last: no value is moved on the way into a convolution and out of it, and on a CPU it is
the faster of torch's two orders besides.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.grad import conv2d_weight

from edgehff import geometry, spec
from edgehff.geometry import ConvLayer, Map
from edgehff.nn.layer import HFFLayer, LocalPass


class HFFConv2d(HFFLayer):
    """A convolution, a rectifier and pooling; its prototypes see the map summed over a grid.

    Shapes: x (n, elements of map_in), rows unit or zero; u (n, elements of the map after pooling); label
    (n,), int64. Maps are flat in the order (height, width, channels).

    map_in: (height, width, channels) of the input.
    conv: kernel, stride, padding, pooling and grid; what pooling leaves over at the end of a map is cropped,
        and the mean of a window divides by the power of two not below its positions.
    weight: parameter, (channels, kernel_height * kernel_width * channels in), flat in this order; of a
        depthwise layer (channels, kernel_height * kernel_width). `kernel` shows it as functional.conv2d
        takes it.
    prototypes: parameter, (n_classes, n_per_class, cells of the grid * channels), unit rows.
    options: n_per_class, scale, margin, gate and generator, as of HFFLinear.

    Raises:
        ShapeError: the convolution does not fit the map.

    Source: HFF, arXiv 2605.00082, as reconstructed; every formula is edgehff.spec's.
    """

    def __init__(self, map_in: Map, conv: ConvLayer, n_classes: int, **options: Any) -> None:
        geometry.check(conv)
        super().__init__(geometry.follow(conv, map_in), n_classes, **options)
        assert self.shape.map_out is not None
        self.map_in, self.conv, self.map_out = map_in, conv, self.shape.map_out
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
        """(u, head, |f|) as spec.conv_forward gives them."""
        y = self._convolved(self._as_maps(x))
        return self._directed(self._pooled(y)[0])

    def head(self, u: Tensor) -> Tensor:
        """The direction summed over the grid, of length 1: (n, cells * channels)."""
        return self._on_grid(self._by_position(u))[0]

    @torch.no_grad()
    def local_gradient(self, x: Tensor, label: Tensor) -> LocalPass:
        """Set weight.grad and prototypes.grad of the mean local loss, in closed form, in this one pass.

        Prototypes are taken to be unit rows, as `normalize` leaves them.

        Raises:
            ShapeError: there is no sample.
        """
        maps = self._as_maps(x)
        y = self._convolved(maps)
        pooled, at = self._pooled(y)
        u, head, norm = self._directed(pooled)
        e, similarity, learned = self._errors(head, label)
        of_cells = spec.head_gradient(self._rows, head, norm, e, self.scale)
        t = self._by_position(of_cells)[:, self.cell].view(-1, *self.map_out).permute(0, 3, 1, 2)
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
        """A flat map or head as (n, positions or cells, channels)."""
        return u.view(len(u), u.shape[1] // self.conv.channels, self.conv.channels)

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

    def _directed(self, pooled: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(u, head, |f|) of a rectified and pooled map, (n, channels, height, width)."""
        y = pooled.permute(0, 2, 3, 1).flatten(1)
        squares = (y * y).sum(-1)
        u = y / (squares + spec.EPS)[:, None] ** 0.5
        head, length = self._on_grid(self._by_position(u))
        return u, head, squares**0.5 * length

    def _on_grid(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """(head, its length before it was brought to 1) of a direction (n, positions, channels)."""
        f = u.sum(1) if self.conv.n_cells == 1 else (self.cells @ u).flatten(1)
        length = ((f * f).sum(-1) + spec.EPS) ** 0.5
        return f / length[:, None], length


class HFFConv1d(HFFConv2d):
    """A convolution over a signal: HFFConv2d over a map of height 1, its sizes given as single numbers.

    Shapes: x (n, n_frames * channels_in), frames in order, each with its channels.

    n_frames, channels_in: of the input.  channels: that the layer gives.
    kind, kernel, stride, padding, pool, pool_size, grid: of ConvLayer, along the frames.
    options: n_per_class, scale, margin, gate and generator, as of HFFLinear.

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
