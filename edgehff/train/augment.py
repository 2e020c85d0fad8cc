"""Changing maps while they are learned from: mirrored, bent, moved, with a square set to zero."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgehff.geometry import Map
from edgehff.recipe import Recipe

Maps = NDArray[np.int16]
GRID = 4
"""Points along a side of a map that it is bent by."""
_Q = 8
"""Bits behind the point of a position."""


class Augmentation:
    """Changes samples as recipe.augment says; false where it says nothing.

    Draws come from the recipe's seed by the raw words of PCG64, which numpy keeps the same in all versions: a
    seed means the same changes everywhere, in floating point and in integers.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.augment, self.map_in = recipe.augment, recipe.input_shape
        self._bits = np.random.PCG64(np.random.SeedSequence([recipe.seed, 1]))

    def __bool__(self) -> bool:
        a = self.augment
        return bool(self.map_in and (a.flip or a.warp or a.shift or a.cutout))

    def __call__(self, x: Maps) -> Maps:
        """A changed copy of encoded maps, (n, height * width * channels); each row is drawn for by itself.

        Rows become no longer than they were: what moves out of a map is lost, and zeros come in. The length
        of an input has no meaning for a layer.
        """
        assert self.map_in
        maps, a = x.reshape(-1, *self.map_in), self.augment
        if a.flip:
            mirrored = self._below(2, len(x)) == 1
            maps = np.where(mirrored[:, None, None, None], maps[:, :, ::-1], maps)
        if a.warp:
            maps = self._bent(maps, a.warp, self.map_in)
        if a.shift:
            maps = self._moved(maps, a.shift, self.map_in)
        if a.cutout:
            maps = maps * self._kept(len(x), a.cutout, self.map_in)
        return np.ascontiguousarray(maps.reshape(x.shape))

    def _below(self, n: int, count: int) -> NDArray[np.int64]:
        """So many numbers of 0 to n - 1, alike to one in 2^32 of n."""
        words = self._bits.random_raw(count) >> np.uint64(32)
        drawn: NDArray[np.int64] = (words * np.uint64(n) >> np.uint64(32)).astype(np.int64)
        return drawn

    def _bent(self, maps: Maps, most: int, map_in: Map) -> Maps:
        """Each map read at other positions: GRID x GRID points of it move by up to most, all else between.

        Source: elastic distortions, Simard et al., "Best practices for convolutional neural networks", 2003;
        theirs are random at each pixel and blurred.
        """
        n, (height, width, _) = len(maps), map_in
        at = []
        for axis, size in enumerate((height, width)):
            limit = min(most, size - 1) << _Q
            moves = self._below(2 * limit + 1, n * GRID * GRID).reshape(n, GRID, GRID) - limit
            moves = _between_points(_between_points(moves, height, axis=1), width, axis=2)
            own = (np.arange(size) << _Q)[:, None] if axis == 0 else np.arange(size) << _Q
            at.append(moves + own)
        return _no_longer(_read(maps, *at), maps)

    def _moved(self, maps: Maps, most: int, map_in: Map) -> Maps:
        """Each map moved down and right by a number within -most..most of its own, zeros coming in."""
        n, (height, width, _) = len(maps), map_in
        sides = min(most, height - 1), min(most, width - 1)
        padded = np.pad(maps, ((0, 0), (sides[0],) * 2, (sides[1],) * 2, (0, 0)))
        row, col = (
            self._below(2 * side + 1, n)[:, None] + np.arange(size)
            for side, size in zip(sides, (height, width), strict=True)
        )
        moved: Maps = padded[np.arange(n)[:, None, None], row[:, :, None], col[:, None, :]]
        return moved

    def _kept(self, n: int, side: int, map_in: Map) -> Maps:
        """0 in a square about a position drawn on each map, cropped where it leaves the map; 1 elsewhere."""
        inside = []
        for size in map_in[:2]:
            first = self._below(size, n)[:, None] - side // 2
            at = np.arange(size)
            inside.append((at >= first) & (at < first + side))
        square = inside[0][:, :, None] & inside[1][:, None, :]
        return (~square).astype(np.int16)[..., None]


def _between_points(values: NDArray[np.int64], size: int, axis: int) -> NDArray[np.int64]:
    """GRID values along an axis as so many, in straight lines from one to the next."""
    at = (np.arange(size) * (GRID - 1) << _Q) // max(1, size - 1)
    low = np.minimum(at >> _Q, GRID - 2)
    part = (at - (low << _Q)).reshape([-1 if i == axis else 1 for i in range(3)])
    near, far = np.take(values, low, axis), np.take(values, low + 1, axis)
    between: NDArray[np.int64] = near + ((far - near) * part >> _Q)
    return between


def _read(maps: Maps, down: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.int64]:
    """Maps at positions (n, height, width) in Q8, each between its four neighbors; zeros lie outside."""
    n, height, width, _ = maps.shape
    padded = np.pad(maps.astype(np.int64), ((0, 0), (1, 1), (1, 1), (0, 0)))
    number = np.arange(n)[:, None, None]
    total = np.zeros(maps.shape, np.int64)
    for below in (0, 1):
        row = np.clip((down >> _Q) + 1 + below, 0, height + 1)
        by_row = np.abs((1 - below << _Q) - (down & (1 << _Q) - 1))
        for beside in (0, 1):
            column = np.clip((right >> _Q) + 1 + beside, 0, width + 1)
            by_column = np.abs((1 - beside << _Q) - (right & (1 << _Q) - 1))
            total += padded[number, row, column] * (by_row * by_column)[..., None]
    return total >> 2 * _Q


def _no_longer(bent: NDArray[np.int64], maps: Maps) -> Maps:
    """Bent maps as long as they were, or shorter: what is stretched has more in it."""
    was, now = ((m.astype(np.int64) ** 2).sum((1, 2, 3)) for m in (maps, bent))
    scale = np.sqrt((was << 24) // np.maximum(now, 1)).astype(
        np.int64
    )  # below 2^52: exact, then rounded down
    scale = np.minimum(scale, 1 << 12)[:, None, None, None]
    found: Maps = (np.sign(bent) * (np.abs(bent) * scale >> 12)).astype(np.int16)
    return found
