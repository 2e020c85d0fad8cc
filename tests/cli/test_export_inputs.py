"""What users hand to export, verify and run by mistake: each gets our words and the right exit code."""

import json

import export_models as models
import numpy as np
import pytest

from edgehff.cli.main import main
from edgehff.export import artifact as artifacts
from edgehff.model import file

pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.onnx


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the model `windows` in it, and its ONNX file."""
    monkeypatch.chdir(tmp_path)
    file.save(models.model("windows"), "m.safetensors")
    models.file_of(tmp_path, "windows", "onnx").rename("m.onnx")
    return tmp_path


def said(capsys, *args):
    code = main([str(a) for a in args])
    out = capsys.readouterr()
    assert "(bug)" not in out.err
    return code, out.out, out.err


@pytest.mark.parametrize("command", [("verify", "--targets", "onnx"), ("export", "-t", "onnx")])
@pytest.mark.parametrize(
    ("shape", "dtype", "words"),
    [
        ((8, 50), np.int8, "samples have shape (8, 50), this model takes (50, 8)"),
        ((49, 8), np.int8, "samples have shape (49, 8)"),
        ((50, 8), np.int16, "samples are int16, this model takes int8"),
    ],
)
def test_data_of_another_shape_or_dtype_are_told(folder, capsys, command, shape, dtype, words):
    names = np.array(models.model("windows").class_names)
    y = np.arange(60) % len(names)
    np.savez("other.npz", X=np.ones((60, *shape), dtype), y=y, class_names=names)
    code, _, err = said(capsys, *command, "m.safetensors", "--data", "other.npz")
    assert code == 3
    assert words in err


def test_numbers_that_are_none_fail_the_check_and_stay_json(folder, capsys, monkeypatch):
    def broken(self, samples, batch=None):
        return np.full((len(samples), 3, 6), np.nan, np.float32)

    monkeypatch.setattr(artifacts.Artifact, "similarities", broken)
    code, out, _ = said(capsys, "verify", "--targets", "onnx", "--json")
    assert code == 7
    found = json.loads(out)["targets"][0]
    assert not found["passed"]
    assert found["max_abs_diff"] > 1e6


def test_a_damaged_file_is_one_failed_row_among_others(folder, capsys):
    (folder / "m.onnx").write_bytes(b"no model")
    code, out, err = said(capsys, "verify", "--targets", "onnx")
    assert code == 7
    assert "FAILED" in out
    assert "onnxruntime does not load m.onnx" in err


@pytest.mark.parametrize("option", [("--batch", "4"), ("--backend", "portable")])
def test_options_of_executorch_are_refused_for_onnx(folder, capsys, option):
    code, _, err = said(capsys, "export", "-t", "onnx", *option)
    assert code == 2
    assert "is of --target executorch" in err


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_that_are_no_numbers_are_refused(folder, capsys, value):
    models.file_of(folder, "floats", "onnx")
    x = np.zeros((2, 10), np.float32)
    x[1, 3] = value
    np.save("x.npy", x)
    code, out, err = said(capsys, "run", "floats.onnx", "--input", "x.npy")
    assert (code, out) == (3, "")
    assert "NaN or infinite" in err


def test_archives_and_single_numbers_are_no_samples(folder, capsys):
    np.savez("x.npz", a=np.zeros((2, 400), np.int8))
    np.save("x.npy", np.int8(3))
    for name in ("x.npz", "x.npy"):
        code, _, err = said(capsys, "run", "m.onnx", "--input", name)
        assert code == 3
        assert "holds no array of samples" in err


def test_a_folder_of_that_name_is_no_file(folder, capsys):
    (folder / "x.onnx").mkdir()
    code, _, err = said(capsys, "inspect", "x.onnx")
    assert code == 3
    assert "x.onnx is no file" in err


@pytest.mark.executorch
def test_what_is_no_program_never_reaches_native_code(folder, capsys):
    pytest.importorskip("executorch")
    (folder / "x.pte").write_bytes(b"\x00\x00\x00\x00\xff\xfe12" + bytes(100))
    code, _, err = said(capsys, "run", "x.pte", "--input", "none.npy")
    assert code == 3
    assert "x.pte is no ExecuTorch program" in err
