"""sPyNNaker's words, mapping and machine code, where tools/simulators/install.py spinnaker installed it."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
from spiking_networks import network_of, samples

from edgehff.model.encoding import Encoding
from edgehff.model.spiking_network import SpikingLayer, SpikingNetwork
from edgehff.recipe import Recipe, SpikingRecipe
from edgehff.spiking.chain import inputs_of
from edgehff.spiking.targets import spinnaker
from edgehff.spiking.targets.spinnaker import SpinnakerNetwork
from edgehff.spiking.targets.spinnaker_engine import compare_with

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / "build/simulators/spinnaker"
EXPK = """
import chip, numpy as np
net = {"rest_0": -5, "threshold_0": 9, "cm": 2.0, "tau_m": 32768.0}
words = chip.neuron_words(net, 0, 1)
for tau in (2**30, 2**30 - 1, 2**29 + 1, 2**29, 2**31 - 1):
    words[4] = tau
    print(*np.frombuffer(chip.Core(words, 1).cpu.mem_read(chip.ARRAYS[0], 16), "<i4"))
"""


@pytest.fixture
def home():
    if not (HOME / "installed.txt").is_file():
        pytest.skip("needs python tools/simulators/install.py spinnaker")
    return HOME


def wide_network():
    """784-500-500, as the MNIST recipe has it."""
    rng = np.random.default_rng(8)
    recipe = Recipe(layers=(500, 500), gate=None, spiking=SpikingRecipe(steps=8))
    layers = []
    for shape, threshold in zip(recipe.shapes(784), (3000, 200), strict=True):
        weight = rng.integers(-40, 42, (shape.n_out, shape.n_in)).astype(np.int8)
        prototypes = rng.integers(-5000, 5000, (10, 1, shape.head)).astype(np.int16)
        layers.append(SpikingLayer(weight, threshold, prototypes))
    names = tuple("0123456789")
    return SpikingNetwork(recipe, names, Encoding("uint8", (784, 1)), tuple(layers), gain=60.0)


@pytest.mark.slow
def test_expk_makes_nothing_between_a_leak_of_two_words_and_none(home):
    done = subprocess.run(
        [home / "bin/python", "-c", EXPK], capture_output=True, text=True, cwd=home, check=True
    )
    found = np.array([line.split() for line in done.stdout.splitlines()], int)
    assert found[:, :2].tolist() == [[0, -5]] * 5
    assert found[:, 3].tolist() == [spinnaker.EXP_TC] * 3 + [32765, 32768]
    assert found[0, 2] == spinnaker.R == 2**29


@pytest.mark.slow
def test_a_small_network_maps_and_spikes_alike(home):
    network = network_of()
    x = inputs_of(network, samples(20))
    found = compare_with(spinnaker.to_bytes(spinnaker.quantize(network), network, x), x, home)
    assert found.passed, found.told
    assert (found.mapping["version"], found.mapping["cores"], found.mapping["chips"]) == ("1!7.4.1", 3, 1)
    assert found.mapping["slower"] == 1
    assert found.agreement.spikes > 100
    nonzero = sum(np.count_nonzero(layer.weight) for layer in network.layers) + 3 * np.count_nonzero(
        network.layers[0].weight
    )
    assert found.mapping["words"] == nonzero + 2 + 13 * 17  # a header for each core, 13 words for each neuron


@pytest.mark.slow
def test_leaks_and_full_ring_buffers_are_the_machine_codes(home):
    rng = np.random.default_rng(5)
    weights = rng.integers(-16256, 16257, (140, 60)).astype(np.int16)
    second = rng.integers(-99, 100, (8, 140)).astype(np.int16)
    chip = SpinnakerNetwork((weights, second), (9000, 30), (1,), 12)
    x = (rng.random((6, 12, 60)) < 0.4).astype(np.int16)
    trace = spinnaker.run(chip, x)
    assert trace.saturated
    assert trace.leaking > 1000
    found = compare_with(spinnaker.to_bytes(chip, network_of(), x), x, home)
    assert found.passed, found.told
    assert found.mapping["cores"] == 4


@pytest.mark.slow
def test_a_wide_network_maps(home):
    network = wide_network()
    rows = np.random.default_rng(9).integers(0, 256, (2, 784)).astype(np.uint8)
    x = inputs_of(network, network.encode(rows))
    found = compare_with(spinnaker.to_bytes(spinnaker.quantize(network), network, x), x, home)
    assert found.passed, found.told
    assert (found.mapping["cores"], found.mapping["slower"]) == (9, 31)
    assert found.agreement.spikes > 1000


def test_the_engines_program_says_what_it_needs():
    text = (ROOT / "tools/simulators/spinnaker/chip.py").read_text()
    assert 'dependencies = ["sPyNNaker==1!7.4.1", "unicorn==2.1.4"' in text
    assert f"NEURONS = {spinnaker.NEURONS}\n" in text
