"""Every model that is kept: it is of its recipe, its card tells of its very weights, and it is small."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from edgehff import recipe
from edgehff.data.sources import load
from edgehff.model import file
from edgehff.model.catalog import RELEASES
from edgehff.recipe import PretrainRecipe
from edgehff.spiking.simulate import run
from edgehff.train import local
from edgehff.train.metrics import accuracy

ROOT = Path(__file__).parents[2]
MODELS = sorted(path.parent for path in ROOT.glob("models/*/model.safetensors"))


def load_it(path):
    return file.load_spiking(path) if path.parent.name.endswith("-spiking") else file.load(path)


def test_there_are_models():
    names = {
        "activity",
        "digits",
        "digits-spiking",
        "emg-gestures",
        "emg-microbit",
        "fashion-conv",
        "mnist-conv",
        "mnist-conv-spiking",
        "spoken-digits",
    }
    assert names <= {path.name for path in MODELS}


@pytest.mark.parametrize("folder", MODELS, ids=lambda path: path.name)
def test_a_model_is_small_and_of_its_recipe(folder):
    path = folder / "model.safetensors"
    assert path.stat().st_size < 300_000
    network, written = load_it(path), recipe.load(folder / "recipe.toml")
    same = {"arith": network.recipe.arith, "pretrain": PretrainRecipe()}
    assert replace(network.recipe, **same) == replace(written, **same)


@pytest.mark.parametrize("folder", MODELS, ids=lambda path: path.name)
def test_a_card_tells_of_these_weights_their_data_and_their_licence(folder):
    card = (folder / "CARD.md").read_text(encoding="utf-8")
    network = load_it(folder / "model.safetensors")
    assert f"weights `{network.weights_crc32:08x}`" in card
    rows = dict(re.findall(r"^\| (\w[\w ]*) \| (.+) \|$", card, re.MULTILINE))
    assert {"network", "data", "trained on", "licence"} <= set(rows)
    assert f"models/{folder.name}/recipe.toml" in card
    assert "## What it is worth" in card


def test_the_spiking_digits_are_worth_what_their_card_says():
    folder = ROOT / "models" / "digits-spiking"
    card = (folder / "CARD.md").read_text(encoding="utf-8")
    network = file.load_spiking(folder / "model.safetensors")
    data = load("digits")
    test = data.rows(data.is_test)
    for margin, what in ((None, "answered once a class leads"), (0.0, "all 8 steps")):
        found = run(network, network.encode(test.x), margin)
        line = next(line for line in card.splitlines() if line.startswith(f"| {what}"))
        right = 100 * float((found.answers == test.y).mean())
        assert f"{right:.2f} | {found.steps.mean():.2f} | {found.work:,.0f} |" in line


@pytest.mark.parametrize("release", RELEASES.values(), ids=lambda release: release.name)
def test_a_model_that_is_fetched_has_its_recipe_and_its_card(release):
    folder = ROOT / "models" / release.name
    assert release.bytes >= 300_000
    assert not (folder / "model.safetensors").exists()
    assert recipe.load(folder / "recipe.toml").data
    card = (folder / "CARD.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| (\w[\w ]*) \| (.+) \|$", card, re.MULTILINE))
    assert {"network", "data", "trained on", "budget", "licence"} <= set(rows)
    assert f"edgehff model get {release.name}" in card
    assert "## What it is worth" in card


def test_the_digits_are_made_again_to_the_bit_and_are_worth_what_the_card_says():
    folder = ROOT / "models" / "digits"
    digits = load("digits")
    made = local.trained(recipe.load(folder / "recipe.toml"), digits.rows(~digits.is_test))
    kept = file.load(folder / "model.safetensors")
    assert (made.weights_crc32, made.state_crc32) == (kept.weights_crc32, kept.state_crc32)
    test = digits.rows(digits.is_test)
    found = accuracy(kept.to_core().predict(kept.encode(test.x)), test.y)
    figure = re.search(r"^\| \| (\d+\.\d) ", (folder / "CARD.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert figure
    assert f"{100 * found:.1f}" == figure[1]
