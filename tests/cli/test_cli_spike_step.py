"""`edgehff export` of a spiking model to ONNX and ExecuTorch, as a user calls it."""

from dataclasses import replace

import numpy as np
import pytest
from commands import document, run
from spiking_networks import network_of

from edgehff.export.step_run import StepFile, open_step
from edgehff.model import file

pytestmark = pytest.mark.spiking
ONNX, EXECUTORCH = (pytest.param(name, marks=getattr(pytest.mark, name)) for name in ("onnx", "executorch"))
ENDINGS = {"onnx": ".onnx", "executorch": ".pte"}


@pytest.fixture
def folder(tmp_path):
    """A model in spikes.safetensors and its data in rows.npz: 30 rows, the last 12 for testing."""
    rng = np.random.default_rng(6)
    x = (rng.integers(0, 256, (30, 84)) * (rng.random((30, 84)) < 0.5)).astype(np.uint8)
    data = tmp_path / "rows.npz"
    names = np.array(["a", "b", "c"])
    np.savez(data, X=x, y=np.arange(30) % 3, is_test=np.arange(30) >= 18, class_names=names)
    network = network_of()
    network = replace(network, recipe=replace(network.recipe, data=str(data)))
    file.save(network, tmp_path / "spikes.safetensors")
    return tmp_path


def needs(target):
    pytest.importorskip({"onnx": "onnxruntime"}.get(target, target))


@pytest.mark.parametrize("target", [ONNX, EXECUTORCH])
def test_a_step_is_written_once_the_runtime_gave_the_spikes(folder, capsys, target):
    needs(target)
    model, path = folder / "spikes.safetensors", folder / f"spikes{ENDINGS[target]}"
    found = document(capsys, "export", "-t", target, model)
    assert (found["differing"], found["samples"], found["slots"]) == (0, 12, 12 * 6 * 17)
    assert found["spikes"] > 100
    assert found["similarity_diff"] < found["bounds"]["similarity_diff"]
    assert (found["file"], found["bytes"]) == (str(path), path.stat().st_size)
    assert open_step(path).metadata["steps"] == 6


@pytest.mark.onnx
def test_what_a_reader_sees(folder, capsys, monkeypatch):
    needs("onnx")
    monkeypatch.chdir(folder)
    code, out, err = run(capsys, "export", "-t", "onnx", "-o", "step.onnx")
    assert code == 0, err
    assert out.startswith("wrote step.onnx")
    assert "spikes in 1,224 slots, 0 differ; similarities within" in out
    code, _, err = run(capsys, "run", "step.onnx", "--data", "rows.npz")
    assert (code, "have format 'edgehff.step/1'" in err) == (3, True)


@pytest.mark.onnx
@pytest.mark.parametrize(
    ("off", "words"),
    [("spike", "1 of 1,224 slots differ in onnxruntime"), ("answer", "similarities by 2e-05")],
)
def test_what_would_not_give_the_spikes_is_not_written(folder, capsys, monkeypatch, off, words):
    needs("onnx")
    real = StepFile.run

    def changed(self, x):
        similarities, trains = real(self, x)
        if off == "spike":
            trains[1][3, 2, 5] ^= True
        else:
            similarities[7, 5, 2] += 2e-5
        return similarities, trains

    monkeypatch.setattr(StepFile, "run", changed)
    path = folder / "step.onnx"
    code, _, err = run(capsys, "export", "-t", "onnx", folder / "spikes.safetensors", "-o", path)
    assert (code, path.exists(), words in err) == (7, False, True), err


@pytest.mark.onnx
@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--prototypes", "int8"), 2, "--prototypes is of models that do not spike"),
        (("--batch", "2"), 2, "--batch is of --target executorch"),
        (("--backend", "portable"), 2, "--backend is of --target executorch"),
        (("-o", "{folder}/spikes.pte"), 3, "-o spikes.onnx"),
        (("-o", "{folder}/no/spikes.onnx"), 3, "mkdir -p"),
        (("--data", "digits"), 3, "digits has 10 classes"),
        (("--data", "{folder}/none.npz"), 3, "none.npz"),
    ],
)
def test_what_is_refused(folder, capsys, arguments, code, words):
    needs("onnx")
    given = [a.format(folder=folder) for a in arguments]
    found, _, err = run(capsys, "export", "-t", "onnx", folder / "spikes.safetensors", *given)
    assert (found, words in err) == (code, True), err
    assert not list(folder.glob("*.onnx"))


@pytest.mark.onnx
def test_membranes_that_are_too_large_name_their_layer(folder, capsys):
    needs("onnx")
    model = folder / "loud.safetensors"
    network = network_of(levels=255, steps=64)
    file.save(replace(network, recipe=replace(network.recipe, data=str(folder / "rows.npz"))), model)
    code, _, err = run(capsys, "export", "-t", "onnx", model)
    assert (code, "layer 0: membranes of up to" in err, "fewer levels" in err) == (3, True, True), err
