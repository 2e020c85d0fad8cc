"""`edgehff export --target akida` as a user calls it."""

from dataclasses import replace
from pathlib import Path

from commands import document, run

from edgehff.data.sources import load
from edgehff.data.split import train_test
from edgehff.model import file
from edgehff.recipe import EncoderRecipe, Recipe
from edgehff.spiking.targets.akida import from_bytes
from edgehff.train.local import trained


def test_export_as_a_user_sees_it(tmp_path, capsys):
    train, test = (load("digits").rows(at) for at in train_test(load("digits")))
    recipe = Recipe(layers=(48, 32), data="digits", encoder=EncoderRecipe(), epochs=6, join="last")
    network = trained(recipe, train)
    model = tmp_path / "m.safetensors"
    file.save(network, model)
    found = document(capsys, "export", "--target", "akida", model)
    path = tmp_path / "m.akida.npz"
    assert (found["file"], found["bytes"], found["samples"]) == (str(path), path.stat().st_size, 360)
    made = from_bytes(path.read_bytes())
    assert found["accuracy"] == (made.predict(test.x) == test.y).mean()
    assert found["model_accuracy"] == found["last_layer_accuracy"] > 0.85
    code, out, _ = run(capsys, "export", "-t", "akida", model)
    assert (code, f"Akida's integers {found['accuracy']:.2%}" in out, "joins" in out) == (0, True, False)
    file.save(replace(network, recipe=network.recipe.replace(join="sum_logp")), model)
    code, out, _ = run(capsys, "export", "-t", "akida", model)
    assert (code, "the model joins all layers'" in out) == (0, True)


def test_what_the_command_is_refused_for(tmp_path, capsys):
    centered = Path(__file__).resolve().parents[2] / "models/digits/model.safetensors"
    cases = [
        ((centered,), 3, "encoder.center"),
        ((centered, "-o", "a.onnx"), 3, "does not end in .npz"),
        ((centered, "-o", tmp_path / "no" / "a.npz"), 3, "mkdir -p"),
        ((centered, "--batch", 2), 2, "--batch is of --target executorch"),
        ((centered, "--prototypes", "int8"), 2, "--prototypes is of onnx and executorch"),
    ]
    for arguments, wanted, words in cases:
        code, _, err = run(capsys, "export", "-t", "akida", *arguments)
        assert (code, words in err) == (wanted, True), err
