"""Loihi 2's integers: the network's own spikes, and the chip's limits."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from spiking_networks import network_of, samples, saved_with_noise

from edgehff.cli.main import main
from edgehff.errors import ModelFileError, RecipeError
from edgehff.geometry import ConvLayer
from edgehff.model.spiking_network import SpikingNetwork
from edgehff.spiking.chain import inputs_of, trains_of
from edgehff.spiking.targets import loihi2
from edgehff.spiking.targets.loihi2 import HIGH, Loihi2Network, quantize, run

CONVS = (
    ConvLayer(4, pool="mean", pool_size=(2, 2), grid=(1, 3)),
    ConvLayer(4, kind="depthwise", kernel=(2, 2), padding=(0, 1)),
)


@pytest.mark.parametrize("conv", [(), CONVS])
@pytest.mark.parametrize("code", ["direct", "latency"])
def test_the_chips_spikes_are_the_networks(conv: tuple[ConvLayer, ...], code: str) -> None:
    network, x = network_of(conv, code=code), samples()
    if code != "direct":
        network = replace(network, layers=tuple(replace(layer, threshold=40) for layer in network.layers))
    chip = quantize(network)
    assert all((w % 2 == 0).all() and np.abs(w).max() <= 254 for w in chip.weights)
    assert all(vth % 2 == 1 for vth in chip.vth)
    found = run(chip, inputs_of(network, x))
    for theirs, ours in zip(found.spikes, trains_of(network, x), strict=True):
        assert np.array_equal(theirs, ours)
    assert found.spikes[-1].any()
    assert not found.saturated


def test_membranes_stop_at_the_ends_of_24_bits() -> None:
    """By hand: 254 * 127 << 6 is 2,064,512 a step; the fifth stops, and 1 more takes it from the end."""
    chip = Loihi2Network((np.array([[-254], [254]], np.int16),), ((1 << 17) - 1,), 7)
    x = np.full((1, 7, 1), 127, np.int16)
    x[0, 5:] = -1
    found = run(chip, x)
    assert (found.peak, found.saturated) == (HIGH, True)
    assert found.spikes[0][0, :, 1].tolist() == [False] * 4 + [True, False, False]  # 131071 << 6 < HIGH
    v, fired = 0, []
    for value in x[0, :, 0]:
        v = max(-HIGH, min(HIGH, v + (254 * int(value) << 6)))
        fired.append(v > 131071 << 6)
        v = 0 if fired[-1] else v
    assert found.spikes[0][0, :, 1].tolist() == fired
    below = Loihi2Network((np.array([[-254]], np.int16),), ((1 << 17) - 1,), 7)
    assert run(below, x).saturated


def test_a_threshold_is_passed_and_not_met() -> None:
    chip = Loihi2Network((np.array([[2]], np.int16),), (5,), 3)
    assert run(chip, np.ones((1, 3, 1), np.int16)).spikes[0][0, :, 0].tolist() == [False, False, True]
    assert not run(replace(chip, vth=(6,)), np.ones((1, 3, 1), np.int16)).spikes[0].any()


def with_threshold(network: SpikingNetwork, i: int, threshold: int) -> SpikingNetwork:
    layers = list(network.layers)
    layers[i] = replace(layers[i], threshold=threshold)
    return replace(network, layers=tuple(layers))


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (network_of(beta=0.5), "layer 0: beta = 0.5"),
        (network_of(reset="subtract"), "layer 0: reset = 'subtract'"),
        (network_of(levels=128), "layer 0: 128 levels of an input, Loihi 2 has messages up to 127"),
        (
            with_threshold(network_of(), 1, 65536),
            "layer 1: a threshold of 131,073, Loihi 2 has at most 131,071",
        ),
        (network_of((ConvLayer(4, pool="max", pool_size=(2, 2)),)), "layer 0: a maximum of spikes"),
    ],
)
def test_limits_are_named_with_layer_and_number(network: SpikingNetwork, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        quantize(network)
    assert quantize(with_threshold(network_of(levels=127), 1, 65535)).vth[1] == 131071


def test_a_file_gives_the_network_back(tmp_path: Path) -> None:
    network, x = network_of(), samples()
    chip, inputs = quantize(network), inputs_of(network, x)
    data = loihi2.to_bytes(chip, network, inputs)
    again = loihi2.from_bytes(data)
    assert (again.vth, again.steps) == (chip.vth, 6)
    assert all(np.array_equal(a, b) for a, b in zip(again.weights, chip.weights, strict=True))
    (tmp_path / "f.npz").write_bytes(data)
    with np.load(tmp_path / "f.npz") as parts:
        for i, ours in enumerate(trains_of(network, x)):
            assert np.array_equal(parts[f"spikes_{i}"], ours)
            assert parts[f"spikes_{i}"].dtype == np.uint8
            assert np.array_equal(parts[f"prototypes_{i}"], network.layers[i].prototypes)
        assert np.array_equal(parts["samples"], inputs)
        assert (int(parts["du"]), int(parts["dv"])) == (4095, 0)
    for bad in (b"", b"PK no zip", data[: len(data) // 2]):
        with pytest.raises(ModelFileError, match="no network for Loihi 2"):
            loihi2.from_bytes(bad)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return saved_with_noise(network_of(), tmp_path)[0]


def test_export_writes_what_was_proved(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "-t", "loihi2", str(model)]) == 0
    assert "0 of 2,040 slots differ" in capsys.readouterr().out
    assert loihi2.from_bytes(model.with_suffix(".npz").read_bytes()).steps == 6
    assert main(["export", "-t", "loihi2", str(model), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["differing"], found["slots"], found["spikes"] > 100) == (0, 2040, True)
    assert found["bytes"] == model.with_suffix(".npz").stat().st_size


def test_export_writes_nothing_that_differs(
    model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loihi2, "HIGH", 60 << 6)
    assert main(["export", "-t", "loihi2", str(model)]) == 7
    assert "membranes stop at the ends of 24 bits" in capsys.readouterr().err
    assert not model.with_suffix(".npz").exists()


def test_export_says_what_is_wrong_with_a_call(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "-t", "loihi2", str(model), "-o", "x.bin"]) == 3
    assert main(["export", "-t", "loihi2", str(model), "-o", "no/x.npz"]) == 3
    assert main(["export", "-t", "loihi2", str(model), "--batch", "2"]) == 2
    err = capsys.readouterr().err
    assert all(words in err for words in ("-o x.npz", "mkdir -p no", "--batch is of --target executorch"))
