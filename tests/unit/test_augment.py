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
    settings = {"flip": True, "shift": 2, "cutout": 2}
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


def test_what_nothing_is_said_of_stays_as_it_is():
    assert not Augmentation(recipe())
    assert not Augmentation(Recipe())
    assert Augmentation(recipe(cutout=1))


@pytest.mark.parametrize(("name", "value"), [("flip", True), ("shift", 1), ("cutout", 2)])
def test_what_changes_maps_needs_maps(name, value):
    with pytest.raises(RecipeError, match=rf"augment\.{name} = .* names none") as caught:
        Recipe(augment=AugmentRecipe(**{name: value}))
    assert "input_shape" in caught.value.hint


@pytest.mark.parametrize("name", ["shift", "cutout"])
def test_something_of_a_map_is_left(name):
    assert recipe(**{name: 6})
    with pytest.raises(RecipeError, match="leaves nothing of a map 7 wide"):
        recipe(**{name: 7})
    with pytest.raises(RecipeError, match="lies outside"):
        recipe(**{name: -1})


@pytest.mark.parametrize("setting", [{"flip": True}, {"shift": 1}, {"cutout": 3}])
def test_integers_learn_from_changed_maps(setting):
    digits = load("digits")
    rows = digits.rows(np.flatnonzero(~digits.is_test)[:300])
    plain = recipe((8, 8, 1)).replace(encoder=EncoderRecipe(center=True), epochs=1)
    ours = plain.replace(augment=AugmentRecipe(**setting))
    crcs = [local.trained(r, rows).weights_crc32 for r in (plain, ours, ours)]
    assert crcs[1] == crcs[2] != crcs[0]
