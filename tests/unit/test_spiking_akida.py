"""Akida's integers: quantizer, reference, file, limits, and BrainChip's engine."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgehff.data.dataset import Dataset
from edgehff.data.sources import load
from edgehff.data.split import train_test
from edgehff.errors import CheckFailed, DataError, InputError, MissingToolError, ModelFileError, RecipeError
from edgehff.geometry import ConvLayer
from edgehff.model.encoding import Encoding
from edgehff.model.float_network import FloatLayer, FloatNetwork, float_view
from edgehff.model.network import Network
from edgehff.recipe import EncoderRecipe, Recipe
from edgehff.spiking.targets import akida_quantize
from edgehff.spiking.targets.akida import AkidaNetwork, check, from_bytes, to_bytes
from edgehff.spiking.targets.akida_engine import compare
from edgehff.spiking.targets.akida_quantize import in_integers, quantize
from edgehff.train.local import trained

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / "build/simulators/akida"


def small(act_bits: int = 4, weight_bits: int = 4, **changes: object) -> AkidaNetwork:
    """Random integers: 12 values, 9 and 8 units, 3 classes."""
    rng = np.random.default_rng(5)
    top = 1 if weight_bits == 2 else 7
    sizes = [(9, 12), (8, 9), (3, 8)]
    matrices = [rng.integers(-top, top, size, np.int8, endpoint=True) for size in sizes]
    steps = tuple(rng.integers(1, 30, n, np.int32) for n in (9, 8))
    made = AkidaNetwork(
        class_names=("a", "b", "c"),
        weights=tuple(matrices[:2]),
        act_steps=steps,
        prototypes=matrices[2],
        raw="uint8",
        input_step=17,
        act_bits=act_bits,
        weight_bits=weight_bits,
        weights_crc32="00c0ffee",
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def raw(n: int = 40) -> np.ndarray:
    return np.random.default_rng(6).integers(0, 256, (n, 12), np.uint8)


def slow(network: AkidaNetwork, sample: list[int]) -> list[int]:
    """One sample as the chip computes it, number by number."""
    events = [min(15, int(max(v, 0) / network.input_step + 0.5)) for v in sample]
    for weight, steps in zip(network.weights, network.act_steps, strict=True):
        out = []
        for row, step in zip(weight.tolist(), steps.tolist(), strict=True):
            potential = sum(w * e for w, e in zip(row, events, strict=True))
            level = 0
            while level < 2**network.act_bits - 1 and potential > level * step:
                level += 1
            out.append(level)
        events = out
    return [sum(w * e for w, e in zip(row, events, strict=True)) for row in network.prototypes.tolist()]


@pytest.mark.parametrize(("act_bits", "weight_bits"), [(4, 4), (2, 4), (1, 4), (4, 2)])
def test_the_reference_is_the_chips_arithmetic(act_bits: int, weight_bits: int) -> None:
    network, x = small(act_bits, weight_bits), raw()
    out = network.run(x)
    assert out.dtype == np.int32
    assert out.tolist() == [slow(network, sample) for sample in x.tolist()]
    assert np.array_equal(network.predict(x), out.argmax(axis=1))
    assert len(np.unique(out, axis=0)) > 2


def test_float_and_negative_samples_become_events() -> None:
    network = small(raw="int16", input_scale=4.0, input_step=3)
    x = np.array([[-9.0, 0.0, 0.3, 0.4, 1.0, 9.9, 11.2, 99.0, 0.0, 0.0, 0.0, 0.0]], np.float32)
    assert network.events(x)[0, :8].tolist() == [0, 0, 0, 1, 1, 13, 15, 15]
    with pytest.raises(DataError, match="NaN"):
        network.run(np.full((1, 12), np.nan, np.float32))


def test_rows_in_integers_lose_little() -> None:
    rows = np.random.default_rng(1).normal(size=(20, 300)) * np.geomspace(0.01, 100, 20)[:, None]
    rows[3] = 0
    for top, most in ((7, 0.02), (1, 0.25)):
        integers, scale = in_integers(rows, top)
        assert np.abs(integers).max() == top
        error = ((integers * scale[:, None] - rows) ** 2).sum(axis=1)
        assert (error <= most * (rows**2).sum(axis=1)).all()


@pytest.fixture(scope="module")
def digits() -> tuple[Network, Dataset, Dataset]:
    """A network that learned digits without an offset, its training rows and test rows."""
    whole = load("digits")
    train, test = (whole.rows(at) for at in train_test(whole))
    recipe = Recipe(layers=(48, 32), data="digits", encoder=EncoderRecipe(), epochs=6, join="last")
    return trained(recipe, train), train, test


@pytest.mark.parametrize("kind", ["integer", "float"])
def test_digits_in_four_bits(digits: tuple[Network, Dataset, Dataset], kind: str) -> None:
    network, train, test = digits
    source = network if kind == "integer" else float_view(network)
    made = quantize(source, train.x, train.y)
    ours = (source.to_core() if isinstance(source, Network) else source).predict(source.encode(test.x))  # type: ignore[arg-type]
    ours_right, right = (ours == test.y).mean(), (made.predict(test.x) == test.y).mean()
    assert right > 0.85
    assert right > ours_right - 0.03
    assert [m.shape for m in made.matrices] == [(48, 64), (32, 48), (10, 32)]
    assert made.bytes_of_weights == (48 * 64 + 32 * 48 + 10 * 32) // 2
    assert made.weights_crc32 == f"{source.weights_crc32:08x}"


def test_steps_are_chosen_by_training_rows_alone(
    digits: tuple[Network, Dataset, Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    network, train, _ = digits
    chosen = quantize(network, train.x, train.y)
    first = (chosen.predict(train.x) == train.y).mean()
    monkeypatch.setattr(akida_quantize, "SHARES", (0.2,))
    bad = quantize(network, train.x, train.y)
    worst = (bad.predict(train.x) == train.y).mean()
    assert worst < first - 0.02
    for shares in ((0.2, 0.99), (0.99, 0.2)):
        monkeypatch.setattr(akida_quantize, "SHARES", shares)
        assert (quantize(network, train.x, train.y).predict(train.x) == train.y).mean() > (worst + first) / 2
    assert all(a.sum() > b.sum() for a, b in zip(chosen.act_steps, bad.act_steps, strict=True))


def test_a_file_holds_all_of_it_without_pickle(tmp_path: Path) -> None:
    for network in (small(), small(2, 2), small(raw="int16", input_scale=0.5)):
        data = to_bytes(network)
        assert data == to_bytes(network)
        read = from_bytes(data)
        assert (read.class_names, read.weights_crc32) == (("a", "b", "c"), "00c0ffee")
        assert to_bytes(read) == data
        x = raw() if network.input_scale is None else raw().astype(np.float32)
        assert np.array_equal(read.run(x), network.run(x))


@pytest.mark.parametrize(
    "changes",
    [
        {"prototypes": np.full((3, 8), 8, np.int8)},
        {"prototypes": np.zeros((3, 7), np.int8)},
        {"prototypes": np.zeros((2, 8), np.int8)},
        {"weight_bits": 3},
        {"act_bits": 3},
        {"input_step": 0},
        {"raw": "float32"},
        {"act_steps": (np.zeros(9, np.int32), np.ones(8, np.int32))},
        {"act_steps": (np.ones(9, np.float32), np.ones(8, np.int32))},
    ],
)
def test_a_file_whose_parts_do_not_fit_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ModelFileError, match="do not fit together"):
        from_bytes(to_bytes(small(**changes)))


def test_other_files_are_refused() -> None:
    data = to_bytes(small())
    for broken in (b"", b"no zip", data[:200], data[:-30]):
        with pytest.raises(ModelFileError, match="not an Akida file"):
            from_bytes(broken)


def dense(n_in: int = 12, encoding: Encoding | None = None, **recipe: object) -> FloatNetwork:
    """A float network of one layer of 4 units and 2 classes, weights of all ones."""
    r = Recipe(**{"layers": (4,), "arith": "float"} | recipe)  # type: ignore[arg-type]
    prototypes = np.zeros((2, r.prototypes_per_class, 4), np.float32)
    prototypes[..., 0] = 1
    layer = FloatLayer(np.ones((4, n_in), np.float32), prototypes)
    return FloatNetwork(r, ("a", "b"), encoding or Encoding("uint8", (n_in, 1)), (layer,))


ONES = {"offset": np.ones(12, np.int32), "gain": np.ones(12, np.uint16)}


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (dense(encoding=Encoding("uint8", (12, 1), **ONES)), "layer 0: .*encoder.center"),
        (dense(encoding=Encoding("uint8", (12, 1), log=True)), "layer 0: .*encoder.log"),
        (dense(13, encoding=Encoding("uint8", (12, 1), bias=7)), "layer 0: .*encoder.bias = 7"),
        (dense(1, encoding=Encoding("uint8", (12, 1), features=("mav",))), "layer 0: .*encoder.features"),
        (dense(prototypes_per_class=3), "layer 0: 3 prototypes a class, .* with 1"),
    ],
)
def test_what_the_chip_has_not_is_refused(network: FloatNetwork, words: str) -> None:
    with pytest.raises(RecipeError, match=words) as caught:
        check(network)
    assert "train again" in caught.value.hint


def test_a_convolution_is_refused() -> None:
    recipe = Recipe(layers=(), conv=(ConvLayer(2),), input_shape=(3, 4, 1), arith="float")
    layer = FloatLayer(np.ones((2, 9), np.float32), np.full((2, 1, 2), 0.5, np.float32))
    with pytest.raises(RecipeError, match=r"layer 0: a convolution"):
        check(FloatNetwork(recipe, ("a", "b"), Encoding("uint8", (12, 1)), (layer,)))


def test_bits_are_the_chips() -> None:
    x, y = raw(), np.arange(40) % 2
    with pytest.raises(RecipeError, match="layer 0: weights of 8 bits, Akida has 2 or 4"):
        quantize(dense(), x, y, weight_bits=8)
    with pytest.raises(RecipeError, match="layer 0: events of 3 bits"):
        quantize(dense(), x, y, act_bits=3)


def test_negative_samples_are_refused() -> None:
    x = np.full((40, 12), -3, np.int8)
    with pytest.raises(RecipeError, match=r"layer 0: training samples reach down to -3, .*0 to 15"):
        quantize(dense(encoding=Encoding("int8", (12, 1))), x, np.arange(40) % 2)


def test_sums_beyond_twenty_bits_are_refused() -> None:
    y = np.arange(4) % 2
    most = 524287 // (7 * 15)
    made = quantize(dense(most), np.ones((4, most), np.uint8), y)
    assert made.matrices[0].sum() * 15 == 4 * 15 * 7 * most
    with pytest.raises(RecipeError, match="layer 0: potentials reach 524,370, Akida's 20 bits hold 524,287"):
        quantize(dense(most + 1), np.ones((4, most + 1), np.uint8), y)


ENGINE = """
import json, sys, numpy as np
folder = sys.argv[1]
outputs = np.zeros((40, 3), np.int32)
{change}
np.savez(folder + "/outputs.npz", outputs=outputs, version="7")
open(folder + "/mapping.json", "w").write(json.dumps({{"on_chip": {on_chip}}}))
"""


def engine(folder: Path, change: str = "", on_chip: bool = True) -> Path:
    (folder / "bin").mkdir(exist_ok=True)
    python = folder / "bin/python"
    python.unlink(missing_ok=True)
    python.symlink_to(sys.executable)
    (folder / "chip.py").write_text(ENGINE.format(change=change, on_chip=on_chip))
    return folder


def test_an_engine_is_compared_output_by_output(tmp_path: Path) -> None:
    silent = to_bytes(small(prototypes=np.zeros((3, 8), np.int8)))  # all outputs are 0
    found = compare(silent, raw(), engine(tmp_path))
    assert (found.passed, found.differing, found.outputs, found.first) == (True, 0, 120, None)
    found = compare(silent, raw(), engine(tmp_path, "outputs[7, 2] += 1"))
    assert (found.passed, found.differing, found.first) == (False, 1, (7, 2))
    assert not compare(silent, raw(), engine(tmp_path, on_chip=False)).passed
    with pytest.raises(CheckFailed, match=r"outputs of \(39, 3\), ours are \(40, 3\)"):
        compare(silent, raw(), engine(tmp_path, "outputs = outputs[1:]"))
    with pytest.raises(CheckFailed, match="exit code 1: does not fit"):
        compare(silent, raw(), engine(tmp_path, "sys.exit('does not fit')"))
    with pytest.raises(CheckFailed, match=r"no answer in 0\.5 s"):
        compare(silent, raw(), engine(tmp_path, "import time; time.sleep(60)"), timeout=0.5)
    with pytest.raises(InputError, match="no samples"):
        compare(silent, raw(0), tmp_path)
    with pytest.raises(MissingToolError, match="no engine") as caught:
        compare(silent, raw(), tmp_path / "none")
    assert "install.py akida" in caught.value.hint


@pytest.mark.skipif(
    not (HOME / "chip.py").is_file(), reason="no BrainChip engine: tools/simulators/install.py akida"
)
def test_brainchips_engine_gives_the_same_outputs(digits: tuple[Network, Dataset, Dataset]) -> None:
    for bits in ((4, 4), (2, 4), (1, 4), (4, 2)):
        found = compare(to_bytes(small(*bits)), raw(500), HOME)
        assert (found.differing, found.outputs, found.passed) == (0, 1500, True)
    network, train, test = digits
    found = compare(to_bytes(quantize(network, train.x, train.y)), test.x, HOME)
    assert (found.differing, found.outputs, found.mapping["nps"]) == (0, 3600, 3)


def test_the_package_is_not_imported_here() -> None:
    code = "import sys, edgehff.spiking.targets.akida_engine; sys.exit('akida' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
