"""The simulation in integers: beside loops over neurons, beside the torch layers, to the last spike."""

from __future__ import annotations

import importlib
from dataclasses import replace

import numpy as np
import pytest
from spiking_networks import network_of, samples

from edgehff.errors import RecipeError, ShapeError
from edgehff.geometry import ConvLayer
from edgehff.model import file
from edgehff.model.encoding import Encoding
from edgehff.model.spiking_input import changes
from edgehff.model.spiking_network import SpikingLayer, SpikingNetwork
from edgehff.recipe import Recipe, SpikingRecipe, from_dict
from edgehff.spiking.early import Exit, choose, exit_with, with_margin
from edgehff.spiking.encode import drive_of, gain_of, steps_of
from edgehff.spiking.simulate import Run, dense_operations, run, spikes_of

CONVS = (
    ConvLayer(4, pool="max", pool_size=(2, 2), grid=(1, 3)),
    ConvLayer(4, kind="depthwise", kernel=(2, 2), padding=(0, 1), pool="mean", pool_size=(1, 2)),
)


def by_hand(network: SpikingNetwork, x: np.ndarray) -> list[list[np.ndarray]]:
    """Spikes of dense layers, sample by sample and neuron by neuron, in Python's integers."""
    s, out = network.recipe.spiking, []
    drive = drive_of(s, network.gain, x)
    for sample in drive:
        v = [[0] * layer.weight.shape[0] for layer in network.layers]
        steps = []
        for seen in steps_of(s, sample[None]):
            inputs, fired = [int(e) for e in seen[0]], []
            for i, layer in enumerate(network.layers):
                spikes = []
                for j, row in enumerate(layer.weight):
                    v[i][j] = v[i][j] + sum(int(w) * e for w, e in zip(row, inputs, strict=True))
                    spikes.append(v[i][j] > layer.threshold)
                    if spikes[-1]:
                        v[i][j] = 0
                fired.append(np.array(spikes))
                inputs = [int(e) for e in spikes]
            steps.append(fired)
        out.append(steps)
    return out


@pytest.mark.parametrize("code", ["direct", "rate", "latency"])
def test_spikes_are_those_of_plain_integers(code: str) -> None:
    network, x = network_of(code=code), samples()
    if code != "direct":
        first = replace(network.layers[0], threshold=40)
        network = replace(network, layers=(first, *network.layers[1:]))
    wanted = by_hand(network, x)
    total = 0
    for step, fired in enumerate(spikes_of(network, x)):
        for i, spikes in enumerate(fired):
            assert np.array_equal(spikes, [wanted[n][step][i] for n in range(len(x))])
            total += spikes.sum()
    assert total > 30


@pytest.mark.spiking
@pytest.mark.parametrize(("reset", "beta"), [("zero", 1.0), ("subtract", 1.0), ("zero", 0.5)])
@pytest.mark.parametrize("conv", [(), CONVS])
def test_torch_layers_in_float32_give_the_same_spikes(
    conv: tuple[ConvLayer, ...], reset: str, beta: float
) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("snntorch")
    layers_from = importlib.import_module("edgehff.spiking.layer").layers_from
    network, x = network_of(conv, reset=reset, beta=beta), samples()
    layers = layers_from(network)
    membranes = [None] * len(layers)
    drive = drive_of(network.recipe.spiking, network.gain, x)
    found = spikes_of(network, x)
    total = 0
    for seen in steps_of(network.recipe.spiking, drive):
        h = torch.from_numpy(seen.astype(np.float32))
        for i, (layer, spikes) in enumerate(zip(layers, next(found), strict=True)):
            u = layer.neurons.charged(layer.current(h), membranes[i])
            h, membranes[i] = layer(h, membranes[i])
            fired = (u > layer.neurons.threshold).detach().numpy()
            assert fired.sum() >= spikes.sum()
            if layer.shape.conv is None:
                assert np.array_equal(fired, spikes)
            total += int(spikes.sum())
            pooled = spikes if layer.shape.conv is None else _pooled(layer.shape, spikes)
            assert np.array_equal(h.detach().numpy(), pooled.reshape(len(x), -1))
    assert total > 50


def _pooled(shape, spikes):
    return spikes.sum(axis=2) if shape.conv.pool == "mean" else spikes.any(axis=2)


def test_operations_are_inputs_that_met_weights() -> None:
    network, x = network_of(), samples()
    weight = network.layers[1].weight.copy()
    weight[:, :4] = 0
    network = replace(network, layers=(network.layers[0], replace(network.layers[1], weight=weight)))
    found = run(network, x)
    hidden = sum(fired[0][:, 4:].sum() for fired in spikes_of(network, x))
    drive = drive_of(network.recipe.spiking, network.gain, x)
    nonzero = (network.layers[0].weight != 0).sum(axis=0)
    assert found.operations.tolist() == [6 * int(((drive != 0) @ nonzero).sum()), 8 * int(hidden)]
    assert found.slots.tolist() == [6 * 5 * 9, 6 * 5 * 8]
    assert found.spikes.tolist() == [
        sum(int(fired[i].sum()) for fired in spikes_of(network, x)) for i in (0, 1)
    ]
    assert dense_operations(network) == [84 * 9, 9 * 8]
    assert dense_operations(network_of(CONVS))[0] == 4 * 18 * (3 * 3 * 4)


def test_an_early_answer_costs_less_and_is_that_of_its_step() -> None:
    network, x = network_of(), samples(40)
    full, early = run(network, x), run(network, x, exit_margin=0.05)
    assert set(full.steps.tolist()) == {6}
    assert full.answers.tolist() == full.by_step[-1].tolist()
    assert 1 <= early.steps.min() < early.steps.max() <= 6
    assert early.answers.tolist() == [early.by_step[s - 1, i] for i, s in enumerate(early.steps)]
    assert early.by_step.tolist() == full.by_step.tolist()
    assert early.operations.sum() < full.operations.sum()
    recipe = network.recipe.replace(spiking=replace(network.recipe.spiking, exit_margin=0.05))
    assert run(replace(network, recipe=recipe), x).steps.tolist() == early.steps.tolist()


def test_codes() -> None:
    x = np.array([[0, 1000, 4000, 8000, 16000]], np.int16)
    for code in ("direct", "rate", "latency"):
        s = SpikingRecipe(steps=400 if code == "rate" else 5, code=code, levels=8)
        drive = drive_of(s, 16.0, x)
        assert drive.tolist() == [[0, 1, 4, 8, 8]]
        steps = np.concatenate(list(steps_of(s, drive)))
        if code == "direct":
            assert (steps == drive).all()
        elif code == "rate":
            assert set(np.unique(steps)) == {0, 1}
            assert steps.mean(axis=0) == pytest.approx([0, 1 / 8, 0.5, 1, 1], abs=0.08)
        else:
            assert steps.sum(axis=0).tolist() == [0, 1, 1, 1, 1]
            assert steps.argmax(axis=0).tolist() == [0, 4, 2, 0, 0]
    many = np.arange(1, 10_001, dtype=np.int16)[None]
    s = SpikingRecipe(steps=1, levels=100)
    assert (np.rint(many * gain_of(s, many) / 16384) <= 100).mean() == pytest.approx(0.999, abs=0.006)
    with pytest.raises(ShapeError, match="cannot be negative"):
        drive_of(SpikingRecipe(steps=1, code="rate"), 16.0, -x)
    assert drive_of(SpikingRecipe(steps=1, levels=8), 16.0, -x).tolist() == [[0, -1, -4, -8, -8]]


def test_the_file_holds_all_of_it(tmp_path) -> None:
    network, x = network_of(CONVS, reset="subtract", beta=0.5), samples()
    file.save(network, tmp_path / "s.safetensors")
    again = file.load_spiking(tmp_path / "s.safetensors")
    assert (again.recipe, again.gain, again.weights_crc32) == (network.recipe, 60.0, network.weights_crc32)
    assert run(again, x).by_step.tolist() == run(network, x).by_step.tolist()
    with pytest.raises(file.ModelFileError, match="a spiking network") as error:
        file.load_any(tmp_path / "s.safetensors")
    assert "edgehff spike run" in error.value.hint


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gain": 0.0}, "gain"),
        ({"layers": ()}, "0 layers"),
        ({"recipe": Recipe(layers=(9, 8))}, r"without \[spiking\]"),
    ],
)
def test_parts_that_do_not_fit_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        replace(network_of(), **changes)


@pytest.mark.parametrize("threshold", [-1, 1 << 24])
def test_a_threshold_stays_where_float32_is_exact(threshold: int) -> None:
    network = network_of()
    with pytest.raises(ShapeError, match="threshold"):
        replace(network, layers=(network.layers[0], replace(network.layers[1], threshold=threshold)))


@pytest.mark.parametrize(
    "bad", [{"steps": 1025}, {"levels": 0}, {"beta": 0}, {"code": "burst"}, {"reset": ""}]
)
def test_recipes_say_what_is_wrong(bad: dict) -> None:
    with pytest.raises(RecipeError, match=f"spiking.{next(iter(bad))}"):
        from_dict({"spiking": {"steps": 8} | bad})
    assert "spiking" not in Recipe().to_dict()
    assert from_dict(Recipe(spiking=SpikingRecipe(steps=3)).to_dict()).spiking.steps == 3


def test_streams_come_in_step_by_step() -> None:
    """Raw numbers, cut off at the levels; the network has the inputs of one step."""
    network = stream_network("events", levels=2)
    raw = np.arange(12, dtype=np.uint8).reshape(2, 6) % 5
    assert network.n_in == 2
    x = network.encode(raw)
    assert x.tolist() == [[0, 1, 2, 2, 2, 0], [1, 2, 2, 2, 0, 1]]
    steps = list(steps_of(network.recipe.spiking, drive_of(network.recipe.spiking, network.gain, x)))
    assert [step.tolist() for step in steps] == [[[0, 1], [1, 2]], [[2, 2], [2, 2]], [[2, 0], [0, 1]]]
    first = next(spikes_of(network, x))[0]
    assert np.array_equal(first, x[:, :2] @ network.layers[0].weight.T > network.layers[0].threshold)


def test_changes_of_a_stream_are_rises_and_falls() -> None:
    stream = np.array([[[0, 5], [7, 5], [7, -4], [30, -5], [30, -5]]], np.int16)
    found = changes(stream, delta=3, most=4)
    rises_and_falls = [[0, 0, 0, 0], [2, 0, 0, 0], [0, 0, 0, 3], [4, 0, 0, 0], [4, 0, 0, 0]]
    assert found[0].tolist() == rises_and_falls
    network = stream_network("delta", delta=3, levels=4)
    assert network.n_in == 4
    raw = stream[:, :3].astype(np.int8)
    assert network.encode(raw).tolist() == changes(raw, 3, 4).reshape(1, -1).tolist()


def stream_network(code: str, **spiking: object) -> SpikingNetwork:
    recipe = Recipe(layers=(3,), gate=None, spiking=SpikingRecipe(steps=3, code=code, **spiking))
    raw, n_in = ("uint8", 2) if code == "events" else ("int8", 4)
    layer = SpikingLayer(np.ones((3, n_in), np.int8), 1, np.ones((2, 1, 3), np.int16))
    return SpikingNetwork(recipe, ("a", "b"), Encoding(raw, (6, 1)), (layer,), gain=1.0)


def test_a_margin_ends_a_sample_where_a_run_of_all_steps_would() -> None:
    network, x = network_of(), samples(40)
    whole, y = run(network, x, 0.0), np.arange(40) % 3
    for margin in (0.0, 0.02, 0.1, 2.0):
        early, found = run(network, x, margin), exit_with(whole, y, margin)
        assert found.steps == pytest.approx(early.steps.mean())
        assert found.accuracy == pytest.approx((early.answers == y).mean())
    assert exit_with(whole, y, 0.02).steps < exit_with(whole, y, 0.1).steps < 6


def test_the_margin_is_the_smallest_that_loses_little() -> None:
    zero = np.zeros(0, np.int64)
    by_step = np.array([[0, 1, 1, 1], [0, 0, 1, 1], [0, 0, 1, 1]])
    leads = np.array([[0.3, 0.045, 0.2, 0.1], [0.5, 0.5, 0.5, 0.5], [0.5, 0.5, 0.5, 0.5]])
    whole = Run(zero, zero, by_step, leads, zero, zero, zero, 0)
    y = np.array([0, 0, 1, 1])
    assert choose(whole, y) == Exit(0.05, 1.0, 1.25)  # 0.04 would answer the second sample wrongly
    assert choose(whole, y, allowed=0.3) == Exit(0.01, 0.75, 1.0)
    hopeless = replace(whole, leads=leads + 5)
    assert choose(hopeless, y) == Exit(0.0, 1.0, 3.0)
    assert with_margin(network_of(), 0.05).recipe.spiking.exit_margin == 0.05


def test_a_lead_is_before_the_second_class() -> None:
    network, x = network_of(), samples(40)
    twins = []
    for layer in network.layers:
        prototypes = layer.prototypes.copy()
        prototypes[1] = prototypes[0]
        twins.append(replace(layer, prototypes=prototypes))
    found = run(replace(network, layers=tuple(twins)), x, 0.0)
    first = found.by_step == 0
    assert first.any()
    assert (found.leads[first] == 0).all()
    assert (found.leads[found.by_step == 2] > 0).all()


def test_work_counts_a_constant_input_once() -> None:
    network, x = network_of(), samples()
    found = run(network, x)
    assert found.once * 6 == found.operations[0]
    assert found.work == (found.once + found.operations[1]) / len(x)
    spikes = run(network_of(code="rate"), x)
    assert (spikes.once, spikes.work) == (0, spikes.operations.sum() / len(x))
