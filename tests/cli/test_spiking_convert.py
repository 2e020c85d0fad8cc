"""Networks that were made to spike: the same weights, thresholds that answer best."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from commands import document, run

from edgehff.data.dataset import Dataset
from edgehff.data.sources import load
from edgehff.data.split import train_test
from edgehff.errors import DataError
from edgehff.geometry import ConvLayer
from edgehff.model import file
from edgehff.model.encoding import Encoding
from edgehff.model.float_network import FloatLayer, FloatNetwork, float_view
from edgehff.quantize.network import quantize
from edgehff.recipe import Recipe, SpikingRecipe
from edgehff.spiking import convert as conversion
from edgehff.spiking.convert import convert
from edgehff.spiking.simulate import run as simulate

MODELS = Path(__file__).resolve().parents[2] / "models"
STEPS = SpikingRecipe(steps=8)


def rows_of(network: FloatNetwork, n: int = 60) -> Dataset:
    """Noise, each row labeled as the network answers it."""
    x = np.random.default_rng(1).integers(0, 256, (n, 84)).astype(np.uint8)
    y = network.predict(network.encode(x)).astype(np.uint16)
    return Dataset("noise", x, y, ("a", "b", "c"))


def float_network(conv: tuple[ConvLayer, ...] = ()) -> FloatNetwork:
    rng = np.random.default_rng(5)
    options = {"conv": conv, "input_shape": (6, 7, 2)} if conv else {}
    recipe = Recipe(layers=(40, 30), arith="float", gate=None, **options)
    layers = []
    for shape in recipe.shapes(84):
        prototypes = rng.normal(size=(3, 1, shape.head))
        prototypes /= np.linalg.norm(prototypes, axis=2, keepdims=True)
        weight = rng.normal(size=(shape.n_out, shape.n_in)) * 40
        layers.append(FloatLayer(weight.astype(np.float32), prototypes.astype(np.float32)))
    return FloatNetwork(recipe, ("a", "b", "c"), Encoding("uint8", (84, 1)), tuple(layers))


@pytest.mark.parametrize("conv", [(), (ConvLayer(8, pool="max", pool_size=(2, 2)),)])
def test_a_network_answers_alike_once_it_spikes(conv: tuple[ConvLayer, ...]) -> None:
    network = float_network(conv)
    rows = rows_of(network)
    spiking = convert(network, rows, STEPS)
    whole = quantize(network, "int8")
    for layer, theirs in zip(spiking.layers, whole.layers, strict=True):
        assert np.array_equal(layer.weight, theirs.weight)
    again = simulate(spiking, spiking.encode(rows.x)).answers
    assert (again == rows.y).mean() > 0.85
    assert spiking.recipe.spiking == STEPS
    assert convert(whole, rows, STEPS).weights_crc32 == spiking.weights_crc32


def test_wide_weights_are_taken_as_the_forward_pass_takes_them() -> None:
    network = quantize(float_network(), "int16")
    spiking = convert(network, rows_of(float_view(network)), STEPS)
    for layer, theirs in zip(spiking.layers, network.layers, strict=True):
        assert np.array_equal(layer.weight, (theirs.weight.astype(int) + 128) >> 8)


def test_each_threshold_is_what_its_layer_answers_best_with() -> None:
    network = file.load_any(MODELS / "emg-gestures/model.safetensors")
    data = load("emg-gestures")
    rows = data.rows(train_test(data)[0][:1000])
    spiking = convert(network, rows, STEPS)
    x = spiking.encode(rows.x)
    for i, layer in enumerate(spiking.layers):
        part = conversion._first_layers(spiking, i + 1)
        assert len(part.layers) == i + 1
        right = []
        for factor in (0.02, 1, 5):
            other = conversion._with_threshold(part, i, int(layer.threshold * factor))
            right.append((simulate(other, x).answers == rows.y).mean())
        assert right[1] > max(right[0], right[2]) + 0.005, (i, right)


def test_of_the_thresholds_tried_the_best_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    network = file.load_any(MODELS / "emg-gestures/model.safetensors")
    data = load("emg-gestures")
    rows = data.rows(train_test(data)[0][:500])
    found = {}
    for shares in ((0.001,), (0.95,), (0.001, 0.95), (0.95, 0.001)):
        monkeypatch.setattr(conversion, "SHARES", shares)
        found[shares] = convert(network, rows, STEPS).layers[0].threshold
    assert found[0.001,] < found[0.95,] == found[0.001, 0.95] == found[0.95, 0.001]


def test_layers_that_nothing_excites_are_named() -> None:
    network = float_network()
    rows = rows_of(network)
    first, second = network.layers
    dead = FloatLayer(-np.abs(second.weight), second.prototypes)
    other = FloatNetwork(network.recipe, network.class_names, network.encoding, (first, dead))
    with pytest.raises(DataError, match="layer 1: no neuron gets a positive current"):
        convert(other, rows, STEPS)


def test_gestures_lose_little(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, path = MODELS / "emg-gestures/model.safetensors", tmp_path / "s.safetensors"
    found = document(capsys, "spike", "convert", model, "-o", path)
    assert found["accuracy"] > found["accuracy_of_model"] - 0.02
    assert found["accuracy_of_model"] == document(capsys, "eval", model)["accuracy"]
    ran = document(capsys, "spike", "run", path)
    assert (ran["accuracy"], ran["samples"]) == (found["accuracy"], found["samples"])
    network = file.load_spiking(path)
    train, _ = train_test(load("emg-gestures"))
    assert (
        network.weights_crc32
        == convert(file.load_any(model), load("emg-gestures").rows(train), STEPS).weights_crc32
    )


def test_what_cannot_be_converted_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = MODELS / "emg-gestures/model.safetensors"
    code, _, err = run(capsys, "spike", "convert", model, "-o", tmp_path / "s.safetensors", "--code", "rate")
    assert (code, "cannot be negative" in err) == (3, True)
    code, _, err = run(capsys, "spike", "convert", model, "-o", tmp_path / "no" / "s.safetensors")
    assert (code, "mkdir -p" in err) == (3, True)
