"""Maps changed while they are learned from: what may happen to one, and that a seed says what does."""

import zlib

import numpy as np
import pytest

from edgehff.data.sources import load
from edgehff.errors import RecipeError
from edgehff.geometry import ConvLayer
from edgehff.recipe import AugmentRecipe, EncoderRecipe, Recipe
from edgehff.train import local
from edgehff.train.augment import Augmentation

N = 400


def recipe(map_in=(6, 7, 2), **settings):
    return Recipe(
        layers=(), conv=(ConvLayer(4),), input_shape=map_in, augment=AugmentRecipe(**settings), seed=5
    )


def maps(map_in=(6, 7, 2)):
    """Encoded maps without zeros in them."""
    return np.random.default_rng(1).integers(1, 900, (N, int(np.prod(map_in)))).astype(np.int16)


def changed(map_in=(6, 7, 2), **settings):
    found = Augmentation(recipe(map_in, **settings))(maps(map_in))
    assert found.dtype == np.int16
    return found.reshape(-1, *map_in)


def test_half_of_the_maps_are_mirrored_from_left_to_right():
    found, plain = changed(flip=True), maps().reshape(-1, 6, 7, 2)
    same = (found == plain).all((1, 2, 3))
    mirrored = (found == plain[:, :, ::-1]).all((1, 2, 3))
    assert (same ^ mirrored).all()
    assert mirrored.mean() == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("map_in", [(6, 7, 2), (1, 12, 3)])
def test_maps_move_by_at_most_shift_and_zeros_come_in(map_in):
    found, plain = changed(map_in, shift=2), maps(map_in).reshape(-1, *map_in)
    height, width, _ = map_in
    seen = set()
    for ours, source in zip(found, plain, strict=True):
        fits = []
        for down in range(-2, 3) if height > 1 else (0,):
            for right in range(-2, 3):
                wanted = np.zeros_like(source)
                to = [slice(max(0, m), n + min(0, m)) for m, n in ((down, height), (right, width))]
                fro = [slice(max(0, -m), n + min(0, -m)) for m, n in ((down, height), (right, width))]
                wanted[to[0], to[1]] = source[fro[0], fro[1]]
                if np.array_equal(ours, wanted):
                    fits.append((down, right))
        assert len(fits) == 1
        seen.add(fits[0])
    assert len(seen) == (25 if height > 1 else 5)


def spots(map_in, *places):
    """A map with round spots, and where their middles are found in maps: (n, 2) each."""
    rows, columns = np.mgrid[: map_in[0], : map_in[1]]
    plain = sum(np.exp(-((rows - r) ** 2 + (columns - c) ** 2) / 2) for r, c in places)
    x = np.repeat((5000 * plain).astype(np.int16).reshape(1, -1), N, 0)

    def middles(found):
        for r, c in places:
            near = (np.abs(rows - r) < 6) & (np.abs(columns - c) < 6)
            weights = np.where(near, found.reshape(-1, *map_in[:2]), 0).astype(float)
            yield np.stack([(weights * k).sum((1, 2)) / weights.sum((1, 2)) for k in (rows, columns)], 1)

    return x, middles


def test_maps_bend_smoothly():
    map_in, places = (24, 30, 1), [(7, 8), (16, 22)]
    x, middles = spots(map_in, *places)
    found = Augmentation(recipe(map_in, warp=3))(x)
    moved = [at - place for at, place in zip(middles(found), places, strict=True)]
    for one in moved:
        assert np.abs(one).max() < 3.2
        assert (np.abs(one) > 1).mean() > 0.2
        assert np.abs(one.mean(0)).max() < 0.25
    together = np.corrcoef(np.concatenate(moved, 1).T)
    assert np.abs(together[np.triu_indices(4, 1)]).max() < 0.25  # both ways, and far spots, by themselves
    ramp = np.repeat(np.tile(100 * np.arange(30), 24).astype(np.int16)[None], N, 0)
    inside = Augmentation(recipe(map_in, warp=3))(ramp).reshape(N, 24, 30)[:, 4:-4, 4:-4].astype(int)
    assert max(np.abs(np.diff(inside, axis=axis)).max() for axis in (1, 2)) < 200  # no step, no fold
    x, middles = spots(map_in, (11, 13), (11, 15))
    near = list(middles(Augmentation(recipe(map_in, warp=3))(x)))
    assert np.corrcoef(near[0][:, 0], near[1][:, 0])[0, 1] > 0.9


def test_a_signal_bends_in_time_with_all_its_channels():
    x = maps((1, 40, 3)).reshape(N, 40, 3)
    x[:, :, 1], x[:, :, 2] = 0, 10 * x[:, :, 0]
    found = Augmentation(recipe((1, 40, 3), warp=2))(x.reshape(N, -1)).reshape(N, 40, 3)
    assert (found[:, :, 1] == 0).all()
    assert np.abs(found[:, :, 2] - 10 * found[:, :, 0]).max() <= 20
    assert not np.array_equal(found, x)


def test_bent_maps_are_no_longer_than_they_were():
    x = np.random.default_rng(2).normal(0, 1, (N, 10 * 10))
    x[: N // 2] = np.where(np.arange(100) == 44, 1, 0)  # one pixel, which may stretch
    x = (16384 * x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.int16)
    x[: N // 4] //= -5000
    found = Augmentation(recipe((10, 10, 1), warp=9))(x)
    was, now = ((m.astype(np.int64) ** 2).sum(1) for m in (x, found))
    assert (now <= was).all()
    assert (now > 0.98 * was).any()
    assert (np.abs(found).max(1) <= np.abs(x).max(1)).all()


@pytest.mark.parametrize("map_in", [(6, 7, 2), (1, 12, 3)])
def test_a_square_is_cut_out(map_in):
    gone = changed(map_in, cutout=3) == 0
    assert np.array_equal(gone.all(-1), gone.any(-1))
    sizes = gone[..., 0].sum((1, 2))
    whole = 3 * min(3, map_in[0])
    assert sizes.max() == whole
    assert sizes.min() == 2 * min(2, map_in[0])  # in a corner, where it is cropped
    assert (sizes == whole).mean() > 0.4
    for row in gone[:50, ..., 0]:
        down, right = np.flatnonzero(row.any(1)), np.flatnonzero(row.any(0))
        assert row.sum() == len(down) * len(right)
        assert right[-1] - right[0] == len(right) - 1
    assert gone[..., 0].any(0).all()


def test_a_seed_says_what_happens_and_rows_are_drawn_for_one_by_one():
    settings = {"flip": True, "warp": 1, "shift": 2, "cutout": 2}
    found = changed(**settings)
    assert np.array_equal(found, changed(**settings))
    other = Augmentation(recipe(**settings).replace(seed=6))(maps())
    assert not np.array_equal(found.reshape(other.shape), other)
    twice = Augmentation(recipe(**settings))
    assert not np.array_equal(twice(maps()), twice(maps()))
    alike = Augmentation(recipe(**settings))(np.repeat(maps()[:1], N, 0))
    assert len(np.unique(alike, axis=0)) > 100


def test_a_seed_means_the_same_changes_on_every_machine():
    x = np.arange(1, 1 + 8 * 84, dtype=np.int16).reshape(8, 84)
    before = x.copy()
    found = Augmentation(recipe(flip=True, shift=2, cutout=3))(x)
    assert np.array_equal(x, before)
    assert zlib.crc32(found.astype("<i2").tobytes()) == 0x73ED1680
    bent = Augmentation(recipe(flip=True, warp=2))(x)
    assert zlib.crc32(bent.astype("<i2").tobytes()) == 0x51FBD9B


def test_what_nothing_is_said_of_stays_as_it_is():
    assert not Augmentation(recipe())
    assert not Augmentation(Recipe())
    assert Augmentation(recipe(cutout=1))


@pytest.mark.parametrize(("name", "value"), [("flip", True), ("warp", 1), ("shift", 1), ("cutout", 2)])
def test_what_changes_maps_needs_maps(name, value):
    with pytest.raises(RecipeError, match=rf"augment\.{name} = .* names none") as caught:
        Recipe(augment=AugmentRecipe(**{name: value}))
    assert "input_shape" in caught.value.hint


@pytest.mark.parametrize("name", ["warp", "shift", "cutout"])
def test_something_of_a_map_is_left(name):
    assert recipe(**{name: 6})
    with pytest.raises(RecipeError, match="leaves nothing of a map 7 wide"):
        recipe(**{name: 7})
    with pytest.raises(RecipeError, match="lies outside"):
        recipe(**{name: -1})


@pytest.mark.parametrize("setting", [{"flip": True}, {"warp": 1}, {"shift": 1}, {"cutout": 3}])
def test_integers_learn_from_changed_maps(setting):
    digits = load("digits")
    rows = digits.rows(np.flatnonzero(~digits.is_test)[:300])
    plain = recipe((8, 8, 1)).replace(encoder=EncoderRecipe(center=True), epochs=1)
    ours = plain.replace(augment=AugmentRecipe(**setting))
    crcs = [local.trained(r, rows).weights_crc32 for r in (plain, ours, ours)]
    assert crcs[1] == crcs[2] != crcs[0]
