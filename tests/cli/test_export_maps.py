"""export, verify, run and inspect of networks with convolutions, as a user runs them."""

import json

import export_models as models
import numpy as np
import pytest
from commands import run

from edgehff.model import file


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with one model in it, maps.safetensors."""
    monkeypatch.chdir(tmp_path)
    network = models.model("mixed")
    recipe = network.recipe.replace(data="digits")
    file.save(
        type(network)(recipe, network.class_names, network.encoding, network.layers), "maps.safetensors"
    )
    return tmp_path


@pytest.mark.onnx
def test_a_network_of_convolutions_goes_the_whole_way(folder, capsys):
    pytest.importorskip("onnxruntime")
    code, out, err = run(capsys, "export", "--target", "onnx")
    assert code == 0, err
    assert out.startswith("wrote maps.onnx  ")
    assert "of 360 test rows of digits answered as the model does" in out
    code, out, err = run(capsys, "verify", "--targets", "onnx,onnx-reference", "--json")
    assert code == 0, err
    told = json.loads(out)
    assert told["passed"]
    for target in told["targets"]:
        assert target["argmax_agreement"] == 1
        assert target["max_abs_diff"] < 1e-3
        assert len(target["layer_diffs"]) == 3
    code, out, err = run(capsys, "inspect", "maps.onnx")
    assert code == 0, err
    assert "8x8x2 -> 4x2x5 -> 24 -> 16" in out
    np.save("x.npy", models.proof("mixed").raw[:9])
    code, out, err = run(capsys, "run", "maps.onnx", "--input", "x.npy")
    assert code == 0, err
    network = file.load_any("maps.safetensors")
    answers = network.to_core().predict(network.encode(models.proof("mixed").raw[:9]))
    assert out.split() == [network.class_names[a] for a in answers]


@pytest.mark.executorch
def test_a_program_of_convolutions_is_one_delegate(folder, capsys):
    pytest.importorskip("executorch")
    code, out, err = run(capsys, "export", "--target", "executorch", "--json")
    assert code == 0, err
    told = json.loads(out)
    assert (told["delegates"], told["operators"], told["passed"]) == (1, {}, True)
    code, out, err = run(capsys, "run", "maps.pte", "--data", "digits", "--json")
    assert code == 0, err
    code, wanted, err = run(capsys, "eval", "maps.safetensors", "--data", "digits", "--json")
    assert code == 0, err
    assert json.loads(out)["accuracy"] == pytest.approx(json.loads(wanted)["accuracy"])
