"""How layers go over a map: convolutions with their pooling, and the shapes that follow from them.

Maps are (height, width, channels), channels last; a one-dimensional signal has height 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgehff.errors import ShapeError

KINDS = ("conv", "depthwise")
POOLS = ("none", "max", "mean")
MAX_DIM = 65536
MAX_SIDE = 65535
"""Of the height, width and channels of a map that a layer goes over."""
MAX_KERNEL = 31
MAX_POOL = 16
MAX_GRID = 16

Pair = tuple[int, int]
Map = tuple[int, int, int]


@dataclass(frozen=True)
class ConvLayer:
    """A convolution without bias, a rectifier, pooling, and the grid that its prototypes see.

    channels: of the map that it gives; a depthwise one gives as many as it takes.
    kind: "conv", or "depthwise": each channel by itself.
    kernel, stride: (height, width), 1 to 31.
    padding: zeros at both ends of (height, width), less than the kernel.
    pool: "none", "max" or "mean" over windows of pool_size that do not overlap, at most 16 positions each;
        what is left over at the end of a map is not computed.
    grid: (height, width), 1 to 16: the map is summed over so many cells; row r of n lies in r * grid // n.
    """

    channels: int
    kind: str = "conv"
    kernel: Pair = (3, 3)
    stride: Pair = (1, 1)
    padding: Pair = (1, 1)
    pool: str = "none"
    pool_size: Pair = (1, 1)
    grid: Pair = (1, 1)

    @property
    def n_cells(self) -> int:
        """Cells of the grid."""
        return self.grid[0] * self.grid[1]

    @property
    def text(self) -> str:
        """In short: "32c3 pool2" has 32 channels of 3 x 3 and pools 2 x 2; "dw" is depthwise."""
        parts = [f"{self.channels}{'dw' if self.kind == 'depthwise' else 'c'}{_size(self.kernel)}"]
        if self.stride != (1, 1):
            parts.append(f"stride{_size(self.stride)}")
        if self.pool != "none":
            parts.append(f"{'mean' if self.pool == 'mean' else 'pool'}{_size(self.pool_size)}")
        if self.grid != (1, 1):
            parts.append(f"grid{_size(self.grid)}")
        return " ".join(parts)

    def fan_in(self, channels_in: int) -> int:
        """Weights of one channel."""
        return self.kernel[0] * self.kernel[1] * (1 if self.kind == "depthwise" else channels_in)

    def before_pooling(self, height: int, width: int) -> Pair:
        """Positions of the convolution alone on a map of this size."""
        return (
            (height + 2 * self.padding[0] - self.kernel[0]) // self.stride[0] + 1,
            (width + 2 * self.padding[1] - self.kernel[1]) // self.stride[1] + 1,
        )


def _size(pair: Pair) -> str:
    return str(pair[0]) if pair[0] == pair[1] else f"{pair[0]}x{pair[1]}"


@dataclass(frozen=True)
class LayerShape:
    """Sizes of one layer: its matrix (n_out, n_in), elements of a prototype, and its maps (None: dense)."""

    n_in: int
    n_out: int
    head: int
    conv: ConvLayer | None = None
    map_in: Map | None = None
    map_out: Map | None = None

    @property
    def positions(self) -> int:
        """Of the map after pooling; 1 of a dense layer."""
        return 1 if self.map_out is None else self.map_out[0] * self.map_out[1]

    @property
    def window(self) -> int:
        """Positions that are pooled into one."""
        return 1 if self.conv is None else self.conv.pool_size[0] * self.conv.pool_size[1]

    @property
    def products(self) -> int:
        """Multiplications of one pass, were nothing zero; padding counts as input."""
        return self.n_in * self.n_out * self.positions * self.window


def check(conv: ConvLayer, name: str = "conv") -> None:
    """ShapeError where a field lies outside its range."""
    ranges: dict[str, tuple[int, int, Any]] = {
        "kernel": (1, MAX_KERNEL, conv.kernel),
        "stride": (1, MAX_KERNEL, conv.stride),
        "padding": (0, MAX_KERNEL - 1, conv.padding),
        "pool_size": (1, MAX_POOL, conv.pool_size),
        "grid": (1, MAX_GRID, conv.grid),
        "channels": (1, MAX_DIM, (conv.channels,)),
    }
    for field, (low, high, values) in ranges.items():
        if not all(low <= v <= high for v in values):
            raise ShapeError(
                f"{name}: {field} = {values} lies outside {low} to {high}",
                hint="see docs/reference/recipe.md",
            )
    if conv.kind not in KINDS or conv.pool not in POOLS:
        raise ShapeError(
            f"{name}: kind = {conv.kind!r}, pool = {conv.pool!r}",
            hint=f"kinds: {', '.join(KINDS)}; pools: {', '.join(POOLS)}",
        )
    if conv.padding[0] >= conv.kernel[0] or conv.padding[1] >= conv.kernel[1]:
        raise ShapeError(
            f"{name}: padding {conv.padding} is not less than the kernel {conv.kernel}",
            hint="padding = 1 for a kernel of 3",
        )
    area = conv.pool_size[0] * conv.pool_size[1]
    if area > MAX_POOL or (area == 1) != (conv.pool == "none"):
        raise ShapeError(
            f"{name}: pool = {conv.pool!r} with pool_size = {conv.pool_size}",
            hint=f"a window has 2 to {MAX_POOL} positions; without pooling it is 1",
        )


def follow(conv: ConvLayer, map_in: Map, name: str = "conv") -> LayerShape:
    """The shape of a convolution over a map. ShapeError where it does not fit there."""
    if max(map_in) > MAX_SIDE:
        raise ShapeError(
            f"{name}: a map of {map_in} has a side over {MAX_SIDE}", hint="take another shape of input"
        )
    height, width = conv.before_pooling(map_in[0], map_in[1])
    out = (height // conv.pool_size[0], width // conv.pool_size[1], conv.channels)
    if min(height, width) < 1 or out[0] < conv.grid[0] or out[1] < conv.grid[1]:
        raise ShapeError(
            f"{name}: a map of {map_in} gives {max(0, out[0])} x {max(0, out[1])} positions"
            f" for a grid of {conv.grid}",
            hint="take less pooling, more padding or a smaller grid",
        )
    if conv.kind == "depthwise" and conv.channels != map_in[2]:
        raise ShapeError(
            f"{name}: a depthwise layer of {conv.channels} channels over {map_in[2]}",
            hint=f"channels = {map_in[2]}",
        )
    shape = LayerShape(conv.fan_in(map_in[2]), conv.channels, conv.channels * conv.n_cells, conv, map_in, out)
    if max(out[0] * out[1] * out[2], shape.head, shape.n_in) > MAX_DIM or max(out[:2]) > MAX_SIDE:
        raise ShapeError(
            f"{name}: a map of {out} has over {MAX_DIM} elements", hint="take fewer channels or more pooling"
        )
    return shape


def shapes(
    dims: tuple[int, ...], conv: tuple[ConvLayer, ...], input_shape: Map | tuple[()]
) -> tuple[LayerShape, ...]:
    """Every layer's shape: convolutions first, dense layers after.

    dims: the input's elements, then channels or outputs of each layer.

    Raises:
        ShapeError: names the first layer that does not fit.
    """
    if dims[1 : len(conv) + 1] != tuple(c.channels for c in conv):
        raise ShapeError(
            f"widths {dims[1:]} are not those of {len(conv)} convolutions and dense layers behind them",
            hint="each convolution's width is its channels",
        )
    out: list[LayerShape] = []
    elements = dims[0]
    map_in = input_shape
    for i, width in enumerate(dims[1:]):
        if i < len(conv):
            if len(map_in) != 3 or min(map_in) < 1 or map_in[0] * map_in[1] * map_in[2] != elements:
                raise ShapeError(
                    f"an input of {elements} elements is no map of {tuple(map_in)}",
                    hint="input_shape = [height, width, channels]",
                )
            check(conv[i], f"layer {i}")
            shape = follow(conv[i], map_in, f"layer {i}")
            assert shape.map_out is not None
            map_in = shape.map_out
            elements = map_in[0] * map_in[1] * map_in[2]
        else:
            shape = LayerShape(elements, width, width)
            elements = width
        out.append(shape)
    return tuple(out)
