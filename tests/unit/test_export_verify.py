"""What passes as equal to the core, and what is said of a file that does not."""

from dataclasses import replace
from types import SimpleNamespace

import export_models as models
import numpy as np
import pytest

from edgehff.errors import ModelFileError
from edgehff.export import verify
from edgehff.export.artifact import open_artifact
from edgehff.export.forms import FORMS, MADE_UP, Proof, form_of, proof_of, with_prototypes
from edgehff.export.verify import BOUND, Reference, compare
from edgehff.model.encoding import Encoding

N = 3000
SPEC = verify.SPEC_BOUND


def truth(n=N, margin=0.3):
    """n samples, two layers, three classes; class 1 is the answer, by a margin."""
    rows = np.tile([0.0, margin, -0.5], (n, 3, 1))
    return Reference(rows, rows.copy(), np.ones(n, np.int64), np.full(n, margin))


def said(similarities, n_rows=None, of=None):
    """The parity of a file that gives these."""
    of = truth(len(similarities)) if of is None else of
    file = SimpleNamespace(similarities=lambda _: similarities)
    return compare(file, of, np.zeros(len(similarities)), len(similarities) if n_rows is None else n_rows)


def moved(by, at=slice(None), layer=0, c=0, n=N):
    """What the truth says, in some rows of one class and layer moved; layer 0 are the joined ones."""
    found = truth(n).spec.copy()
    found[at, layer, c] += by
    return found


def answered(wrong, n, margin):
    """A file that answers the first samples otherwise, and the truth it is held against: the core is off."""
    of = truth(n)
    of.spec[:wrong, 0, 0] = 0.4
    return of.spec.copy(), replace(of, margins=np.full(n, margin))


def test_the_same_numbers_pass():
    parity = said(truth().spec)
    assert parity.passed
    assert (parity.samples, parity.argmax_agreement, parity.disagreements, parity.outliers) == (N, 1, 0, 0)
    assert (parity.worst_margin, parity.first_differing_layer, parity.reason) == (0, None, "")
    assert (parity.max_abs_diff, parity.spec_diff, parity.layer_diffs) == (0, 0, (0, 0))


@pytest.mark.parametrize(
    ("cells", "first"),
    [
        ({"by": 0.9 * SPEC}, None),
        ({"by": 0.9 * SPEC, "layer": 1}, None),
        ({"by": -1.1 * SPEC}, -1),
        ({"by": -1.1 * SPEC, "at": 7}, -1),
        ({"by": 1.1 * SPEC, "at": 7, "layer": 1}, 0),
        ({"by": 1.1 * SPEC, "at": N - 1, "layer": 2, "c": 2}, 1),
        ({"by": np.nan, "at": 7, "layer": 1}, 0),
        ({"by": -np.inf, "at": 7, "layer": 2, "c": 2}, 1),
    ],
)
def test_no_similarity_may_leave_the_bound_of_the_specification(cells, first):
    parity = said(moved(**cells))
    assert parity.first_differing_layer == first
    assert parity.passed == (first is None)
    words = {None: "", -1: "the joining of layers is", 0: "layer 0 is", 1: "layer 1 is"}
    assert parity.reason.startswith(words[first])
    assert ("the encoder" in parity.reason) == (first == 0)
    if np.isfinite(cells["by"]):
        assert parity.spec_diff == parity.max_abs_diff == pytest.approx(abs(cells["by"]))
        assert [d > 0 for d in parity.layer_diffs] == [cells.get("layer") == 1, cells.get("layer") == 2]


def test_the_first_layer_that_differs_is_named_not_what_follows_from_it():
    found = truth().spec + 0.1
    assert said(found).first_differing_layer == 0
    found[:, 1] -= 0.1
    assert said(found).first_differing_layer == 1


def test_samples_that_the_core_moved_are_counted_and_pass():
    of = truth(N + 4)
    of.core[[3, 5, N + 1], [1, 2, 0]] += 1.1 * BOUND
    of.core[9] += 0.9 * BOUND
    parity = said(truth(N + 4).spec, N, of)
    assert parity.passed
    assert parity.outliers == 2
    assert parity.max_abs_diff == pytest.approx(1.1 * BOUND)
    assert parity.spec_diff == 0


@pytest.mark.parametrize(("n", "wrong", "passed"), [
    (1, 1, True), (2, 1, True), (2, 2, False), (1999, 1, True), (1999, 2, False), (N, 3, True), (N, 4, False),
])  # fmt: skip
def test_one_answer_in_a_thousand_may_differ_and_always_one(n, wrong, passed):
    found, of = answered(wrong, n, 0.9 * BOUND)
    parity = said(found, of=of)
    assert parity.disagreements == wrong
    assert parity.argmax_agreement == pytest.approx(1 - wrong / n)
    assert parity.worst_margin == 0.9 * BOUND
    assert parity.passed == passed
    assert passed or parity.reason.startswith(f"{wrong} of {n} answers are not the core's")


def test_no_answer_may_differ_where_the_core_is_sure():
    found, of = answered(1, N, 1.1 * BOUND)
    parity = said(found, of=of)
    assert (parity.disagreements, parity.first_differing_layer) == (1, None)
    assert not parity.passed
    assert "the core's margin is 0.0022, below 0.002 is allowed" in parity.reason


def test_probes_are_held_to_the_bounds_and_not_counted():
    assert said(moved(by=2 * SPEC, at=N + 1, layer=2, n=N + 4), N).first_differing_layer == 1
    found, of = answered(0, N + 4, 0.9 * BOUND)
    of.spec[N:, 0, 0] = found[N:, 0, 0] = 0.4
    parity = said(found, N, of)
    assert parity.passed
    assert (parity.samples, parity.disagreements, parity.argmax_agreement) == (N, 0, 1)
    assert parity.worst_margin == 0.9 * BOUND
    of.margins[N + 2] = 1.1 * BOUND
    assert not said(found, N, of).passed


@pytest.mark.parametrize(
    ("shape", "words"), [((5, 2, 3), "1 layers of 3 classes"), ((5, 3, 4), "2 layers of 4 classes")]
)
def test_other_layers_or_classes_do_not_pass(shape, words):
    parity = said(np.zeros(shape), of=truth(5))
    assert not parity.passed
    assert words in parity.reason
    assert (parity.argmax_agreement, parity.disagreements) == (0, 5)


@pytest.mark.parametrize("raw", ["uint8", "int8", "int16"])
def test_probes_reach_the_ends_of_the_raw_type(raw):
    info = np.iinfo(raw)
    found = verify.probes(Encoding(raw, (6, 2)))
    assert (found.dtype.name, found.shape) == (raw, (4, 12))
    assert [np.unique(row).tolist() for row in found[:3]] == [[0], [info.min], [info.max]]
    assert len(np.unique(found[3])) > 6
    window = verify.probes(Encoding(raw, (6, 2), features=("mav",)))
    assert np.array_equal(window.reshape(4, 12), found)


def test_probes_of_float_samples_are_floats_that_the_encoder_knows():
    encoding = Encoding("int16", (5, 1), input_scale=4.0)
    found = verify.probes(encoding)
    assert found.dtype == np.float32
    assert found[1:3, 0].tolist() == [-8192, 8191.75]
    assert np.array_equal(encoding.quantize_raw(found), verify.probes(Encoding("int16", (5, 1))))


@pytest.mark.parametrize("name", ["plain", "k3", "weighted", "last", "small"])
def test_a_reference_is_the_specification_and_the_core_on_the_same_weights(name):
    network, raw = models.model(name), models.proof(name).raw
    found = verify.reference(network, raw)
    assert found.spec.shape == found.core.shape == (64, 3, 10)
    assert 1e-6 < np.abs(found.spec - found.core).max() < BOUND
    assert np.array_equal(found.answers, network.to_core().predict(network.encode(raw)))
    best = np.sort(found.core[:, 0], axis=1)
    assert np.abs(best[:, -1] - best[:, -2] - found.margins).max() < 1e-3


def test_the_reference_of_a_float_network_is_the_specification_alone():
    found = verify.reference(models.model("float"), models.proof("float").raw)
    assert found.spec is found.core
    assert np.array_equal(found.answers, found.spec[:, 0].argmax(axis=1))
    best = np.sort(found.spec[:, 0], axis=1)
    assert np.allclose(best[:, -1] - best[:, -2], found.margins)


def test_samples_are_made_up_where_there_are_no_data():
    for name, dtype in (("plain", "uint8"), ("windows", "int8"), ("floats", "float32")):
        network = models.model(name)
        proof = proof_of(network, None)
        assert (proof.n_rows, proof.rows) == (MADE_UP, "made-up samples")
        assert proof.raw.shape[0] == MADE_UP + 4
        assert proof.raw.dtype == dtype
        assert network.encode(proof.raw).shape[0] == MADE_UP + 4


def test_a_form_is_chosen_by_target_and_backend():
    pairs = [("onnx", "xnnpack"), ("executorch", "xnnpack"), ("executorch", "portable")]
    assert [form_of(*pair).name for pair in pairs] == ["onnx", "executorch", "executorch-portable"]
    assert {form.ending for form in FORMS.values()} == {".onnx", ".pte"}


def test_prototypes_become_int8_and_never_back():
    wide, small = models.model("plain"), models.model("small")
    assert with_prototypes(wide, None) is wide
    assert with_prototypes(wide, 16) is wide
    assert with_prototypes(small, 8) is small
    assert with_prototypes(wide, 8).weights_crc32 == small.weights_crc32
    for network, bits, have in ((small, 16, "int8"), (models.model("float"), 8, "float")):
        with pytest.raises(ModelFileError, match=f"prototypes of int{bits} are asked for, .* {have} ones"):
            with_prototypes(network, bits)


@pytest.mark.onnx
def test_a_file_of_other_weights_does_not_pass(tmp_path):
    pytest.importorskip("onnxruntime")
    path = models.file_of(tmp_path, "plain", "onnx")
    raw = models.proof("plain").raw
    parity = Proof(models.model("equal"), raw, 60, "rows").check(open_artifact(path))
    assert not parity.passed
    crc = [f"{models.model(name).weights_crc32:08x}" for name in ("plain", "equal")]
    assert (
        f"exported from another model: its weights_crc32 are {crc[0]}, this model's {crc[1]}" in parity.reason
    )
    assert (parity.argmax_agreement, parity.first_differing_layer) == (0, None)
    assert not Proof(models.model("float"), raw, 60, "rows").check(open_artifact(path)).passed


@pytest.mark.onnx
def test_a_file_with_int8_prototypes_is_held_against_the_core_with_these(tmp_path):
    pytest.importorskip("onnxruntime")
    artifact = open_artifact(models.file_of(tmp_path, "small", "onnx"))
    assert artifact.metadata["prototype_bits"] == 8
    parity = models.proof("plain").check(artifact)
    assert parity.passed, parity
    raw = models.proof("plain").raw
    assert not compare(artifact, verify.reference(models.model("plain"), raw), raw, 60).passed
    held = models.proof("small").check(open_artifact(models.file_of(tmp_path, "plain", "onnx")))
    assert not held.passed
    assert "exported from another model" in held.reason


@pytest.mark.onnx
def test_a_file_that_does_not_run_does_not_pass(tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    artifact = open_artifact(models.file_of(tmp_path, "plain", "onnx"))
    artifact.metadata["outputs"].append("one more")
    parity = models.proof("plain").check(artifact)
    assert not parity.passed
    assert "does not run" in parity.reason


@pytest.mark.onnx
def test_a_file_that_calls_its_classes_otherwise_does_not_pass(tmp_path):
    pytest.importorskip("onnxruntime")
    artifact = open_artifact(models.file_of(tmp_path, "plain", "onnx"))
    artifact.metadata["class_names"].reverse()
    parity = models.proof("plain").check(artifact)
    assert not parity.passed
    assert "its class_names are" in parity.reason
