"""Train in float, eval, quantize, as a user runs them; only training needs torch."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
from commands import document, run

from edgehff import extras
from edgehff.cli.output import Output
from edgehff.data.sources import load as load_data
from edgehff.data.split import train_test
from edgehff.model import file
from edgehff.model.float_network import FloatLayer, FloatNetwork
from edgehff.model.network import Network
from edgehff.recipe import EncoderRecipe, Recipe
from edgehff.train.local import trained


def refused(capsys, *args):
    """Message and hint of an input error."""
    code, out, err = run(capsys, *args)
    assert (code, out) == (3, ""), err
    assert "Traceback" not in err
    message, hint = err.strip().splitlines()[-2:]
    assert message.startswith("error: ")
    assert hint.startswith("  try: ")
    return message, hint


@pytest.fixture
def data(tmp_path):
    """Three classes in samples of 12 values: 120 training rows and 60 test rows."""
    rng = np.random.default_rng(4)
    y = np.tile(np.arange(3), 60)
    x = rng.integers(-20, 20, (180, 12)) + 25 * np.eye(3, 12, dtype=np.int64)[y]
    path = tmp_path / "data.npz"
    np.savez(
        path, X=x.astype(np.int8), y=y, is_test=np.arange(180) % 90 >= 60,
        class_names=np.array(["rest", "fist", "wave"]),
    )  # fmt: skip
    return path


@pytest.fixture
def float_model(tmp_path, data):
    """A float network that knows the data, made without torch."""
    whole = load_data(data)
    recipe = Recipe(layers=(16, 8), data=str(data), epochs=4, encoder=EncoderRecipe(center=True))
    core = trained(recipe, whole.rows(train_test(whole)[0]))
    layers = []
    for layer in core.layers:
        length = np.linalg.norm(layer.prototypes.astype(np.float64), axis=2, keepdims=True)
        weight, prototypes = layer.weight / 5000, layer.prototypes / length
        layers.append(FloatLayer(weight.astype(np.float32), prototypes.astype(np.float32), 0.8))
    network = FloatNetwork(recipe.replace(arith="float"), core.class_names, core.encoding, tuple(layers), 480)
    path = tmp_path / "float.safetensors"
    file.save(network, path)
    return path


@pytest.fixture
def train(data, tmp_path):
    """The arguments of a small float training, and where its model goes."""
    target = tmp_path / "trained.safetensors"
    options = ["--layers", "16,8", "--arith", "float", "--epochs", 5, "--lr", 0.02, "--batch-size", 16]
    return ["train", "--data", data, *options, "-o", target], target


@pytest.mark.torch
def test_training_in_float_says_what_it_did(torch, train, capsys):
    args, target = train
    d = document(capsys, *args, "--center", "--lr-prototypes", 0.03, "--lr-final", 0.5, "--optimizer", "sgd")
    assert d["format"] == "edgehff.train/1"
    assert d["samples"] == 5 * 120
    assert (len(d["updates"]), len(d["updates_all"])) == (2, 2)
    assert 0 < d["updates_all"][0] <= 1
    assert d["online_accuracy"] > 0.8
    assert d["validation_accuracy"] is None
    assert (d["state_crc32"], d["saturated"]) == (None, 0.0)
    assert d["model"] == str(target)
    network = file.load_any(target)
    assert isinstance(network, FloatNetwork)
    assert d["weights_crc32"] == f"{network.weights_crc32:08x}"
    assert network.step == 600
    assert d["recipe"] == json.loads(json.dumps(network.recipe.to_dict()))
    assert d["recipe"]["pretrain"] == {
        "optimizer": "sgd", "lr": 0.02, "lr_prototypes": 0.03, "lr_final": 0.5, "weight_decay": 0.0,
        "dropout": 0.0, "batch_size": 16, "epochs": 5,
    }  # fmt: skip
    plain = Recipe()
    own = {name: d["recipe"][name] for name in ("epochs", "lr", "lr_prototypes", "lr_final")}
    assert own == {name: getattr(plain, name) for name in own}


@pytest.mark.torch
def test_training_in_float_names_the_next_step(torch, train, capsys):
    args, target = train
    code, out, err = run(capsys, *args, "--validation", 0.25)
    assert code == 0, err
    assert f"wrote {target}" in out
    assert "at their limit" not in out
    assert f"next: edgehff quantize {target} " in err
    assert "16 -> 8, float, seed 1" in err
    assert "pass   5" in err
    assert "validation" in err


@pytest.mark.torch
def test_the_bar_runs_over_the_passes_in_float(torch, train, capsys, monkeypatch):
    totals, progress = [], Output.progress

    def spy(self, total, description):
        totals.append(total)
        return progress(self, total, description)

    monkeypatch.setattr(Output, "progress", spy)
    assert run(capsys, *train[0])[0] == 0
    assert totals == [5 * 120]


@pytest.mark.torch
def test_a_recipe_of_float_and_the_options_over_it(torch, data, tmp_path, capsys):
    recipe, target = tmp_path / "recipe.toml", tmp_path / "m.safetensors"
    recipe.write_text(
        f'data = "{data}"\nlayers = [9]\nepochs = 77\narith = "float"\n'
        '[pretrain]\nepochs = 2\noptimizer = "sgd"\ndropout = 0.1\n'
    )
    d = document(capsys, "train", recipe, "--epochs", 1, "--weight-decay", 0.01, "-o", target)
    assert (d["samples"], d["recipe"]["layers"], d["recipe"]["epochs"]) == (120, [9], 77)
    p = d["recipe"]["pretrain"]
    assert (p["epochs"], p["optimizer"], p["dropout"], p["weight_decay"]) == (1, "sgd", 0.1, 0.01)


@pytest.mark.torch
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(torch, train, capsys):
    args, _ = train

    def crc(*more):
        return document(capsys, *args, *more)["weights_crc32"]

    assert crc() == crc() == crc("--seed", 1) != crc("--seed", 2)


@pytest.mark.torch
def test_test_rows_are_not_touched(torch, train, data, capsys):
    args, _ = train
    before = document(capsys, *args, "--center")["weights_crc32"]
    with np.load(data) as z:
        arrays = dict(z)
    test = arrays["is_test"]
    arrays["X"][test], arrays["y"][test] = 99, 0
    np.savez(data, **arrays)
    assert document(capsys, *args, "--center")["weights_crc32"] == before
    arrays["y"][~test] = (arrays["y"][~test] + 1) % 3
    np.savez(data, **arrays)
    assert document(capsys, *args, "--center")["weights_crc32"] != before


@pytest.mark.torch
def test_from_float_training_to_a_model_that_goes_on_learning(torch, train, tmp_path, capsys):
    args, target = train
    integers, mine = tmp_path / "int8.safetensors", tmp_path / "mine.safetensors"
    t = document(capsys, *args, "--center", "--epochs", 20)
    e = document(capsys, "eval", target)
    assert (e["arith"], e["weights_crc32"]) == ("float", t["weights_crc32"])
    assert e["accuracy"] > 0.8
    q = document(capsys, "quantize", target, "--arith", "int8", "-o", integers)
    after = document(capsys, "eval", integers)
    assert after["weights_crc32"] == q["weights_crc32"]
    assert after["accuracy"] >= e["accuracy"] - 1 / 60
    p = document(capsys, "personalize", integers, "-o", mine)
    assert (p["samples"], p["steps"]) == (120, 20 * 120 + 120)
    assert document(capsys, "footprint", mine)["weights_crc32"] == p["weights_crc32"] != q["weights_crc32"]


@pytest.mark.torch
def test_rates_without_bound_end_without_a_model(torch, train, capsys):
    args, target = train
    message, hint = refused(capsys, *args, "--lr", 10, "--lr-final", 1, "--weight-decay", 1, "--epochs", 40)
    assert "made weights infinite" in message
    assert "pretrain.lr" in hint
    assert not target.exists()


@pytest.mark.parametrize(
    ("option", "message", "hint"),
    [
        (("--optimizer", "adma"), "pretrain.optimizer = 'adma' is none of adam, sgd", "'adam'"),
        (("--optimizer", "sdg"), "pretrain.optimizer = 'sdg' is none of adam, sgd", "'sgd'"),
        (("--dropout", "0.95"), "pretrain.dropout = 0.95 lies outside 0 to 0.9", "recipe.md"),
        (("--batch-size", "0"), "pretrain.batch_size = 0 lies outside 1 to", "recipe.md"),
        (("--epochs", "0"), "pretrain.epochs = 0 lies outside 1 to", "recipe.md"),
        (("--lr", "11"), "pretrain.lr = 11.0 lies outside 0 to 10", "recipe.md"),
        (("--lr", "nan"), "pretrain.lr = nan is not finite", "lr = "),
        (("--arith", "flaot"), "arith = 'flaot' is none of int8, int16, float", "arith = 'float'"),
    ],
)
def test_a_bad_option_is_refused_with_what_is_possible(train, capsys, option, message, hint):
    args, target = train
    said, tried = refused(capsys, *args, *option)
    assert message in said
    assert hint in tried
    assert not target.exists()


def test_without_torch_the_extra_is_named_and_nothing_is_written(train, capsys, monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda _: None)
    args, target = train
    before = sorted(target.parent.iterdir())
    code, out, err = run(capsys, *args)
    assert (code, out) == (4, "")
    assert "error: torch is not installed" in err
    assert 'try: pip install "edgehff[torch]"' in err
    assert "Traceback" not in err
    assert sorted(target.parent.iterdir()) == before


def test_what_is_float_already_needs_no_torch(float_model, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda _: None)
    monkeypatch.setitem(sys.modules, "torch", None)
    assert document(capsys, "eval", float_model)["accuracy"] > 0.8
    assert run(capsys, "quantize", float_model, "-o", tmp_path / "q.safetensors")[0] == 0


def test_eval_of_a_float_model(float_model, capsys):
    d = document(capsys, "eval", float_model)
    assert (d["samples"], d["arith"], d["class_names"]) == (60, "float", ["rest", "fist", "wave"])
    assert d["weights_crc32"] == f"{file.load_any(float_model).weights_crc32:08x}"
    matrix = np.array(d["confusion"])
    assert matrix.sum(axis=1).tolist() == [20, 20, 20]
    assert d["accuracy"] == np.trace(matrix) / 60 > 0.8
    network, whole = file.load_any(float_model), load_data(file.load_any(float_model).recipe.data)
    rows = whole.rows(train_test(whole)[1])
    answers = network.layer_similarities(network.encode(rows.x)).argmax(axis=2)
    assert d["per_layer"] == [np.mean(answers[:, i] == rows.y) for i in (0, 1)]
    code, out, _ = run(capsys, "eval", float_model)
    assert code == 0
    assert "each layer alone" in out


@pytest.mark.parametrize(("join", "layer"), [("last", 1), ("weighted", 0)])
def test_eval_joins_float_layers_as_the_recipe_says(float_model, capsys, join, layer):
    network = file.load_any(float_model)
    recipe = network.recipe.replace(join=join, join_weights=(1.0, 0.0))
    file.save(replace(network, recipe=recipe), float_model)
    d = document(capsys, "eval", float_model)
    assert d["accuracy"] == d["per_layer"][layer]


@pytest.mark.parametrize("arith", ["int8", "int16"])
def test_quantize_writes_a_model_for_the_core(float_model, tmp_path, capsys, arith):
    before, target = float_model.read_bytes(), tmp_path / "q.safetensors"
    d = document(capsys, "quantize", float_model, "--arith", arith, "-o", target)
    assert d["format"] == "edgehff.quantize/1"
    assert (d["model"], d["output"], d["arith"]) == (str(float_model), str(target), arith)
    network = file.load(target)
    assert isinstance(network, Network)
    assert network.recipe.arith == arith
    assert d["weights_crc32"] == f"{network.weights_crc32:08x}"
    assert d["state_crc32"] == f"{network.state_crc32:08x}"
    assert 0 <= d["saturated"] < 0.01
    assert float_model.read_bytes() == before
    e, f = document(capsys, "eval", target), document(capsys, "eval", float_model)
    assert abs(e["accuracy"] - f["accuracy"]) <= 1 / 60


def test_quantize_makes_int16_unless_told_and_says_what_is_next(float_model, tmp_path, capsys):
    target = tmp_path / "q.safetensors"
    code, out, err = run(capsys, "quantize", float_model, "-o", target)
    assert code == 0, err
    assert out.startswith(f"wrote {target}  int16, ")
    assert f"weights {file.load(target).weights_crc32:08x}" in out
    assert f"next: edgehff eval {target}" in err
    assert file.load(target).recipe.arith == "int16"


def test_integers_are_not_quantized_again(float_model, tmp_path, capsys):
    first, second = tmp_path / "q.safetensors", tmp_path / "again.safetensors"
    assert run(capsys, "quantize", float_model, "--arith", "int8", "-o", first)[0] == 0
    message, hint = refused(capsys, "quantize", first, "-o", second)
    assert "holds integers already (int8)" in message
    assert "--arith float" in hint
    assert not second.exists()


def test_a_missing_or_damaged_file_is_not_quantized(float_model, tmp_path, capsys):
    target = tmp_path / "q.safetensors"
    message, hint = refused(capsys, "quantize", tmp_path / "none.safetensors", "-o", target)
    assert "none.safetensors" in message
    assert "edgehff train" in hint
    data = float_model.read_bytes()
    float_model.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert "holds no valid network" in refused(capsys, "quantize", float_model, "-o", target)[0]
    assert not target.exists()


def test_a_network_without_weights_is_not_quantized(float_model, tmp_path, capsys):
    network, target = file.load_any(float_model), tmp_path / "q.safetensors"
    silent = replace(network.layers[1], weight=np.zeros((8, 16), np.float32))
    file.save(replace(network, layers=(network.layers[0], silent)), float_model)
    assert "layer 1: all weights are zero" in refused(capsys, "quantize", float_model, "-o", target)[0]
    assert not target.exists()


def test_quantize_into_a_folder_that_is_missing(float_model, tmp_path, capsys):
    message, hint = refused(capsys, "quantize", float_model, "-o", tmp_path / "no" / "q.safetensors")
    assert "cannot write" in message
    assert "folder" in hint


@pytest.mark.parametrize("args", [("--arith", "float", "-o", "x"), ("--arith", "int4", "-o", "x"), ()])
def test_a_wrong_use_of_quantize_is_told(float_model, tmp_path, monkeypatch, capsys, args):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, "quantize", float_model, *args)
    assert (code, out) == (2, "")
    assert "edgehff quantize --help" in err
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    "args",
    [("personalize",), ("footprint",), ("eval", "--int8-prototypes")],
    ids=["personalize", "footprint", "eval"],
)
def test_what_needs_integers_says_how_to_get_them(float_model, tmp_path, capsys, args):
    before = sorted(tmp_path.iterdir())
    message, hint = refused(capsys, args[0], float_model, *args[1:])
    assert f"{float_model} holds a float network" in message
    assert f"edgehff quantize {float_model} --arith int16 -o " in hint
    assert sorted(tmp_path.iterdir()) == before


def test_the_hint_can_be_run(float_model, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _, hint = refused(capsys, "footprint", float_model)
    command = hint.removeprefix("  try: edgehff ").split()
    assert run(capsys, *command)[0] == 0
    assert document(capsys, "footprint", command[-1])["weights_crc32"]


def test_footprint_of_a_folder_whose_newest_model_is_float(float_model, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _, hint = refused(capsys, "footprint")
    assert f"edgehff quantize {float_model.name} " in hint


def test_the_float_model_is_not_written_over(float_model, capsys):
    before = float_model.read_bytes()
    said, _ = refused(capsys, "quantize", float_model, "-o", float_model)
    assert "is the float model itself" in said
    assert float_model.read_bytes() == before
