"""`edgehff spike report` as a user calls it."""

from pathlib import Path

import numpy as np
import pytest
from commands import document, run
from spiking_networks import network_of, saved_with_noise

from edgehff.core import ONE
from edgehff.model import file
from edgehff.model.float_network import FloatLayer, FloatNetwork
from edgehff.report.energy import CHIPS, microjoules
from edgehff.report.operations import multiplications

pytest.importorskip("matplotlib")


@pytest.fixture
def case(tmp_path):
    network = network_of(exit_margin=0.03)
    return tmp_path, network, saved_with_noise(network, tmp_path)[1]


def beside(network):
    """The same weights, rectified in the place of spikes; a few of them zero."""
    layers = []
    for layer in network.layers:
        weight = np.where(np.abs(layer.weight) < 8, 0, layer.weight).astype(np.float32)
        layers.append(FloatLayer(weight, layer.prototypes.astype(np.float32) / ONE))
    recipe = network.recipe.replace(arith="float")
    return FloatNetwork(recipe, network.class_names, network.encoding, tuple(layers))


def test_the_report_holds_what_a_run_says(case, capsys):
    folder, network, x = case
    file.save(beside(network), folder / "relu.safetensors")
    path = folder / "r.html"
    found = document(
        capsys,
        "spike",
        "report",
        folder / "s.safetensors",
        "-o",
        path,
        "--beside",
        folder / "relu.safetensors",
    )
    ran = document(capsys, "spike", "run", folder / "s.safetensors")
    assert {k: found[k] for k in ("samples", "accuracy", "steps", "work", "accuracy_by_step")} == {
        k: ran[k] for k in ("samples", "accuracy", "steps", "work", "accuracy_by_step")
    }
    assert found["steps"] < 6
    assert found["exits"][2]["steps"] == pytest.approx(found["steps"])
    whole = document(capsys, "spike", "run", folder / "s.safetensors", "--exit-margin", 0)
    assert (found["work_all_steps"], found["accuracy_all_steps"]) == (whole["work"], whole["accuracy"])
    assert found["beside"]["dense"] == 84 * 9 + 9 * 8
    assert [layer["dense"] for layer in found["per_layer"]] == [6 * 84 * 9, 6 * 9 * 8]
    assert found["beside"]["effective"] == pytest.approx(by_hand(beside(network), x))
    text = path.read_text()
    assert text.count("<svg") == 3
    assert f"{found['work']:,.0f}" in text
    for outside in ("http://", "https://", "<script", "src="):
        assert outside not in text.replace("http://www.w3.org/", "")


def by_hand(network, x):
    """Nonzero inputs times nonzero weights, a sample, counted one by one."""
    total = 0
    for sample in network.encode(x):
        u = sample
        for layer in network.layers:
            total += sum(int(a != 0 and w != 0) for row in layer.weight for w, a in zip(row, u, strict=True))
            u = np.maximum(layer.weight @ u, 0)
    return total / len(x)


def test_multiplications_of_convolutions_are_those_of_every_position():
    network = beside(network_of((conv_of("max"),)))
    x = np.full((1, 84), 9, np.uint8)
    (dense, effective), *_ = multiplications(network, x)
    assert dense == 9 * 2 * 4 * 3 * 3 * 4
    weight = network.layers[0].weight.reshape(4, 3, 3, 2)
    inside = sum(
        int((weight[:, max(0, 1 - r) : 7 - r, max(0, 1 - c) : 8 - c] != 0).sum())
        for r in range(6)
        for c in range(6)
    )
    assert effective == inside


def conv_of(pool):
    from edgehff.geometry import ConvLayer  # noqa: PLC0415

    return ConvLayer(4, pool=pool, pool_size=(2, 2))


def test_a_report_without_another_model_or_pictures(case, capsys):
    folder, _, _ = case
    found = document(
        capsys, "spike", "report", folder / "s.safetensors", "-o", folder / "r.html", "--first", 5
    )
    assert (found["samples"], found["beside"]) == (5, None)
    code, _, err = run(capsys, "spike", "report", folder / "s.safetensors", "-o", folder / "no" / "r.html")
    assert (code, "mkdir -p" in err) == (3, True)


def test_names_from_outside_are_text(case, capsys):
    folder, _, _ = case
    odd = Path(folder / "<b>.safetensors")
    odd.write_bytes((folder / "s.safetensors").read_bytes())
    assert run(capsys, "spike", "report", odd, "-o", folder / "r.html")[0] == 0
    text = (folder / "r.html").read_text()
    assert ("<b>" in text, "&lt;b&gt;" in text) == (False, True)


def test_energy_is_operations_times_what_was_published():
    chips = {chip.name: chip for chip in CHIPS}
    assert microjoules(1e6, chips["Loihi"]) == pytest.approx((23.6, 23.6))
    assert microjoules(1e6, chips["SpiNNaker 2"]) == pytest.approx((10, 450))
    assert all(chip.low <= chip.high and chip.source for chip in CHIPS)
