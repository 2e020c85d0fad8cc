"""export, verify, run and inspect, as a user runs them: files, documents, exit codes, nothing half done."""

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import replace

import export_models as models
import numpy as np
import pytest
from commands import run

from edgehff import extras
from edgehff.export import program
from edgehff.model import file

needs_onnx = pytest.mark.onnx
needs_executorch = pytest.mark.executorch
CRC = {name: f"{models.model(name).weights_crc32:08x}" for name in ("plain", "small")}


@pytest.fixture(autouse=True)
def packages(request):
    if request.node.get_closest_marker("onnx"):
        pytest.importorskip("onnxruntime")
    if request.node.get_closest_marker("executorch"):
        pytest.importorskip("executorch")


def document(capsys, *args, code=0):
    got, out, err = run(capsys, *args, "--json")
    assert got == code, err
    return json.loads(out)


def refused(capsys, code, match, *args):
    """Ends with code and these words, a next step, and nothing else; returns what to try."""
    got, out, err = run(capsys, *args)
    assert (got, out) == (code, ""), err
    assert match in err
    assert "Traceback" not in err
    assert "(bug)" not in err
    return err.partition("try: ")[2].strip()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with one model in it, digits.safetensors."""
    monkeypatch.chdir(tmp_path)
    file.save(models.model("plain"), "digits.safetensors")
    return tmp_path


def broken_builder(monkeypatch):
    """From now on the ONNX builder swaps two classes."""
    from edgehff.export import onnx  # noqa: PLC0415 (needs onnx)

    def swapped(network):
        whole = program.program_of(network)
        order = [1, 0, *range(2, len(whole.class_names))]
        layers = tuple(replace(layer, prototypes=layer.prototypes[order]) for layer in whole.layers)
        return replace(whole, layers=layers)

    monkeypatch.setattr(onnx, "program_of", swapped)


@needs_onnx
@needs_executorch
def test_a_folder_with_one_model_needs_no_names(folder, capsys):
    code, out, err = run(capsys, "export", "--target", "executorch")
    assert code == 0, err
    size = (folder / "digits.pte").stat().st_size
    assert out.startswith(f"wrote digits.pte  {size:,} bytes\n1 delegate, nothing left over; arena ")
    assert "for 1 sample(s) at once\n100.00% of 360 test rows of digits answered as the model does" in out
    assert "next: edgehff run digits.pte --data digits" in err
    code, out, err = run(capsys, "export", "--target", "onnx")
    assert code == 0, err
    assert out.startswith("wrote digits.onnx  ")
    assert len(out.splitlines()) == 2
    found = document(capsys, "verify")
    assert (found["format"], found["passed"]) == ("edgehff.verify/1", True)
    assert found["model"] == "digits.safetensors"
    assert (found["samples"], found["rows"], found["reference"]) == (360, "test rows of digits", "the C core")
    assert found["weights_crc32"] == CRC["plain"]
    entries = {e["target"]: e for e in found["targets"]}
    assert {name: e["file"] for name, e in entries.items()} == {
        "onnx": "digits.onnx", "onnx-reference": "digits.onnx", "executorch": "digits.pte",
        "executorch-portable": None,
    }  # fmt: skip
    runtimes = ["onnxruntime", "onnx.reference", "executorch", "executorch"]
    assert [e["runtime"].split()[0] for e in entries.values()] == runtimes
    for entry in entries.values():
        assert (entry["argmax_agreement"], entry["disagreements"], entry["passed"]) == (1, 0, True)
        assert (entry["first_differing_layer"], entry["reason"], len(entry["layer_diffs"])) == (None, "", 2)
        assert entry["max_abs_diff"] < 2e-3
        assert entry["bounds"]["argmax_agreement"] == 0.999
    assert sorted(p.name for p in folder.iterdir()) == ["digits.onnx", "digits.pte", "digits.safetensors"]


@needs_onnx
def test_export_says_what_it_did_and_verify_prints_a_table(folder, capsys):
    found = document(capsys, "export", "-t", "onnx")
    path = folder / "digits.onnx"
    assert (found["format"], found["file"], found["target"]) == ("edgehff.export/1", "digits.onnx", "onnx")
    assert found["bytes"] == path.stat().st_size
    assert (found["backend"], found["passed"], found["samples"]) == (None, True, 360)
    assert found["rows"] == "test rows of digits"
    before = path.read_bytes()
    assert document(capsys, "export", "-t", "onnx")["bytes"] == len(before)
    assert path.read_bytes() == before
    code, out, err = run(capsys, "verify", "--targets", "onnx,onnx-reference")
    assert code == 0
    assert "onnx-reference ..." in err
    assert out.count("digits.onnx") == out.count("passed") == out.count("100.000%") == 2
    assert "against the C core" in out


@needs_onnx
def test_the_newest_model_is_taken_and_a_named_one_keeps_its_place(folder, capsys):
    file.save(models.model("equal"), "equal.safetensors")
    os.utime("equal.safetensors", (1, 1))
    assert document(capsys, "export", "-t", "onnx")["file"] == "digits.onnx"
    (folder / "sub").mkdir()
    file.save(models.model("equal"), folder / "sub" / "my.model.safetensors")
    assert document(capsys, "export", "-t", "onnx", "sub/my.model.safetensors")["file"] == "sub/my.model.onnx"
    assert document(capsys, "export", "-t", "onnx", "-o", "sub/x.onnx")["file"] == "sub/x.onnx"
    assert sorted(p.name for p in (folder / "sub").glob("*.onnx")) == ["my.model.onnx", "x.onnx"]


@needs_executorch
def test_each_backend_has_its_file_and_a_batch(folder, capsys):
    found = document(capsys, "export", "-t", "executorch", "--backend", "portable", "--batch", 4)
    assert (found["file"], found["backend"], found["max_batch"]) == ("digits.portable.pte", "portable", 4)
    assert found["delegates"] == 0
    assert found["operators"]["aten::relu.out"] == 2
    np.save("x.npy", models.proof("plain").raw)
    for options in ((), ("--batch", 4), ("--batch", 3)):
        found = document(capsys, "run", "digits.portable.pte", "--input", "x.npy", *options)
        assert len(found["answers"]) == 64
    args = ("run", "digits.portable.pte", "--input", "x.npy", "--batch", 8)
    tried = refused(capsys, 3, "8 samples at once, digits.portable.pte takes at most 4", *args)
    assert tried.startswith("edgehff export --batch 8")


@needs_onnx
def test_prototypes_become_int8(folder, capsys):
    assert document(capsys, "export", "-t", "onnx", "--prototypes", "int8")["passed"]
    meta = document(capsys, "inspect", "digits.onnx")["metadata"]
    assert (meta["prototype_bits"], meta["weights_crc32"]) == (8, CRC["small"])
    assert document(capsys, "verify", "--targets", "onnx")["passed"]  # the file of the int16 model
    file.save(models.model("small"), "small.safetensors")
    tried = refused(capsys, 3, "the model has int8 ones", "export", "-t", "onnx", "small.safetensors",
                    "--prototypes", "int16")  # fmt: skip
    assert tried
    assert not (folder / "small.onnx").exists()


@needs_onnx
def test_a_float_model_is_exported_and_its_prototypes_stay(folder, capsys):
    file.save(models.model("float"), "float.safetensors")
    args = ("export", "-t", "onnx", "float.safetensors")
    tried = refused(capsys, 3, "prototypes of int8 are asked for, the model has float ones",
                    *args, "--prototypes", "int8")  # fmt: skip
    assert "edgehff quantize" in tried
    found = document(capsys, *args)
    assert (found["reference"], found["passed"]) == ("the specification in float64", True)
    assert document(capsys, "inspect", "float.onnx")["metadata"]["prototype_bits"] == 32


@pytest.mark.parametrize(
    ("args", "code", "match"),
    [
        (("export",), 2, "Missing option"),
        (("export", "-t", "tflite"), 2, "'tflite' is not one of"),
        (("export", "-t", "executorch", "--batch", "0"), 2, "0 is not in the range"),
        (("verify", "--targets", "onx"), 3, "no target is called 'onx'"),
        (("verify", "--targets", "onnx,executorch-xnnpack"), 3, "no target is called 'executorch-xnnpack'"),
        (("verify", "--targets", ","), 3, "--targets names nothing"),
        (("verify", "none.safetensors"), 3, "none.safetensors"),
        (("run", "m.onnx"), 2, "name either --input or --data"),
        (("run", "m.onnx", "--input", "x.npy", "--data", "digits"), 2, "name either --input or --data"),
        (("run", "m.onnx", "--input", "x.npy", "-o", "out.csv"), 3, "out.csv does not end in .npy"),
        (("run", "m.onnx", "--data", "digits"), 3, "cannot read m.onnx"),
        (("run", "digits.safetensors", "--data", "digits"), 3, "neither .onnx nor .pte"),
        (("inspect", "m.pte"), 3, "cannot read m.pte"),
        (("inspect", "digits.safetensors"), 3, "neither .onnx nor .pte"),
    ],
)
def test_bad_input_has_an_exit_code_and_a_next_step(folder, capsys, args, code, match):
    before = sorted(folder.iterdir())
    assert refused(capsys, code, match, *args)
    assert sorted(folder.iterdir()) == before


def test_the_nearest_target_is_named(folder, capsys):
    assert refused(capsys, 3, "onx", "verify", "--targets", "onx") == "--targets onnx"
    tried = refused(capsys, 3, "potable", "verify", "--targets", "executorch-potable")
    assert tried == "--targets executorch-portable"


@needs_onnx
@pytest.mark.parametrize(
    ("options", "match", "tried"),
    [
        (("-o", "m.pte"), "m.pte does not end in .onnx", "-o m.onnx"),
        (("-o", "m"), "m does not end in .onnx", "-o m.onnx"),
        (("-o", "no/such/m.onnx"), "the folder of no/such/m.onnx does not exist", "mkdir -p no/such"),
        (("none.safetensors",), "cannot read none.safetensors", "edgehff train"),
        (("--data", "nowhere.npz"), "nowhere.npz", ""),
        (("--data", "emg-gestures"), "emg-gestures has 6 classes", "edgehff data show"),
    ],
)
def test_an_export_that_cannot_be_leaves_nothing(folder, capsys, options, match, tried):
    assert refused(capsys, 3, match, "export", "-t", "onnx", *options).startswith(tried)
    assert [p.name for p in folder.iterdir()] == ["digits.safetensors"]


@needs_executorch
def test_a_program_has_another_ending(folder, capsys):
    tried = refused(capsys, 3, "does not end in .pte", "export", "-t", "executorch", "-o", "m.onnx")
    assert tried == "-o m.pte"


@needs_onnx
def test_a_folder_without_a_model(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other.safetensors").write_bytes(b"no model")
    for args in (("export", "-t", "onnx"), ("verify",)):
        assert "edgehff train" in refused(capsys, 3, "no model in .", *args)


def without(monkeypatch, *packages):
    find = importlib.util.find_spec
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name in packages else find(name))


@pytest.mark.parametrize("package", ["onnx", pytest.param("onnxruntime", marks=needs_onnx)])
def test_without_onnx_the_extra_is_named(folder, capsys, monkeypatch, package):
    without(monkeypatch, package)
    tried = 'pip install "edgehff[onnx]"'
    for args in (("export", "-t", "onnx"), ("verify", "--targets", "onnx")):
        assert refused(capsys, 4, f"{package} is not installed", *args).endswith(tried)
    (folder / "m.onnx").write_bytes(b"x")
    if package == "onnxruntime":
        for args in (("run", "m.onnx", "--data", "digits"), ("inspect", "m.onnx")):
            assert refused(capsys, 4, f"{package} is not installed", *args) == tried


@pytest.mark.parametrize("package", ["torch", pytest.param("executorch", marks=needs_executorch)])
def test_without_executorch_the_extra_is_named(folder, capsys, monkeypatch, package):
    without(monkeypatch, package)
    (folder / "m.pte").write_bytes(b"x")
    for args in (
        ("export", "-t", "executorch"),
        ("verify", "--targets", "executorch-portable"),
        ("run", "m.pte", "--data", "digits"),
        ("inspect", "m.pte"),
    ):
        tried = refused(capsys, 4, f"{package} is not installed", *args)
        assert tried.endswith('pip install "edgehff[executorch]"')


@needs_onnx
def test_verify_passes_over_a_target_that_cannot_run_here_and_shows_it(folder, capsys, monkeypatch):
    without(monkeypatch, "torch")
    found = document(capsys, "verify")
    assert found["passed"]
    skipped = [e for e in found["targets"] if "skipped" in e]
    assert [e["target"] for e in skipped] == ["executorch", "executorch-portable"]
    assert all("torch is not installed; pip install" in e["skipped"] for e in skipped)
    code, out, _ = run(capsys, "verify")
    assert code == 0
    assert out.count("skipped: torch is not installed") == 2
    assert out.count("passed") == 2
    refused(capsys, 4, "torch is not installed", "verify", "--targets", "onnx,executorch")
    without(monkeypatch, "torch", "onnx")
    assert "pip install" in refused(capsys, 4, "none of onnx", "verify", "-q")


@needs_executorch
def test_another_torch_is_told_before_anything_loads(folder, capsys, monkeypatch):
    real = extras.version
    monkeypatch.setattr(extras, "version", lambda name: "2.12.1+cpu" if name == "torch" else real(name))
    words = "was built for torch 2.13, torch 2.12.1+cpu is installed"
    assert refused(capsys, 4, words, "export", "-t", "executorch") == 'pip install "torch==2.13.*"'


@needs_onnx
def test_where_parity_fails_the_older_file_stays_as_it_was(folder, capsys, monkeypatch):
    assert run(capsys, "export", "-t", "onnx")[0] == 0
    before = (folder / "digits.onnx").read_bytes()
    file.save(models.model("weighted"), "digits.safetensors")
    broken_builder(monkeypatch)
    for extra in ((), ("-o", "new.onnx")):
        tried = refused(capsys, 7, "layer 0", "export", "-t", "onnx", *extra)
        assert "report" in tried
    assert (folder / "digits.onnx").read_bytes() == before
    assert sorted(p.name for p in folder.iterdir()) == ["digits.onnx", "digits.safetensors"]
    found = document(capsys, "export", "-t", "onnx", code=7)
    assert (found["passed"], found["file"], found["first_differing_layer"]) == (False, None, 0)
    assert (folder / "digits.onnx").read_bytes() == before


@needs_onnx
def test_verify_names_the_first_layer_that_differs(folder, capsys, monkeypatch):
    broken_builder(monkeypatch)
    found = document(capsys, "verify", "--targets", "onnx", code=7)
    assert not found["passed"]
    entry = found["targets"][0]
    assert (entry["first_differing_layer"], entry["file"]) == (0, None)
    assert entry["argmax_agreement"] < 0.999
    code, out, err = run(capsys, "verify", "--targets", "onnx")
    assert code == 7
    assert "FAILED" in out
    assert "layer 0" in out
    assert "error: onnx: layer 0" in err


@needs_onnx
def test_a_file_of_an_earlier_model_is_found_out(folder, capsys):
    assert run(capsys, "export", "-t", "onnx")[0] == 0
    file.save(models.model("equal"), "digits.safetensors")
    found = document(capsys, "verify", "--targets", "onnx", code=7)
    reason = found["targets"][0]["reason"]
    assert reason.startswith(
        f"digits.onnx was exported from another model: its weights_crc32 are {CRC['plain']}"
    )
    code, out, err = run(capsys, "verify", "--targets", "onnx,onnx-reference")
    assert code == 7
    assert out.count("FAILED") == 2
    assert "try: edgehff export --target onnx digits.safetensors" in err
    assert run(capsys, "export", "-t", "onnx")[0] == 0
    assert run(capsys, "verify", "--targets", "onnx")[0] == 0


@needs_onnx
def test_a_damaged_file_beside_the_model_is_named(folder, capsys):
    (folder / "digits.onnx").write_bytes(b"no onnx")
    got, _, err = run(capsys, "verify", "--targets", "onnx")
    assert got in (3, 7)
    assert "digits.onnx" in err
    assert "(bug)" not in err


@needs_onnx
def test_samples_are_made_up_where_the_data_set_is_not_here(folder, capsys):
    network = models.model("plain")
    elsewhere = replace(network, recipe=network.recipe.replace(data="nowhere.npz"))
    file.save(elsewhere, "digits.safetensors")
    code, out, err = run(capsys, "export", "-t", "onnx")
    assert code == 0, err
    assert "nowhere.npz" in err
    assert "made-up samples stand in; --data names rows" in err
    assert "100.00% of 1000 made-up samples" in out
    found = document(capsys, "verify", "--targets", "onnx")
    assert (found["rows"], found["samples"]) == ("made-up samples", 1000)
    named = document(capsys, "verify", "--targets", "onnx", "--data", "digits")
    assert (named["rows"], named["samples"]) == ("test rows of digits", 360)
    file.save(replace(network, recipe=network.recipe.replace(data="")), "digits.safetensors")
    assert document(capsys, "export", "-t", "onnx")["rows"] == "made-up samples"


@needs_onnx
def test_run_prints_a_class_name_a_line(folder, capsys):
    models.file_of(folder, "windows", "onnx")
    network, raw = models.model("windows"), models.data("emg").x
    core, x, names = network.to_core(), network.encode(raw), network.class_names
    alone = core.layer_scores(x).argmax(axis=2) != core.predict(x)[:, None]
    chosen = np.concatenate([np.flatnonzero(layer)[:32] for layer in alone.T])
    truth = core.predict(x[chosen])
    np.save("x.npy", raw[chosen])
    code, out, err = run(capsys, "run", "windows.onnx", "--input", "x.npy", "-o", "out.npy")
    assert code == 0, err
    assert out.splitlines() == [names[c] for c in truth]
    assert err == "wrote out.npy: similarities, (64, 6)\n"
    similarities = np.load("out.npy")
    assert similarities.dtype == np.float32
    assert np.array_equal(similarities.argmax(axis=1), truth)
    assert np.abs(similarities).max() <= 1 + 1e-6
    found = document(capsys, "run", "windows.onnx", "--input", "x.npy")
    assert (found["format"], found["samples"], found["accuracy"]) == ("edgehff.run/1", 64, None)
    assert found["answers"] == truth.tolist()
    assert found["class_names"] == list(names)
    assert found["output"] is None


@needs_onnx
def test_run_on_a_data_set_is_as_accurate_as_eval(folder, capsys):
    assert run(capsys, "export", "-t", "onnx", "-q")[0] == 0
    core = document(capsys, "eval", "digits.safetensors")
    found = document(capsys, "run", "digits.onnx", "--data", "digits")
    assert (found["samples"], core["samples"]) == (360, 360)
    assert found["accuracy"] > 0.8
    assert abs(found["accuracy"] - core["accuracy"]) < 0.005
    code, out, _ = run(capsys, "run", "digits.onnx", "--data", "digits")
    assert code == 0
    assert out.startswith(f"digits.onnx on 360 test rows of digits: {found['accuracy']:.2%}  (onnxruntime ")
    refused(capsys, 3, "emg-gestures has other classes", "run", "digits.onnx", "--data", "emg-gestures")


@needs_onnx
def test_run_takes_float64_where_the_model_took_floats(folder, capsys):
    models.file_of(folder, "floats", "onnx")
    raw = models.proof("floats").raw[:9]
    np.save("a.npy", raw)
    np.save("b.npy", raw.astype(np.float64))
    answers = [document(capsys, "run", "floats.onnx", "--input", f"{n}.npy")["answers"] for n in "ab"]
    assert answers[0] == answers[1]


@needs_onnx
@pytest.mark.parametrize(
    ("made", "match"),
    [
        (lambda path: np.save(path, np.array([{}]), allow_pickle=True), "is no .npy file of numbers"),
        (lambda path: path.write_bytes(b""), "is no .npy file of numbers"),
        (lambda path: path.write_bytes(b"1,2,3\n"), "is no .npy file of numbers"),
        (lambda path: path.mkdir(), "cannot read x.npy"),
        (lambda _: None, "cannot read x.npy"),
        (lambda path: np.save(path, np.zeros((0, 64), np.uint8)), "holds no samples"),
        (lambda path: np.save(path, np.zeros((2, 64))), "samples are float64, plain.onnx takes uint8"),
        (lambda path: np.save(path, np.zeros((2, 65), np.uint8)), "samples have shape (2, 65)"),
        (lambda path: np.save(path, np.array(["a", "b"])), "is no .npy file of numbers"),
    ],
)
def test_samples_that_cannot_be_run_are_refused(folder, capsys, made, match):
    models.file_of(folder, "plain", "onnx")
    made(folder / "x.npy")
    assert refused(capsys, 3, match, "run", "plain.onnx", "--input", "x.npy", "-o", "out.npy")
    assert not (folder / "out.npy").exists()


@needs_onnx
def test_inspect_says_what_an_onnx_file_holds(folder, capsys):
    models.file_of(folder, "windows", "onnx")
    found = document(capsys, "inspect", "windows.onnx")
    assert (found["format"], found["opset"], found["ir_version"]) == ("edgehff.inspect/1", 18, 10)
    assert found["operators"]["MatMul"] == 4
    assert found["bytes"] == (folder / "windows.onnx").stat().st_size
    assert found["metadata"]["sample_shape"] == [50, 8]
    code, out, _ = run(capsys, "inspect", "windows.onnx")
    assert code == 0
    for words in (
        "int8, up to any number of sample(s) of 50 x 8", "mav, rms, wl; log2; offset and gain",
        "rest, fist, wrist_flexion", "88 -> 24 -> 16", "int16, prototypes of 16 bits", "4 MatMul",
        "edgehff.artifact/1, written by edgehff", found["metadata"]["weights_crc32"],
        "similarity, similarity_0, similarity_1: cosines of 6 classes",
    ):  # fmt: skip
        assert words in out, words


@needs_executorch
def test_inspect_says_what_a_program_holds(folder, capsys):
    models.file_of(folder, "windows", "executorch")
    found = document(capsys, "inspect", "windows.pte")
    details = models.built("windows", "executorch").details
    assert found["arena_bytes"] == details["arena_bytes"]
    assert (found["delegates"], found["operators"]) == (1, {})
    assert found["metadata"]["backend"] == "xnnpack"
    code, out, _ = run(capsys, "inspect", "windows.pte")
    assert code == 0
    assert f"{details['arena_bytes']:,} bytes" in out
    assert "float32, up to 1 sample(s) of 50 x 8" in out
    assert "operators outside of delegates" in out


@needs_onnx
def test_names_from_a_file_do_not_steer_the_terminal(folder, capsys):
    network = models.model("plain")
    odd = replace(
        network, class_names=("\x1b[31mred", *network.class_names[1:]), recipe=network.recipe.replace(data="")
    )
    file.save(odd, "odd.safetensors")
    assert run(capsys, "export", "-t", "onnx", "odd.safetensors")[0] == 0
    np.save("x.npy", np.zeros((1, 64), np.uint8))
    for args in (("run", "odd.onnx", "--input", "x.npy"), ("inspect", "odd.onnx")):
        code, out, _ = run(capsys, *args)
        assert code == 0
        assert "\\x1b[31mred" in out
        assert "\x1b" not in out


def test_help_loads_no_runtime():
    script = """
import sys
from edgehff.cli.main import main
for command in ("export", "verify", "run", "inspect"):
    assert main([command, "--help"]) == 0
sys.exit(bool({"torch", "onnx", "onnxruntime", "executorch", "numpy"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
