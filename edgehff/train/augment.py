"""Changing maps while they are learned from: mirrored, moved, with a square set to zero."""

from __future__ import annotations

import torch
from torch import Tensor

from edgehff.geometry import Map
from edgehff.recipe import PretrainRecipe


def is_on(p: PretrainRecipe) -> bool:
    """Whether anything is changed at all."""
    return bool(p.flip or p.shift or p.cutout)


def augmented(x: Tensor, map_in: Map, p: PretrainRecipe, generator: torch.Generator) -> Tensor:
    """A changed copy of flat maps, of length 1 or zero; each row is drawn for by itself.

    x: (n, height * width * channels), encoded.  generator: on the CPU, so that a seed means the same on every
    device.
    """
    maps = x.view(-1, *map_in)
    if p.flip:
        mirrored = torch.rand(len(x), generator=generator) < 0.5
        maps = torch.where(mirrored.to(x.device)[:, None, None, None], maps.flip(2), maps)
    if p.shift:
        maps = _moved(maps, p.shift, generator)
    if p.cutout:
        maps = maps * _kept(maps, p.cutout, generator)
    return torch.nn.functional.normalize(maps.reshape(x.shape), dim=1)


def _moved(maps: Tensor, most: int, generator: torch.Generator) -> Tensor:
    """Each map moved down and right by a number within -most..most of its own, zeros coming in."""
    n, height, width, _ = maps.shape
    sides = min(most, height - 1), min(most, width - 1)
    padded = torch.nn.functional.pad(maps, (0, 0, sides[1], sides[1], sides[0], sides[0]))
    row, col = (
        (torch.randint(2 * side + 1, (n, 1), generator=generator) + torch.arange(size)).to(maps.device)
        for side, size in zip(sides, (height, width), strict=True)
    )
    sample = torch.arange(n, device=maps.device)[:, None, None]
    return padded[sample, row[:, :, None], col[:, None, :]]


def _kept(maps: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """0 in a square about a position drawn on each map, cropped where it leaves the map; 1 elsewhere."""
    inside = []
    for size in maps.shape[1:3]:
        first = torch.randint(size, (len(maps), 1), generator=generator) - side // 2
        at = torch.arange(size)
        inside.append((at >= first) & (at < first + side))
    square = inside[0][:, :, None] & inside[1][:, None, :]
    return (~square).to(maps.device)[..., None]
