"""`edgehff spike` as a user calls it."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from commands import document, run
from spiking_networks import RUN, network_of, simulator

from edgehff.cli.main import main
from edgehff.geometry import ConvLayer
from edgehff.model import file

pytestmark = pytest.mark.spiking
RECIPE = Path(__file__).resolve().parents[2] / "models/digits-spiking/recipe.toml"
DIGITS = RECIPE.parents[1] / "digits/model.safetensors"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    pytest.importorskip("torch")
    pytest.importorskip("snntorch")
    path = tmp_path_factory.mktemp("spikes") / "spiking.safetensors"
    assert main(["--quiet", "spike", "train", str(RECIPE), "-o", str(path)]) == 0
    return path


def test_digits_in_eight_steps(model, capsys):
    found = document(capsys, "spike", "run", model, "--exit-margin", 0)
    assert found["samples"] == 360
    assert found["accuracy"] > 0.9
    assert found["accuracy"] == found["accuracy_by_step"][-1]
    assert found["steps"] == 8 == len(found["accuracy_by_step"])
    rates = [layer["rate"] for layer in found["per_layer"]]
    assert all(0.01 < rate < 0.3 for rate in rates)
    early = document(capsys, "spike", "run", model)
    assert early["steps"] < 4
    assert early["accuracy"] > found["accuracy"] - 0.02
    assert early["synaptic_operations"] < found["synaptic_operations"]


def test_held_rows_choose_when_to_answer(tmp_path, capsys):
    recipe, model = tmp_path / "r.toml", tmp_path / "m.safetensors"
    short = RECIPE.read_text().replace("epochs = 20", "epochs = 4").replace("[128, 128]", "[48]")
    recipe.write_text(short.replace("exit_margin", "# exit_margin"))
    done = document(capsys, "spike", "train", recipe, "-o", model, "--validation", 0.2)
    margin = done["exit_margin"]
    assert margin > 0
    assert 1 <= done["exit_steps"] < 8
    assert file.load_spiking(model).recipe.spiking.exit_margin == margin
    assert document(capsys, "spike", "run", model)["steps"] < 8
    code, out, _ = run(capsys, "spike", "train", recipe, "-o", model, "--validation", 0.2)
    assert (code, f"answers once a class leads by {margin:g}: " in out) == (0, True)


def test_what_a_reader_sees(model, capsys):
    code, out, _ = run(capsys, "spike", "run", model, "--first", 50, "--exit-margin", 0)
    assert code == 0
    assert "on 50 rows of digits (test)" in out
    assert "after 8.00 steps of 8" in out
    assert "synaptic operations" in out
    assert out.count("%") == 1 + 8 + 2


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


def test_nir_is_written_once_snntorch_gave_the_spikes_again(model, tmp_path, capsys):
    path = tmp_path / "digits.nir"
    found = document(capsys, "export", "--target", "nir", model, "-o", path)
    assert (found["differing"], found["samples"], found["bytes"]) == (0, 100, path.stat().st_size)
    assert found["spikes"] > 1000
    code, out, _ = run(capsys, "export", "-t", "nir", model, "-o", path)
    assert (code, "0 differ" in out) == (0, True)


def test_nir_that_would_not_give_the_spikes_is_not_written(model, tmp_path, capsys, monkeypatch):
    nir = pytest.importorskip("edgehff.spiking.nir")
    real = nir.run_in_snntorch

    def one_more(data, x):
        spikes = real(data, x)
        spikes[0, 0, 0] ^= True
        return spikes

    monkeypatch.setattr(nir, "run_in_snntorch", one_more)
    path = tmp_path / "digits.nir"
    code, _, err = run(capsys, "export", "-t", "nir", model, "-o", path)
    assert (code, path.exists(), "1 of 102,400 slots differ" in err) == (7, False, True)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("{model}", "-o", "digits.onnx"), 3, "-o digits.nir"),
        (("{model}", "-o", "{folder}/no/digits.nir"), 3, "mkdir -p"),
        (("{model}", "--batch", "2"), 2, "--batch is of --target executorch"),
        (("{model}", "--prototypes", "int8"), 2, "--prototypes is of onnx and executorch"),
        ((), 2, "wants MODEL"),
        (("{digits}",), 3, "holds a network that does not spike"),
        (("{max}",), 3, "layer 0: a maximum of spikes"),
    ],
)
def test_what_nir_is_refused_for(model, tmp_path, capsys, arguments, code, words):
    largest = tmp_path / "max.safetensors"
    conv = (ConvLayer(4, pool="max", pool_size=(2, 2)),)
    file.save(network_of(conv), largest)
    given = [a.format(model=model, folder=tmp_path, max=largest, digits=DIGITS) for a in arguments]
    found, _, err = run(capsys, "export", "-t", "nir", *given)
    assert (found, words in err) == (code, True), err


def test_spikes_elsewhere_as_a_user_sees_them(model, tmp_path, capsys):
    home = simulator(tmp_path, "twin", RUN.format(change=""))
    found = document(capsys, "spike", "verify", model, "--first", 20, "--simulators", tmp_path)
    (line,) = found["simulators"]
    assert (found["samples"], line["passed"], line["differing"], line["layers"]) == (20, True, 0, [0, 1])
    code, out, _ = run(
        capsys, "spike", "verify", model, "--first", 20, "--simulators", tmp_path, "--markdown"
    )
    assert code == 0
    assert out.splitlines()[0] == "| simulator | version | layers seen | slots | spikes | differing |"
    assert out.splitlines()[2].startswith("| twin | 7.1 | 0, 1 | 40,960 |")
    (home / "run.py").write_text(RUN.format(change='out["1"][3, 2, 5] ^= True'))
    code, out, err = run(capsys, "spike", "verify", model, "--first", 20, "--simulators", tmp_path)
    assert (code, "twin" in out) == (7, True)
    assert "1 of 40,960 slots differ, the first in layer 1, sample 3, step 2, neuron 5" in err
    assert "not installed, and so not asked: brian2, lava" in err
    code, _, err = run(capsys, "spike", "verify", model, "--simulators", tmp_path, "--simulator", "x")
    assert (code, "there are: twin" in err) == (4, True)


def test_a_recipe_by_folds(tmp_path, capsys):
    recipe = tmp_path / "r.toml"
    short = (
        RECIPE.read_text()
        .replace("epochs = 20", "epochs = 5")
        .replace("layers = [128, 128]", "layers = [64]")
    )
    recipe.write_text(short)
    found = document(capsys, "bench", "spiking", recipe, "--folds", 3)
    assert [fold["samples"] for fold in found["folds"]] == [599, 599, 599]
    accuracies = [fold["accuracy"] for fold in found["folds"]]
    assert min(accuracies) > 0.6
    assert found["accuracy"] == pytest.approx(sum(accuracies) / 3)
    code, out, _ = run(capsys, "bench", "spiking", recipe, "--folds", 3)
    assert (code, "in the mean of the folds" in out) == (0, True)
    code, _, err = run(capsys, "bench", "spiking", recipe, "--by", "person")
    assert (code, "does not say whose rows are whose" in err) == (3, True)


def test_a_stream_of_changes_is_learned(tmp_path, capsys):
    rng = np.random.default_rng(1)
    y = np.arange(120) % 2
    x = np.cumsum(rng.integers(-2, 3, (120, 12, 2)) * np.stack([1 + 3 * y, 4 - 3 * y], -1)[:, None], axis=1)
    np.savez(tmp_path / "waves.npz", X=x.clip(-128, 127).astype(np.int8), y=y, is_test=np.arange(120) >= 80)
    recipe, model = tmp_path / "r.toml", tmp_path / "m.safetensors"
    spiking = '[spiking]\nsteps = 12\ncode = "delta"\ndelta = 2\nbeta = 0.9\n'
    head = f'data = "{tmp_path}/waves.npz"\nlayers = [32]\narith = "int8"\ngate = "off"\n'
    recipe.write_text(
        head + spiking + "[pretrain]\nlr = 0.01\nlr_prototypes = 0.01\nbatch_size = 8\nepochs = 20\n"
    )
    done = document(capsys, "spike", "train", recipe, "-o", model, "--validation", 0.2)
    assert done["exit_margin"] == done["recipe"]["spiking"]["exit_margin"]
    assert done["exit_accuracy"] >= done["validation_accuracy"] - 0.0005
    assert done["exit_steps"] <= 12
    found = document(capsys, "spike", "run", model, "--exit-margin", 0)
    assert (found["accuracy"] > 0.9, found["steps"]) == (True, 12)
    other = recipe.read_text().replace("steps = 12", "steps = 9")
    recipe.write_text(other)
    code, _, err = run(capsys, "spike", "train", recipe, "-o", model)
    assert (code, "samples of (12, 2) are no 9 steps" in err, "steps = 12" in err) == (3, True, True)
    recipe.write_text(other + "[encoder]\ncenter = true\n")
    code, _, err = run(capsys, "spike", "train", recipe, "-o", model)
    assert (code, "takes no [encoder]" in err) == (3, True)
    recipe.write_text(other)
    np.savez(tmp_path / "waves.npz", X=x / 128.0, y=y)
    code, _, err = run(capsys, "spike", "train", recipe, "-o", model)
    assert (code, "streams are whole numbers" in err) == (3, True)
