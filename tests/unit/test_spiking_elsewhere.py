"""Networks as chains of matrices, as NIR, and in simulators that a folder names."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from spiking_networks import RUN, network_of, samples, simulator

from edgehff.errors import InputError, MissingToolError, RecipeError
from edgehff.geometry import ConvLayer
from edgehff.spiking import chain as chains
from edgehff.spiking.chain import chain_of, inputs_of, trains_of
from edgehff.spiking.simulate import run
from edgehff.spiking.verify import compare, simulators_in, verify, write_case

CONVS = (
    ConvLayer(4, pool="mean", pool_size=(2, 2), grid=(1, 3)),
    ConvLayer(4, kind="depthwise", kernel=(2, 2), padding=(0, 1), pool="mean", pool_size=(1, 2)),
)


@pytest.mark.parametrize("conv", [(), CONVS])
def test_a_chain_spikes_as_its_network(tmp_path: Path, conv: tuple[ConvLayer, ...]) -> None:
    network, x = network_of(conv), samples()
    home = simulator(tmp_path, "chain", RUN.format(change=""))
    (line,) = verify(network, x, [home])
    assert line.passed
    assert (line.simulator, line.version, line.differing) == ("chain", "7.1", 0)
    assert line.layers == tuple(range(len(network.layers)))
    assert line.slots == sum(len(layer.matrix) for layer in chain_of(network)) * len(x) * 6
    assert line.spikes > 100


def test_one_spike_that_differs_is_named(tmp_path: Path) -> None:
    home = simulator(tmp_path, "wrong", RUN.format(change='out["1"][3, 2, 5] ^= True'))
    (line,) = verify(network_of(), samples(), [home])
    assert not line.passed
    assert (line.differing, line.first) == (1, (1, 3, 2, 5))


def test_several_arithmetics_of_one_simulator(tmp_path: Path) -> None:
    text = RUN.format(change='np.savez(sys.argv[1] + "/spikes_wide.npz", **{"1": out["1"]})')
    lines = list(verify(network_of(), samples(), [simulator(tmp_path, "two", text)]))
    assert [(line.simulator, line.layers, line.passed) for line in lines] == [
        ("two", (0, 1), True),
        ("two wide", (1,), True),
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("raise SystemExit('no licence')", "exit code 1: no licence"),
        ("pass", "exit code 0: wrote no spikes"),
        ("import time; time.sleep(60)", "no answer in 3 s"),
        (RUN.format(change="") + "raise SystemExit('afterwards')", "exit code 1: afterwards"),
        (
            RUN.format(change='out = {"1": out["1"][:, :2]}'),
            "layer 1: spikes of (5, 2, 8), ours of (5, 6, 8)",
        ),
        (RUN.format(change='out = {"9": out["1"]}'), "no layer's spikes in its file"),
    ],
)
def test_a_simulator_that_fails_says_why(tmp_path: Path, text: str, reason: str) -> None:
    (line,) = verify(network_of(), samples(), [simulator(tmp_path, "s", text)], timeout=3)
    assert (line.reason, line.passed) == (reason, False)


@pytest.mark.parametrize(
    ("text", "start"),
    [
        (RUN.format(change="") + "open(sys.argv[1] + '/spikes.npz', 'wb').write(b'PK cut')", "spikes.npz: "),
        (RUN.format(change="open(sys.argv[1] + '/metrics.json', 'w').write('{}')"), "metrics.json: KeyError"),
    ],
)
def test_damaged_results_are_a_reason(tmp_path: Path, text: str, start: str) -> None:
    (line,) = verify(network_of(), samples(), [simulator(tmp_path, "s", text)])
    assert line.reason.startswith(start)
    assert not line.passed


@pytest.mark.parametrize(("more", "passed"), [(0, True), (1, False), (0.25, False)])
def test_operations_are_to_be_counted_alike(tmp_path: Path, more: float, passed: bool) -> None:
    total = int(run(network_of(), samples(), 0.0).operations.sum())
    each = {"Effective_MACs": (total - 100) / 5, "Effective_ACs": (100 + more) / 5, "Dense": 1.0}
    write = f'open(sys.argv[1] + "/metrics.json", "w").write({json.dumps({"SynapticOperations": each})!r})'
    lines = verify(network_of(), samples(), [simulator(tmp_path, "bench", RUN.format(change=write))])
    (line,) = lines
    assert line.operations == (pytest.approx(total + more), total)
    assert (line.passed, line.differing) == (passed, 0)


def test_old_spikes_are_not_taken_for_new_ones(tmp_path: Path) -> None:
    good = simulator(tmp_path, "a", RUN.format(change=""))
    lines = list(verify(network_of(), samples(), [good, simulator(tmp_path, "b", "pass")]))
    assert [line.passed for line in lines] == [True, False]


def test_a_simulator_without_an_environment_says_so(tmp_path: Path) -> None:
    home = simulator(tmp_path, "s", "pass")
    (home / "bin/python").unlink()
    (line,) = verify(network_of(), samples(), [home])
    assert "No such file" in line.reason


def test_silence_shows_nothing() -> None:
    ours = [np.zeros((2, 3, 4), np.bool_)]
    line = compare("s", {"0": ours[0]}, ours)
    assert (line.passed, line.reason) == (False, "no neuron spikes: nothing was shown")


def test_simulators_are_folders_with_a_program(tmp_path: Path) -> None:
    with pytest.raises(MissingToolError, match="no simulators"):
        simulators_in(tmp_path)
    for name in ("b", "a"):
        simulator(tmp_path, name, "pass")
    assert [path.name for path in simulators_in(tmp_path)] == ["a", "b"]
    assert [path.name for path in simulators_in(tmp_path, ["b"])] == ["b"]
    with pytest.raises(MissingToolError, match=r"'c' in .*there are: a, b"):
        simulators_in(tmp_path, ["c"])


def test_a_leak_is_refused_where_simulators_have_none(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"layer 0: beta = 0\.5"):
        list(verify(network_of(beta=0.5), samples(), [simulator(tmp_path, "s", RUN.format(change=""))]))


def test_no_samples_show_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no samples"):
        list(verify(network_of(), samples()[:0], [simulator(tmp_path, "s", "pass")]))


def test_what_no_matrix_says_is_refused_with_its_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RecipeError, match="layer 1: a maximum"):
        chain_of(network_of((ConvLayer(4), ConvLayer(4, pool="max", pool_size=(2, 2)))))
    monkeypatch.setattr(chains, "MAX_SYNAPSES", 84 * 9 - 1)
    with pytest.raises(RecipeError, match="layer 0: 84 inputs x 9 neurons are over 755 synapses"):
        chain_of(network_of())


@pytest.mark.spiking
@pytest.mark.parametrize("conv", [(), CONVS])
@pytest.mark.parametrize("code", ["direct", "latency"])
def test_snntorch_reads_the_same_spikes_from_nir(conv: tuple[ConvLayer, ...], code: str) -> None:
    nir = pytest.importorskip("edgehff.spiking.nir")
    pytest.importorskip("snntorch")
    network, x = network_of(conv, code=code), samples()
    if code != "direct":
        network = replace(network, layers=tuple(replace(layer, threshold=40) for layer in network.layers))
    found = nir.run_in_snntorch(nir.build(network), inputs_of(network, x))
    ours = trains_of(network, x)[-1]
    assert np.array_equal(found, ours)
    assert ours.any()


@pytest.mark.spiking
def test_a_nir_file_says_what_its_answer_takes(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    network = network_of()
    write_case(network, samples(), tmp_path)
    with h5py.File(tmp_path / "network.nir") as file:
        meta = file["node/metadata"]
        said = json.loads(meta["edgehff"][()])
        assert said["steps"] == 6
        assert said["weights_crc32"] == f"{network.weights_crc32:08x}"
        assert said["class_names"] == ["a", "b", "c"]
        for i, layer in enumerate(network.layers):
            assert np.array_equal(meta[f"prototypes_{i}"][()], layer.prototypes)


@pytest.mark.spiking
def test_nir_refuses_a_reset_that_it_cannot_say() -> None:
    nir = pytest.importorskip("edgehff.spiking.nir")
    with pytest.raises(RecipeError, match="layer 0: NIR has no neurons with reset = 'subtract'"):
        nir.build(network_of(reset="subtract"))
