"""Xylo: limits, fitted integers, its arithmetic beside a slow loop and the maker's simulator, the file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from spiking_networks import MAP, simulator
from xylo_networks import ANSWER, CHIPS, events, network_of, samples, spikes

from edgehff.cli.main import main
from edgehff.errors import InputError, MissingToolError, ModelFileError, RecipeError
from edgehff.geometry import ConvLayer
from edgehff.model import file
from edgehff.spiking.simulate import run as run_ours
from edgehff.spiking.targets import xylo, xylo_file
from edgehff.spiking.targets.xylo import HIGH, LOW, PEAK, XyloNetwork

XYLOSIM = Path(__file__).resolve().parents[2] / "build/simulators/xylo"


def slow(chip: XyloNetwork, sample: np.ndarray) -> tuple[list, list, list]:
    """One sample, neuron by neuron, spike by spike."""

    def limited(value: int) -> int:
        return min(max(value, LOW), HIGH)

    def decay(value: int, dash: int) -> int:
        part = value >> dash
        return part or (value > 0) - (value < 0)

    def deliver(counts: list, weights: list, shift: int, currents: list) -> None:
        for count, row in zip(counts, weights, strict=True):
            for j, weight in enumerate(row):
                for _ in range(count):
                    currents[j] = limited(currents[j] + (weight << shift))

    def evolve(i: list, v: list, dash_syn: int, dash_mem: int, threshold: int, most: int) -> list:
        fired = []
        for j in range(len(v)):
            i[j] -= decay(i[j], dash_syn)
            v[j] = limited(v[j] + limited(i[j] - decay(v[j], dash_mem)))
            count = 0
            while v[j] >= threshold and count < most:
                v[j] -= threshold
                count += 1
            fired.append(count)
        return fired

    inner, outer = chip.weights_in.tolist(), chip.weights_out.tolist()
    (i1, v1), (i2, v2) = ([[0] * len(w[0]) for _ in range(2)] for w in (inner, outer))
    before, hidden, out, membranes = [0] * len(outer), [], [], []
    for counts in [*sample.tolist(), *[[0] * len(inner)] * chip.silent]:
        deliver(counts, inner, chip.shift_in, i1)
        deliver(before, outer, chip.shift_out, i2)
        before = evolve(i1, v1, chip.dash_syn, chip.dash_mem, chip.threshold, 31)
        out.append(evolve(i2, v2, chip.dash_syn_out, chip.dash_mem_out, chip.threshold_out, 1))
        hidden.append(before)
        membranes.append(list(v2))
    return hidden, out, membranes


@pytest.mark.parametrize("name", CHIPS)
def test_the_reference_is_the_slow_loop(name: str) -> None:
    chip, x = CHIPS[name], spikes()
    found = xylo.run(chip, x)
    for i, sample in enumerate(x):
        hidden, out, membranes = slow(chip, sample)
        assert found.hidden[i].tolist() == hidden
        assert found.out[i].tolist() == out
        assert found.membranes[i].tolist() == membranes
    assert found.saturated == (name != "plain")
    assert found.out.any() == (name not in ("plain", "swings", "negative"))
    assert (found.hidden.max() == 31) == (name == "many at once")


@pytest.mark.skipif(not (XYLOSIM / "chip.py").is_file(), reason="tools/simulators/install.py xylo")
@pytest.mark.parametrize("name", CHIPS)
def test_xylosim_does_the_same(name: str) -> None:
    model = network_of()
    found = xylo_file.compare(XYLOSIM, xylo_file.to_bytes(CHIPS[name], model, spikes(2)), spikes())
    assert (found.differing, found.slots, found.version) == (0, 6 * 13 * (7 + 4 + 4), "0.1.3")
    assert found.reason == ("no neuron spikes: nothing was shown" if name == "negative" else "")


def test_a_spike_gives_all_of_its_weight_in_time() -> None:
    one = np.array([[64]], np.int8)
    chip = XyloNetwork("a2", one, one, threshold=HIGH, dash_mem=15, steps=1, shift_in=4, silent=15)
    late = xylo.run(replace(chip, threshold=1000), np.array([[[1]]], np.int16))
    assert np.flatnonzero(late.hidden[0, :, 0]).tolist() == [
        5
    ]  # 1024 * (1/2 + 1/4 + ...), 1 off at each step
    assert late.membranes[0, :, 0].tolist() == [0] * 6 + [32, 47, 54, 57, 58, 58, 57, 56, 55, 54]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"n_in": 17}, "layer 0: 17 inputs, Xylo A2 has at most 16"),
        ({"n_hidden": 1001}, "layer 0: 1,001 neurons, Xylo A2 has at most 1,000"),
        ({"classes": 9}, "layer 0: 9 classes, Xylo A2 has at most 8"),
        ({"classes": 33, "variant": "a3"}, "layer 0: 33 classes, Xylo A3 has at most 32"),
        ({"n_hidden": 497, "variant": "imu"}, "layer 0: 497 neurons, Xylo IMU has at most 496"),
        (
            {"n_hidden": 129, "variant": "imu"},
            "layer 0: 129 neurons between inputs and read-outs, Xylo IMU has",
        ),
        ({"n_hidden": 129, "variant": "a3"}, "at most 128"),
        ({"levels": 16}, "layer 0: 16 levels of an input, Xylo A2 has at most 15"),
        ({"prototypes_per_class": 2}, "layer 0: 2 prototypes per class"),
        ({"reset": "zero"}, "layer 0: reset = 'zero'"),
        ({"beta": 0.9}, "layer 0: beta = 0.9, Xylo keeps 1 - 2"),
        ({"layers": (9, 8)}, "layer 1: 2 layers"),
        ({"conv": (ConvLayer(4),), "input_shape": MAP, "layers": (), "n_in": 84}, "layer 0: a convolution"),
    ],
)
def test_limits_are_named_with_layer_and_number(given: dict, words: str) -> None:
    variant = given.pop("variant", "a2")
    with pytest.raises(RecipeError) as caught:
        xylo.check(network_of(**given), variant)
    assert words in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("given", "variant"),
    [
        ({"n_in": 16, "n_hidden": 1000, "classes": 8}, "a2"),
        ({"n_hidden": 128, "classes": 32}, "a3"),
        ({"n_hidden": 128, "classes": 16}, "imu"),
        ({"code": "rate", "levels": 255}, "a2"),
        ({"beta": 1.0}, "a2"),
    ],
)
def test_what_just_fits_is_taken(given: dict, variant: str) -> None:
    xylo.check(network_of(**given), variant)


@pytest.mark.parametrize(("n_in", "n_hidden"), [(4, 9), (6, 9), (8, 9), (12, 9), (16, 300), (5, 300)])
def test_states_stay_within_three_quarters_of_their_range(n_in: int, n_hidden: int) -> None:
    network = network_of(n_in, n_hidden)
    chip, x = xylo.quantize(network, events(network)), events(network)
    peak = xylo.run(chip, x).peak
    assert 0 < max(peak) <= PEAK
    assert chip.dash_mem == 3
    assert chip.threshold == 1401 << (chip.shift_in - 1)
    assert np.array_equal(chip.weights_in, network.layers[0].weight.T)
    wider = replace(chip, shift_in=chip.shift_in + 1, threshold=chip.threshold * 2)
    assert max(wider.threshold, xylo.run(wider, x).peak[0]) > PEAK
    rows = network.layers[0].prototypes[:, 0].astype(float)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    largest = np.abs(chip.weights_out).max()
    assert np.abs(chip.weights_out.T / largest - rows / np.abs(rows).max()).max() < 0.51 / largest


def test_states_that_fit_at_no_shift_are_refused() -> None:
    network = network_of(steps=200, beta=1.0)
    weak = replace(network.layers[0], weight=np.full((9, 12), -60, np.int8))
    network = replace(network, layers=(weak,))
    with pytest.raises(RecipeError, match=r"layer 0: its states reach [0-9,]+, more than 24,576"):
        xylo.quantize(network, events(network, 2))


def test_read_outs_that_would_saturate_get_smaller_weights() -> None:
    for steps, largest in ((5, (15, 31, 63)), (300, ())):
        network = network_of(n_hidden=100, steps=steps)
        layer = network.layers[0]
        loud = replace(layer, weight=np.abs(layer.weight), prototypes=np.abs(layer.prototypes))
        network = replace(network, layers=(loud,))
        x = events(network, 3)
        if not largest:
            with pytest.raises(RecipeError, match=r"layer 0: its read-out reaches [0-9,]+, more than 24,576"):
                xylo.quantize(network, x)
            return
        chip = xylo.quantize(network, x)
        assert chip.weights_out.max() in largest
        assert PEAK // 3 < xylo.run(chip, x).peak[1] <= PEAK


def test_inputs_that_are_no_spikes_are_refused() -> None:
    for wrong in (16, -1):
        with pytest.raises(InputError, match="Xylo takes 0 to 15"):
            xylo.run(CHIPS["plain"], np.full((1, 2, 5), wrong, np.int16))


def test_a_file_holds_the_network_and_what_it_does() -> None:
    network = network_of()
    x = events(network)
    chip = xylo.quantize(network, x)
    data = xylo_file.to_bytes(chip, network, x)
    assert data == xylo_file.to_bytes(chip, network, x)
    again = xylo_file.from_bytes(data)
    for name in XyloNetwork.__dataclass_fields__:
        assert np.array_equal(getattr(again, name), getattr(chip, name)), name
    with pytest.raises(ModelFileError, match="no Xylo network"):
        xylo_file.from_bytes(data[:-200])
    with pytest.raises(ModelFileError, match="no Xylo network"):
        xylo_file.from_bytes(b"")


def test_the_simulators_folder_is_believed_in_nothing(tmp_path: Path) -> None:
    network = network_of()
    x = events(network)
    data = xylo_file.to_bytes(xylo.quantize(network, x), network, x)
    with pytest.raises(MissingToolError, match="no XyloSim"):
        xylo_file.compare(tmp_path, data, x)
    home = simulator(tmp_path, "xylo", "")
    for change, told in (
        ("", "0 of"),
        ('found["membranes"][3, 2, 1] += 1', "1 of"),
        ('found["hidden"] = found["hidden"][:, :2]', "hidden: (7, 2, 9), ours (7, 10, 9)"),
        ("sys.exit('no licence')", "exit code 1: no licence"),
        ("np.savez(folder / 'trace.npz', version='7', **found); sys.exit('late')", "exit code 1: late"),
        ("import time; time.sleep(60)", "no answer in"),
    ):
        (home / "chip.py").write_text(ANSWER.format(change=change))
        found = xylo_file.compare(home, data, x, timeout=5 if "sleep" in change else 60)
        assert (found.passed, found.told.startswith(told)) == (not change, True), found
    (home / "bin/python").unlink()
    assert "No such file" in xylo_file.compare(home, data, x).told


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model and its data, in a folder without simulators."""
    monkeypatch.chdir(tmp_path)
    network = network_of(steps=3)  # too few for the chip to answer alike
    network = replace(network, recipe=replace(network.recipe, data="rows.npz"))
    x = samples(network, 200)
    y = run_ours(network, network.encode(x), 0.0).answers
    y[:20] = (y[:20] + 1) % 3
    np.savez("rows.npz", X=x, y=y, is_test=np.arange(200) < 100, class_names=np.array(network.class_names))
    file.save(network, Path("small.safetensors"))
    return Path("small.safetensors")


def test_export_writes_what_it_ran(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "--target", "xylo", str(model), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["target"], found["variant"], found["file"]) == ("xylo", "a2", "small.npz")
    assert (found["samples"], found["model_accuracy"], found["xylosim"]) == (100, 0.8, None)
    with np.load("small.npz") as written:
        assert json.loads(str(written["edgehff"]))["weights_crc32"]
        assert written["class_names"].tolist() == ["c0", "c1", "c2"]
        chip = xylo_file.from_bytes(Path("small.npz").read_bytes())
        trace = xylo.run(chip, written["samples"].astype(np.int16))
        assert np.array_equal(trace.membranes, written["membranes"])
        assert np.array_equal(trace.hidden, written["hidden"])
        assert trace.hidden.any()
    with np.load("rows.npz") as rows:
        right = trace.answers == rows["y"][:100]
    assert found["accuracy"] == right.mean() != 0.8
    assert main(["export", "-t", "xylo", str(model)]) == 0
    out = capsys.readouterr().out
    assert f"80.00% of 100 test rows by the model, {right.mean():.2%} by Xylo's integers" in out
    assert "XyloSim is not installed" in out


def test_a_file_that_xylosim_runs_otherwise_is_not_written(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = simulator(Path("build/simulators"), "xylo", "")
    (home / "chip.py").write_text(ANSWER.format(change='found["hidden"][0, 0, 0] ^= 1'))
    assert main(["export", "-t", "xylo", str(model)]) == 7
    assert "1 of 10,500 slots differ; it was not written" in capsys.readouterr().err
    assert not Path("small.npz").exists()
    (home / "chip.py").write_text(ANSWER.format(change=""))
    assert main(["export", "-t", "xylo", str(model)]) == 0
    assert "XyloSim 7.1, 100 rows: 0 of 10,500 slots differ" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("{model}", "-o", "digits.nir"), 3, "-o digits.npz"),
        (("{model}", "-o", "no/digits.npz"), 3, "mkdir -p"),
        (("{model}", "--batch", "2"), 2, "--batch is of --target executorch"),
        (("{model}", "--prototypes", "int8"), 2, "--prototypes is of onnx and executorch"),
        ((), 2, "--target xylo wants MODEL"),
        (("wide.safetensors",), 3, "layer 0: 497 neurons"),
    ],
)
def test_what_xylo_is_refused_for(
    model: Path, arguments: tuple[str, ...], code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file.save(network_of(n_hidden=497), Path("wide.safetensors"))
    variant = ["--variant", "imu"] if "wide" in "".join(arguments) else []
    given = [a.format(model=model) for a in arguments]
    assert main(["export", "-t", "xylo", *given, *variant]) == code
    assert words in capsys.readouterr().err
    assert main(["export", "-t", "onnx", str(model), "--variant", "a3"]) == 2
    assert "--variant is of --target xylo" in capsys.readouterr().err
