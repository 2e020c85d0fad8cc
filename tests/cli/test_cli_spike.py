"""`edgehff spike` as a user calls it."""

import shutil
from pathlib import Path

import pytest
from commands import document, run

from edgehff.cli.main import main

pytestmark = pytest.mark.spiking
RECIPE = Path(__file__).resolve().parents[2] / "models/digits-spiking/recipe.toml"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    pytest.importorskip("torch")
    pytest.importorskip("snntorch")
    path = tmp_path_factory.mktemp("spikes") / "spiking.safetensors"
    assert main(["--quiet", "spike", "train", str(RECIPE), "-o", str(path)]) == 0
    return path


def test_digits_in_eight_steps(model, capsys):
    found = document(capsys, "spike", "run", model)
    assert found["samples"] == 360
    assert found["accuracy"] > 0.87
    assert found["accuracy"] == found["accuracy_by_step"][-1]
    assert found["steps"] == 8 == len(found["accuracy_by_step"])
    rates = [layer["rate"] for layer in found["per_layer"]]
    assert all(0.01 < rate < 0.3 for rate in rates)
    early = document(capsys, "spike", "run", model, "--exit-margin", 0.1)
    assert early["steps"] < 6
    assert early["accuracy"] > found["accuracy"] - 0.02
    assert early["synaptic_operations"] < found["synaptic_operations"]


def test_what_a_reader_sees(model, capsys):
    code, out, _ = run(capsys, "spike", "run", model, "--first", 50)
    assert code == 0
    assert "on 50 rows of digits (test)" in out
    assert "after 8.00 steps of 8" in out
    assert "synaptic operations" in out


def test_other_commands_say_what_it_is(model, capsys):
    code, _, err = run(capsys, "eval", model)
    assert (code, "a spiking network" in err, "edgehff spike run" in err) == (3, True, True)


def test_a_recipe_without_spikes_is_refused(tmp_path, capsys):
    recipe = tmp_path / "r.toml"
    shutil.copy(RECIPE.parents[1] / "digits/recipe.toml", recipe)
    code, _, err = run(capsys, "spike", "train", recipe, "-o", tmp_path / "m.safetensors")
    assert (code, "[spiking] steps = 8" in err) == (3, True)
    code, _, err = run(capsys, "spike", "train", recipe, "-o", tmp_path / "no" / "m.safetensors")
    assert (code, "mkdir" in err) == (3, True)
