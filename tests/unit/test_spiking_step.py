"""One step of a spiking network in onnxruntime and ExecuTorch: the spikes of simulate.py, every one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from spiking_networks import network_of, samples

from edgehff.errors import ModelFileError, RecipeError, ShapeError
from edgehff.export import metadata
from edgehff.export.artifact import open_artifact
from edgehff.export.forms import FORMS
from edgehff.export.step import step_of
from edgehff.export.step_run import StepFile, open_step
from edgehff.geometry import ConvLayer
from edgehff.model.encoding import Encoding
from edgehff.model.spiking_network import SpikingLayer, SpikingNetwork
from edgehff.recipe import Recipe, SpikingRecipe
from edgehff.spiking.chain import inputs_of, trains_of
from edgehff.spiking.simulate import cosines_of

pytestmark = pytest.mark.spiking
CONVS = {
    "dense": (),
    "none": (ConvLayer(4, stride=(2, 1), grid=(2, 3)),),
    "mean": (ConvLayer(4, kernel=(2, 2), padding=(0, 1), pool="mean", pool_size=(2, 3), grid=(1, 2)),),
    "max": (
        ConvLayer(4, pool="max", pool_size=(2, 2), grid=(1, 3)),
        ConvLayer(4, kind="depthwise", kernel=(2, 2), padding=(0, 1), pool="mean", pool_size=(1, 2)),
    ),
}
RESETS = [("zero", 1.0), ("subtract", 1.0), ("zero", 0.5), ("subtract", 0.5)]


def marked(form: str, *case: object) -> object:
    return pytest.param(form, *case, marks=getattr(pytest.mark, FORMS[form].target))


ANY_FORM = pytest.mark.parametrize("form", [marked("onnx"), marked("executorch")])


def file_of(folder: Path, network: SpikingNetwork, form: str, batch: int = 1) -> Path:
    pytest.importorskip({"onnx": "onnxruntime"}.get(FORMS[form].target, FORMS[form].target))
    path = folder / f"step{FORMS[form].suffix}"
    path.write_bytes(FORMS[form].build_step(network, batch).data)
    return path


def check(step: StepFile, network: SpikingNetwork, n: int = 5) -> None:
    """All steps of n samples, spike by spike, and the answers after each."""
    x = samples(n)
    similarities, trains = step.run(inputs_of(network, x))
    for found, wanted in zip(trains, trains_of(network, x), strict=True):
        assert np.array_equal(found, wanted)
        assert wanted.any()
    wanted = np.stack(list(cosines_of(network, x)), axis=1)
    assert np.abs(similarities - wanted).max() < 1e-6
    assert np.ptp(wanted) > 0.05


def two_prototypes(network: SpikingNetwork) -> SpikingNetwork:
    rng = np.random.default_rng(5)
    recipe = replace(network.recipe, prototypes_per_class=2)
    shapes = recipe.shapes(network.n_in)
    more = [rng.integers(-5000, 5000, (3, 2, shape.head)).astype(np.int16) for shape in shapes]
    layers = (replace(layer, prototypes=p) for layer, p in zip(network.layers, more, strict=True))
    return replace(network, recipe=recipe, layers=tuple(layers))


@pytest.mark.parametrize(
    ("form", "conv", "reset", "beta"),
    [
        *(marked("onnx", conv, *reset) for conv in CONVS for reset in RESETS),
        *(marked("executorch", *case) for case in zip(CONVS, *zip(*RESETS, strict=True), strict=True)),
        marked("executorch-portable", "dense", "subtract", 0.5),
        marked("executorch-portable", "max", "zero", 1.0),
    ],
)
def test_a_runtime_gives_the_spikes(tmp_path: Path, form: str, conv: str, reset: str, beta: float) -> None:
    network = network_of(CONVS[conv], reset=reset, beta=beta)
    check(open_step(file_of(tmp_path, network, form)), network)


@ANY_FORM
def test_joins_and_prototypes_by_the_class(tmp_path: Path, form: str) -> None:
    network = two_prototypes(network_of(CONVS["none"], join="last", code="rate", levels=4))
    check(open_step(file_of(tmp_path, network, form)), network)


@ANY_FORM
def test_samples_at_once(tmp_path: Path, form: str) -> None:
    network = network_of(CONVS["mean"])
    step = open_step(file_of(tmp_path, network, form, 3))
    check(step, network, 5)
    assert step.max_batch == (None if form == "onnx" else 3)
    with pytest.raises(ShapeError, match=r"shape \(2, 83\), .* takes \(n, 84\)"):
        step.step(np.zeros((2, 83)), step.start(2))
    if form == "executorch":
        with pytest.raises(ShapeError, match=r"4 samples at once, .* takes at most 3") as caught:
            step.step(np.zeros((4, 84)), step.start(4))
        assert "--batch 4" in caught.value.hint


@ANY_FORM
def test_what_a_file_says_of_itself(tmp_path: Path, form: str) -> None:
    network = network_of(CONVS["mean"], levels=9, beta=0.5)
    path = file_of(tmp_path, network, form)
    told = open_step(path).metadata
    assert json.dumps(told, sort_keys=True).encode() in path.read_bytes()
    wanted = {"format": metadata.STEP_FORMAT, "steps": 6, "code": "direct", "levels": 9, "gain": 60.0}
    wanted |= {"class_names": ["a", "b", "c"], "weights_crc32": f"{network.weights_crc32:08x}"}
    wanted |= {"beta": 0.5, "reset": "zero", "thresholds": [700.5, 60.5, 60.5], "maps": [[2, 2, 4]]}
    assert {key: told[key] for key in wanted} == wanted
    assert dict(zip(told["inputs"], told["input_widths"], strict=True)) == {
        "x": 84, "membrane_0": 96, "membrane_1": 9, "membrane_2": 8, "count_0": 8, "count_1": 9, "count_2": 8
    }  # fmt: skip
    assert told["outputs"][:2] == ["similarity", "spikes_0"]
    with pytest.raises(ModelFileError, match=r"have format 'edgehff\.step/1', not edgehff\.artifact/1"):
        open_artifact(path)


def test_files_that_are_none(tmp_path: Path) -> None:
    for name, words in (("step.nir", "is no exported file"), ("step.onnx", "is no file")):
        with pytest.raises(ModelFileError, match=words):
            open_step(tmp_path / name)


def heavy(steps: int, reset: str = "zero", threshold: int = 60, beta: float = 1.0) -> SpikingNetwork:
    """Membranes of 84 * 127 * 255 = 2,720,340 a step, in both directions."""
    network = network_of(steps=steps, reset=reset, levels=255, beta=beta)
    first = replace(network.layers[0], weight=np.full((9, 84), 127, np.int8), threshold=threshold)
    return replace(network, layers=(first, *network.layers[1:]))


def test_membranes_that_float32_holds() -> None:
    for network in (heavy(6), heavy(3, "subtract"), heavy(99, beta=0.8)):
        step_of(network)


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (heavy(7), "layer 0: membranes of up to 19,042,380, float32 is exact below 16,777,216"),
        (heavy(4, "subtract"), "layer 0: membranes of up to 10,881,360, float32 is exact below 8,388,608"),
        (heavy(2, threshold=1 << 23), "layer 0: a threshold of up to 8,388,608"),
        (heavy(99, beta=0.9), "layer 0: membranes of up to 27,"),
    ],
)
def test_membranes_that_it_does_not_hold(network: SpikingNetwork, words: str) -> None:
    with pytest.raises(RecipeError, match=words) as caught:
        step_of(network)
    assert "fewer levels" in caught.value.hint


def test_a_later_layer_is_named() -> None:
    """8 sums over windows of 12 spikes, 127 times, at all 1,024 steps."""
    conv = (ConvLayer(4, pool="mean", pool_size=(3, 4)),)
    for reset in ("zero", "subtract"):
        network = network_of(conv, steps=1024, levels=1, reset=reset)
        first, second, third = network.layers
        loud = replace(second, weight=np.full((9, 8), 127, np.int8))
        network = replace(network, layers=(first, loud, third))
        if reset == "zero":
            step_of(network)
    with pytest.raises(RecipeError, match="layer 1: membranes of up to 12,484,608"):
        step_of(network)


def test_counts_that_it_does_not_hold() -> None:
    recipe = Recipe(
        layers=(), conv=(ConvLayer(1, kernel=(1, 1), padding=(0, 0)),), input_shape=(128, 128, 1), gate=None,
        spiking=SpikingRecipe(steps=1024),
    )  # fmt: skip
    layer = SpikingLayer(np.ones((1, 1), np.int8), 5, np.ones((2, 1, 1), np.int16))
    network = SpikingNetwork(recipe, ("a", "b"), Encoding("uint8", (128 * 128, 1)), (layer,), gain=60.0)
    with pytest.raises(RecipeError, match="layer 0: counts of up to 16,777,216, float32"):
        step_of(network)
