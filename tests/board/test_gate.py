"""The gate: 64-32-10 in int8 trains in 8 KB of flash and 4 KB of RAM, at so many instructions a step."""

import shutil
from pathlib import Path

import pytest

from edgehff import recipe as recipes
from edgehff.data.sources import load
from edgehff.data.split import train_test
from edgehff.train.local import trained
from firmware_bridge.boards import board
from firmware_bridge.measure import measure, train_profile

RECIPE = Path(__file__).parents[2] / "models" / "digits-small" / "recipe.toml"
FIRST = {"microbit": 70_000, "mps2-an386": 42_000}
ALL = {"microbit": 42_000, "mps2-an386": 24_000}


@pytest.fixture(scope="module")
def digits():
    """The rows to learn from, and a network of the recipe."""
    data = load("digits")
    rows = data.rows(train_test(data)[0])
    return rows, trained(recipes.load(RECIPE), rows)


def need(name):
    for tool in (board(name).compiler, board(name).emulator[0]):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")


@pytest.mark.qemu
@pytest.mark.parametrize("name", FIRST)
def test_the_first_steps_and_the_memory(name, digits):
    need(name)
    rows, network = digits
    counts, _ = train_profile(board(name), network, rows, 1, lean=True)
    assert sum(counts.calls[:200]) / 200 <= FIRST[name]
    found = measure(board(name), network, load("digits"), steps=5, predictions=5, lean=True)
    assert sum(found.flash.values()) <= 8192
    assert sum(found.ram.values()) <= 4096
    assert found.painted <= found.bound.bytes


@pytest.mark.qemu
@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_a_whole_training(name, digits):
    need(name)
    rows, network = digits
    counts, learned = train_profile(board(name), network, rows, network.recipe.epochs, lean=True)
    assert len(counts.calls) == 28_740
    assert sum(counts.calls[:200]) / 200 <= FIRST[name]
    assert counts.mean <= ALL[name]
    assert learned.weights_crc32 == network.weights_crc32


test_a_whole_training.limit_s = 600
