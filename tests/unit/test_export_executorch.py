"""ExecuTorch programs: one delegate or a small arena, and answers as the core's."""

import json
import os
import subprocess
import sys

import export_models as models
import numpy as np
import pytest

from edgehff.errors import CheckFailed, RecipeError, ShapeError
from edgehff.export import metadata, verify
from edgehff.export.artifact import open_artifact
from edgehff.export.forms import FORMS
from edgehff.model import file

pytest.importorskip("executorch")
pytestmark = pytest.mark.executorch


@pytest.mark.parametrize("name", ["plain", "windows", "k3", "bias", "floats", *models.CONV[:4]])
def test_xnnpack_takes_the_whole_graph_as_one_delegate(name):
    details = models.built(name, "executorch").details
    assert (details["delegates"], details["operators"]) == (1, {})
    parity = models.parity(name, "executorch")
    assert parity.passed, parity
    assert parity.argmax_agreement == 1


@pytest.mark.parametrize("name", ["windows", "small", "float", "logs", "spiked", *models.CONV])
def test_portable_kernels_answer_as_the_core(name):
    details = models.built(name, "executorch-portable").details
    assert details["delegates"] == 0
    assert sum(details["operators"].values()) > 5
    parity = models.parity(name, "executorch-portable")
    assert parity.passed, parity
    assert parity.argmax_agreement == 1


def test_the_arena_of_portable_kernels_is_small(tmp_path):
    from edgehff.export.executorch import plan_of  # noqa: PLC0415 (needs executorch)

    network = models.fresh((256, 128), 784)
    program = FORMS["executorch-portable"].build(network)
    assert program.details["arena_bytes"] <= 5000
    assert not any("copy" in name or "permute" in name for name in program.details["operators"])
    told = plan_of(program.data)
    assert told.arena_bytes == program.details["arena_bytes"]
    assert told.operators == program.details["operators"]
    path = tmp_path / "m.portable.pte"
    path.write_bytes(program.data)
    raw = np.random.default_rng(0).integers(0, 256, (5, 784), np.uint8)
    assert verify.compare(open_artifact(path), verify.reference(network, raw), raw, 5).passed


def test_portable_kernels_copy_no_matrix_of_a_grid():
    """Where a grid does not divide its map: a matrix is not to be copied for every channel, at every run."""
    operators = models.built("maps", "executorch-portable").details["operators"]
    assert not any("expand" in name or "bmm" in name for name in operators), operators
    assert operators["aten::convolution.out"] == 2


@pytest.mark.parametrize(
    ("name", "form"), [("mixed", "executorch"), ("maps", "executorch"), ("mixed", "executorch-portable")]
)
def test_a_batch_of_maps_is_a_most_and_no_fixed_number(name, form, tmp_path):
    artifact = open_artifact(models.file_of(tmp_path, name, form, 3))
    raw = models.proof(name).raw[:7]
    one = np.concatenate([artifact.run(raw[i : i + 1]) for i in range(7)])
    for n in (2, 3, 1):
        assert np.abs(artifact.run(raw[:n]) - one[:n]).max() < 1e-6
    assert models.proof(name).check(artifact).passed


@pytest.mark.parametrize("form", ["executorch", "executorch-portable"])
def test_a_batch_is_a_most_and_no_fixed_number(form, tmp_path):
    artifact = open_artifact(models.file_of(tmp_path, "plain", form, 4))
    assert artifact.max_batch == 4
    raw = models.proof("plain").raw[:9]
    one = np.concatenate([artifact.run(raw[i : i + 1]) for i in range(9)])
    for n in (2, 3, 4, 1):
        assert np.abs(artifact.run(raw[:n]) - one[:n]).max() < 1e-6
    assert np.abs(artifact.similarities(raw) - one).max() < 1e-6
    with pytest.raises(ShapeError, match=r"5 samples at once, .* takes at most 4") as caught:
        artifact.run(raw[:5])
    assert "--batch 5" in caught.value.hint
    details = models.built("plain", form, 4).details
    assert details["max_batch"] == 4
    assert details["arena_bytes"] > models.built("plain", form).details["arena_bytes"]
    assert models.proof("plain").check(artifact).passed


@pytest.mark.parametrize("batch", [0, -1, 65537])
def test_a_batch_has_bounds(batch):
    with pytest.raises(RecipeError, match="1 to 65536"):
        FORMS["executorch"].build(models.model("plain"), batch)


def test_a_method_tells_the_metadata(tmp_path):
    path = models.file_of(tmp_path, "windows", "executorch")
    artifact = open_artifact(path)
    told = artifact.metadata
    assert told["format"] == metadata.FORMAT
    assert told["weights_crc32"] == f"{models.model('windows').weights_crc32:08x}"
    assert (told["target"], told["backend"], told["max_batch"]) == ("executorch", "xnnpack", 1)
    assert (told["input_dtype"], told["encoder"]["raw"]) == ("float32", "int8")
    assert told["sample_shape"] == [50, 8]
    assert told["outputs"] == ["similarity", "similarity_0", "similarity_1"]
    assert tuple(told["class_names"]) == models.model("windows").class_names
    assert json.dumps(told, sort_keys=True).encode() in path.read_bytes()
    assert artifact.runtime.startswith("executorch 1.")


def test_a_program_takes_raw_samples_as_integers_or_as_the_same_floats(tmp_path):
    artifact = open_artifact(models.file_of(tmp_path, "windows", "executorch"))
    raw = models.proof("windows").raw[:1]
    assert raw.dtype == np.int8
    assert np.array_equal(artifact.run(raw), artifact.run(raw.astype(np.float32)))
    with pytest.raises(ShapeError, match=r"samples are uint8, .* takes float32 or int8"):
        artifact.run(raw.view(np.uint8))


def test_the_next_run_leaves_the_numbers_of_the_last_one(tmp_path):
    artifact = open_artifact(models.file_of(tmp_path, "plain", "executorch"))
    raw = models.proof("plain").raw
    first = artifact.run(raw[:1])
    kept = first.copy()
    assert not np.array_equal(artifact.run(raw[1:2]), kept)
    assert np.array_equal(first, kept)


@pytest.mark.parametrize("form", ["executorch", "executorch-portable"])
def test_sixteen_layers_answer_and_a_silent_sample_gives_zeros(form, tmp_path):
    parity = models.parity("deep", form)
    assert parity.passed, parity
    silent = open_artifact(models.file_of(tmp_path, "deep", form)).run(np.zeros((1, 64), np.uint8))
    assert silent.shape == (1, 17, 10)
    assert not silent.any()


def test_a_graph_that_xnnpack_does_not_take_whole_is_refused(monkeypatch):
    from edgehff.export import executorch  # noqa: PLC0415 (needs executorch)

    lowered = executorch.Built(b"", 100, 2, {"aten::sort": 3})
    monkeypatch.setattr(executorch, "_lower", lambda *_: lowered)
    with pytest.raises(CheckFailed, match="in 2 parts and left these operators: 3 aten::sort") as caught:
        FORMS["executorch"].build(models.model("plain"))
    assert "--backend portable" in caught.value.hint
    assert FORMS["executorch-portable"].build(models.model("plain")).details["delegates"] == 2


def test_nothing_but_our_own_words_reaches_stderr(tmp_path):
    file.save(models.model("plain"), tmp_path / "m.safetensors")
    np.save(tmp_path / "x.npy", models.proof("plain").raw[:3])
    said = {
        ("export", "--target", "executorch", "--batch", "2"): [
            "m.safetensors: building executorch",
            "running it on 360 test rows of digits",
            "next: edgehff run m.pte --data digits, edgehff verify m.safetensors",
        ],
        ("run", "m.pte", "--input", "x.npy", "-o", "out.npy"): ["wrote out.npy: similarities, (3, 10)"],
    }
    for args, expected in said.items():
        command = [sys.executable, "-m", "edgehff", *args]
        environment = {**os.environ, "PYTHONWARNINGS": "error"}
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr.splitlines() == expected
    assert len(done.stdout.split()) == 3
    assert np.load(tmp_path / "out.npy").shape == (3, 10)
