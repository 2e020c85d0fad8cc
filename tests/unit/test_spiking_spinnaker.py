"""SpiNNaker: the network's own spikes, the arithmetic beside a slow loop, the chip's limits, the file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from spiking_networks import network_of, samples

from edgehff.errors import InputError, ModelFileError, RecipeError
from edgehff.geometry import ConvLayer
from edgehff.model.encoding import Encoding
from edgehff.model.spiking_network import SpikingNetwork
from edgehff.recipe import SpikingRecipe
from edgehff.spiking.chain import inputs_of, trains_of
from edgehff.spiking.targets import spinnaker
from edgehff.spiking.targets.spinnaker import SpinnakerNetwork, quantize, run, sources_of

CONVS = (
    ConvLayer(4, pool="mean", pool_size=(2, 2), grid=(1, 3)),
    ConvLayer(4, kind="depthwise", kernel=(2, 2), padding=(0, 1)),
)
LEVELS = (1, 2, 4, 8)
BOTH = (*LEVELS, -1, -2, -4, -8)


def with_threshold(network: SpikingNetwork, i: int, threshold: int) -> SpikingNetwork:
    layers = list(network.layers)
    layers[i] = replace(layers[i], threshold=threshold)
    return replace(network, layers=tuple(layers))


def slow(weights: np.ndarray, threshold: int, spikes: np.ndarray) -> tuple[np.ndarray, int, int]:
    """A layer of one sample, synapse by synapse: (spikes, steps begun below rest, largest sum)."""
    out, leaking, largest = np.zeros((len(spikes), len(weights)), bool), 0, 0
    for j, row in enumerate(weights.tolist()):
        v = 0
        for step, came in enumerate(spikes):
            above = sum(w for w, spike in zip(row, came, strict=True) if spike and w > 0)
            below = sum(-w for w, spike in zip(row, came, strict=True) if spike and w < 0)
            leaking += v < threshold - 16384
            largest = max(largest, above, below)
            v += min(above, 65535) - min(below, 65535) - (v - (threshold - 16384)) // 16384
            out[step, j] = v >= threshold
            v = 0 if out[step, j] else v
    return out, leaking, largest


@pytest.mark.parametrize("conv", [(), CONVS])
@pytest.mark.parametrize("code", ["direct", "latency", "rate"])
def test_the_chips_spikes_are_the_networks(conv: tuple[ConvLayer, ...], code: str) -> None:
    network, x = network_of(conv, code=code), samples()
    if code != "direct":
        network = with_threshold(with_threshold(network, 0, 40), 1, 40)
    chip = quantize(network)
    assert chip.planes == (LEVELS if code == "direct" else (1,))
    found = run(chip, inputs_of(network, x))
    for theirs, ours in zip(found.spikes, trains_of(network, x), strict=True):
        assert np.array_equal(theirs, ours)
    assert found.spikes[-1].any()
    assert (found.leaking, found.saturated) == (2 if code == "direct" and not conv else 0, False)


@pytest.mark.parametrize("largest", [2000, 16256])
def test_the_arithmetic_is_that_of_a_slow_loop(largest: int) -> None:
    """Membranes far below rest, and sums that stop at their end."""
    rng = np.random.default_rng(5)
    weights = rng.integers(-largest, largest + 1, (12, 30)).astype(np.int16)
    second = rng.integers(-99, 100, (6, 12)).astype(np.int16)
    chip = SpinnakerNetwork((weights, second), (9000, 30), (1,), 9)
    x = (rng.random((4, 9, 30)) < 0.6).astype(np.int16)
    found, leaking, sums = run(chip, x), 0, 0
    for sample, first, last in zip(x > 0, *found.spikes, strict=True):
        for matrix, threshold, came, fired in ((weights, 9000, sample, first), (second, 30, first, last)):
            wanted, below, size = slow(matrix, threshold, came)
            assert np.array_equal(fired, wanted)
            leaking, sums = leaking + below, max(sums, size)
    assert (found.leaking, found.largest) == (leaking, sums)
    assert found.leaking > 50
    assert all(spikes.any() for spikes in found.spikes)
    assert found.saturated == (largest > 2000) == (sums > 65535)


def test_membranes_are_kept_whole_down_to_rest() -> None:
    """By hand: threshold 100, rest -16284. From there nothing is gained; from one below, 1 a step."""
    weights = np.array([[-16284, 16383, 1], [-16285, 16384, 1]], np.int16)
    chip = SpinnakerNetwork((weights,), (100,), (1,), 5)
    x = np.zeros((1, 5, 3), np.int16)
    x[0, 0, 0], x[0, 3, 1], x[0, 4, 2] = 1, 1, 1
    found = run(chip, x)
    # the first: -16284, kept, + 16383 = 99, + 1 = 100. The second: -16285, one gained, -16284, kept, + 16384
    assert found.spikes[0][0].T.tolist() == [[False] * 4 + [True], [False] * 3 + [True, False]]
    assert found.leaking == 1


def test_a_sum_stops_at_the_end_of_its_ring_buffer() -> None:
    weights = np.array([[16256] * 5 + [-15000] * 4 + [-6000]], np.int16)
    x = np.zeros((1, 2, 10), np.int16)
    x[0, 0, :4] = x[0, 1] = 1
    found = run(SpinnakerNetwork((weights,), (16384,), (1,), 2), x)
    assert (found.largest, found.saturated) == (5 * 16256, True)
    assert not run(SpinnakerNetwork((weights,), (16384,), (1,), 2), x[:, :1]).saturated
    weights = np.array([[16256] * 5 + [-16380] * 4], np.int16)
    for threshold, fires in ((16, False), (15, True)):  # 65535 - 65520, where 81280 came
        both = run(SpinnakerNetwork((weights,), (threshold,), (1,), 1), np.ones((1, 1, 9), np.int16))
        assert both.spikes[0].any() == fires
    below = SpinnakerNetwork((-weights,), (1,), (1,), 2)  # -15, and 16 more
    x = np.ones((1, 2, 9), np.int16)
    x[0, 1] = [0] * 5 + [1] + [0] * 3
    assert run(below, x).spikes[0][0, :, 0].tolist() == [False, True]


def test_a_threshold_is_met() -> None:
    chip = SpinnakerNetwork((np.array([[1]], np.int16),), (3,), (1,), 3)
    assert run(chip, np.ones((1, 3, 1), np.int16)).spikes[0][0, :, 0].tolist() == [False, False, True]
    assert not run(replace(chip, thresholds=(4,)), np.ones((1, 3, 1), np.int16)).spikes[0].any()
    assert quantize(network_of()).thresholds == (701, 61)
    assert quantize(network_of()).rests == (701 - 16384, 61 - 16384)


@pytest.mark.parametrize(
    ("changes", "encoding", "planes"),
    [
        ({}, Encoding("uint8", (84, 1)), LEVELS),
        ({}, Encoding("int8", (84, 1)), BOTH),
        ({}, Encoding("int8", (2, 84), ("rms",)), LEVELS),
        ({"levels": 255}, Encoding("uint8", (84, 1)), (1, 2, 4, 8, 16, 32, 64, 128)),
        ({"levels": 8}, Encoding("uint8", (84, 1)), LEVELS),
        ({"levels": 7}, Encoding("uint8", (84, 1)), (1, 2, 4)),
        ({"code": "rate"}, Encoding("int16", (84, 1)), (1,)),
        ({"code": "latency", "levels": 255}, Encoding("uint8", (84, 1)), (1,)),
        ({"code": "events"}, Encoding("uint8", (504, 1)), LEVELS),
        ({"code": "events"}, Encoding("int8", (504, 1)), BOTH),
        ({"code": "delta"}, Encoding("int8", (252, 1)), LEVELS),
    ],
)
def test_levels_are_said_in_bits(
    changes: dict[str, object], encoding: Encoding, planes: tuple[int, ...]
) -> None:
    recipe = replace(network_of().recipe, spiking=SpikingRecipe(**{"steps": 6} | changes))
    network = replace(network_of(), recipe=recipe, encoding=encoding)
    chip = quantize(network)
    assert chip.planes == planes
    for i, plane in enumerate(planes):
        part = chip.weights[0][:, 84 * i : 84 * (i + 1)]
        assert np.array_equal(part, plane * network.layers[0].weight.astype(int))


def test_centered_inputs_have_sources_below_0() -> None:
    network = network_of()
    zero = np.zeros(84, np.int32), np.ones(84, np.uint16)
    centered = replace(network, encoding=replace(network.encoding, offset=zero[0], gain=zero[1]))
    assert len(quantize(centered).planes) == 8
    x = np.random.default_rng(6).integers(-15, 16, (5, 6, 84)).astype(np.int16)
    found = run(quantize(centered), x)
    v, weight = np.zeros((5, 9), int), network.layers[0].weight.astype(int)
    for step in range(6):
        v += x[:, step] @ weight.T
        assert np.array_equal(found.spikes[0][:, step], v >= 701)
        v[v >= 701] = 0
    assert found.spikes[0].any()


def test_sources_say_every_input() -> None:
    planes: tuple[int, ...] = BOTH
    x = np.arange(-15, 16, dtype=np.int16)[None, None]
    spikes = sources_of(planes, x)
    assert spikes.shape == (1, 1, 31 * 8)
    assert np.array_equal(np.array(planes) @ spikes.reshape(8, 31), x[0, 0])
    assert spikes.sum() == 2 * sum(i.bit_count() for i in range(16))
    for planes, wrong in (((1, 2), -1), ((1, 2), 4), ((1, -1), -2), ((1, 2, -1, -2), 4)):
        with pytest.raises(InputError, match=f"inputs of {wrong} to {wrong}, the sources say"):
            sources_of(planes, np.full((1, 1, 1), wrong, np.int16))
    assert sources_of((1,), np.zeros((0, 3, 2), np.int16)).shape == (0, 3, 2)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (network_of(beta=0.5), "layer 0: beta = 0.5"),
        (network_of(reset="subtract"), "layer 0: reset = 'subtract'"),
        (
            with_threshold(network_of(), 1, 16384),
            "layer 1: a threshold of 16,384, SpiNNaker keeps membranes below 16,384",
        ),
        (network_of((ConvLayer(4, pool="max", pool_size=(2, 2)),)), "layer 0: a maximum of spikes"),
    ],
)
def test_limits_are_named_with_layer_and_number(network: SpikingNetwork, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        quantize(network)
    assert quantize(with_threshold(network_of(), 1, 16383)).rests[1] == 0


def test_a_board_has_so_many_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (spinnaker.NEURONS, spinnaker.CORES) == (128, 758)
    monkeypatch.setattr(spinnaker, "NEURONS", 8)
    monkeypatch.setattr(spinnaker, "CORES", 3)
    quantize(network_of())  # nine neurons are two cores, eight are one
    monkeypatch.setattr(spinnaker, "CORES", 2)
    with pytest.raises(RecipeError, match="layer 1: 8 neurons, 3 cores up to here, a board has 2"):
        quantize(network_of())


def test_a_file_gives_the_network_back(tmp_path: Path) -> None:
    network, x = network_of(), samples()
    chip, inputs = quantize(network), inputs_of(network, x)
    data = spinnaker.to_bytes(chip, network, inputs)
    again = spinnaker.from_bytes(data)
    assert (again.thresholds, again.planes, again.steps) == (chip.thresholds, chip.planes, 6)
    assert all(np.array_equal(a, b) for a, b in zip(again.weights, chip.weights, strict=True))
    (tmp_path / "f.npz").write_bytes(data)
    with np.load(tmp_path / "f.npz") as parts:
        for i, ours in enumerate(trains_of(network, x)):
            assert np.array_equal(parts[f"spikes_{i}"], ours)
            assert parts[f"spikes_{i}"].dtype == np.uint8
            assert np.array_equal(parts[f"prototypes_{i}"], network.layers[i].prototypes)
            assert int(parts[f"rest_{i}"]) == chip.thresholds[i] - 16384
        assert np.array_equal(parts["samples"], inputs)
        assert (float(parts["tau_m"]), float(parts["cm"])) == (32768, 2)
        assert parts["class_names"].tolist() == ["a", "b", "c"]
        assert "weights_crc32" in str(parts["edgehff"])
        fewer = {name: parts[name] for name in parts.files}
    bad = [b"", b"PK no zip", data[: len(data) // 2]]
    for change in ({"weights_0": fewer["weights_0"].astype(int)}, {"weights_1": fewer["steps"]}):
        np.savez(tmp_path / "bad.npz", **{**fewer, **change})
        bad.append((tmp_path / "bad.npz").read_bytes())
    for name in ("planes", "threshold_1", "steps"):
        np.savez(tmp_path / "bad.npz", **{k: v for k, v in fewer.items() if k != name})
        bad.append((tmp_path / "bad.npz").read_bytes())
    np.savez(tmp_path / "bad.npz", steps=1, planes=[1])
    for content in (*bad, (tmp_path / "bad.npz").read_bytes()):
        with pytest.raises(ModelFileError, match="no network for SpiNNaker"):
            spinnaker.from_bytes(content)
