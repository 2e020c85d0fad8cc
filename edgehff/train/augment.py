"""Changing maps while they are learned from: mirrored, moved, with a square set to zero."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgehff.geometry import Map
from edgehff.recipe import Recipe

Maps = NDArray[np.int16]


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
        return bool(self.map_in and (a.flip or a.shift or a.cutout))

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
