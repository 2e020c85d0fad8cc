"""Recipes with convolutions, as a user runs them on bundled data."""

import json

import pytest
from commands import document, run

from edgehff.model import file
from edgehff.model.float_network import FloatNetwork

RECIPE = """
data = "digits"
input_shape = [8, 8, 1]
layers = [24]
epochs = 3

[encoder]
center = true

[[conv]]
channels = 12
pool = "max"
pool_size = 2
grid = 2

[[conv]]
channels = 16
kernel = [3, 1]
padding = [1, 0]
stride = [1, 2]
grid = 2

[pretrain]
epochs = 4
lr = 0.01
lr_prototypes = 0.01
batch_size = 32
"""
TEXT = "12c3 pool2 grid2 -> 16c3x1 stride1x2 grid2 -> 24"


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE)
    return path


def test_integers_are_trained_measured_and_exported_inward(recipe, tmp_path, capsys):
    target = tmp_path / "m.safetensors"
    code, out, err = run(capsys, "train", recipe, "--arith", "int16", "-o", target)
    assert code == 0, err
    assert f"layers {TEXT}, int16, seed 1" in err
    assert f"wrote {target}" in out
    e = document(capsys, "eval", target)
    assert e["accuracy"] > 0.85
    assert len(e["per_layer"]) == 3
    assert document(capsys, "footprint", target)["weights_crc32"] == e["weights_crc32"]


@pytest.mark.torch
def test_from_float_training_to_integers(torch, recipe, tmp_path, capsys):
    target, integers = tmp_path / "float.safetensors", tmp_path / "int8.safetensors"
    d = document(capsys, "train", recipe, "--arith", "float", "-o", target)
    assert (d["samples"], len(d["updates_all"])) == (4 * 1437, 3)
    network = file.load_any(target)
    assert isinstance(network, FloatNetwork)
    assert d["recipe"] == json.loads(json.dumps(network.recipe.to_dict()))
    before = document(capsys, "eval", target)
    assert before["accuracy"] > 0.85
    q = document(capsys, "quantize", target, "--arith", "int8", "-o", integers)
    after = document(capsys, "eval", integers)
    assert after["weights_crc32"] == q["weights_crc32"]
    assert after["accuracy"] >= before["accuracy"] - 0.02


@pytest.mark.torch
def test_what_changes_maps_has_options(torch, recipe, tmp_path, capsys):
    target = tmp_path / "float.safetensors"

    def crc(*more):
        d = document(capsys, "train", recipe, "--arith", "float", "--epochs", 1, *more, "-o", target)
        return d["weights_crc32"], d["recipe"]["augment"]

    plain, settings = crc()
    assert (settings["flip"], settings["shift"], settings["cutout"]) == (False, 0, 0)
    changed, settings = crc("--flip", "--warp", 1, "--shift", 1, "--cutout", 2)
    assert settings == {"flip": True, "warp": 1, "shift": 1, "cutout": 2}
    assert changed != plain


@pytest.mark.parametrize(
    ("options", "code", "message", "hint"),
    [
        (("--arith", "float", "--shift", 8), 3, "leaves nothing of a map 8 wide", "shift = 1"),
        (("--arith", "float", "--cutout", -1), 3, "augment.cutout = -1 lies outside", "recipe.md"),
    ],
)
def test_what_does_not_fit_is_told(recipe, tmp_path, capsys, options, code, message, hint):
    found, out, err = run(capsys, "train", recipe, *options, "-o", tmp_path / "m")
    assert (found, out) == (code, "")
    said, tried = err.strip().splitlines()[-2:]
    assert message in said
    assert hint in tried
    assert not (tmp_path / "m").exists()


def test_maps_are_named_where_they_are_changed(tmp_path, capsys):
    found, _, err = run(
        capsys, "train", "--data", "digits", "--arith", "float", "--flip", "-o", tmp_path / "m"
    )
    assert found == 3
    assert "augment.flip = true changes maps" in err
    assert "try: input_shape" in err


@pytest.mark.torch
def test_a_device_that_torch_does_not_have_is_told(torch, recipe, tmp_path, capsys):
    options = "--arith", "float", "--device", "cuda:7"
    found, _, err = run(capsys, "train", recipe, *options, "-o", tmp_path / "m")
    assert found == 3
    assert "has no device 'cuda:7' here" in err
    assert "try: --device cpu" in err


@pytest.mark.torch
def test_backpropagation_beside_local_training(torch, recipe, tmp_path, capsys):
    d = document(capsys, "bench", "backprop", recipe, "--epochs", 2, "--seeds", 2)
    assert d["format"] == "edgehff.bench.backprop/1"
    assert (d["data"], d["layers"], d["samples"]) == ("digits", TEXT, 360)
    assert (d["seeds"], d["seed"], d["epochs"]) == (2, 1, 2)
    for way in ("local", "backprop"):
        result = d["results"][way]
        assert len(set(result["accuracies"])) == 2
        assert result["accuracy"] == pytest.approx(sum(result["accuracies"]) / 2)
        assert result["accuracy"] > 0.7
        assert result["seconds"] > 0
    local, backprop = (d["results"][way]["accuracies"] for way in ("local", "backprop"))
    assert local != backprop
    target = tmp_path / "float.safetensors"
    document(capsys, "train", recipe, "--arith", "float", "--epochs", 2, "-o", target)
    assert document(capsys, "eval", target)["accuracy"] == local[0]
    code, out, _ = run(capsys, "bench", "backprop", recipe, "--epochs", 1)
    assert code == 0
    assert "local" in out
    assert "backprop" in out


@pytest.mark.torch
def test_a_benchmark_without_data_says_so(torch, recipe, capsys):
    recipe.write_text(RECIPE.replace('data = "digits"', ""))
    code, _, err = run(capsys, "bench", "backprop", recipe)
    assert code == 3
    assert "names no data set" in err
    assert "--data digits" in err


@pytest.mark.onnx
@pytest.mark.torch
def test_an_exported_file_tells_its_maps(torch, recipe, tmp_path, capsys):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    target, exported = tmp_path / "m.safetensors", tmp_path / "m.onnx"
    assert run(capsys, "train", recipe, "--arith", "int16", "--epochs", 1, "-o", target)[0] == 0
    assert run(capsys, "export", "--target", "onnx", target, "-o", exported)[0] == 0
    code, out, _ = run(capsys, "inspect", exported)
    assert code == 0
    assert "8 x 8 x 1 -> 4 x 4 x 12 -> 4 x 2 x 16" in out
