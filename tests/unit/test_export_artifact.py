"""Exported files as they come from anywhere: what does not fit is told in our words."""

import json
import os
import signal

import export_models as models
import numpy as np
import pytest

from edgehff.errors import EdgehffError, ModelFileError, ShapeError
from edgehff.export import artifact as artifacts
from edgehff.export import metadata
from edgehff.export.artifact import open_artifact

FORMS = [
    pytest.param("onnx", marks=pytest.mark.onnx),
    pytest.param("executorch", marks=pytest.mark.executorch),
]


@pytest.fixture(params=FORMS)
def form(request):
    pytest.importorskip({"onnx": "onnxruntime"}.get(request.param, request.param))
    return request.param


@pytest.fixture
def opened(form, tmp_path):
    return open_artifact(models.file_of(tmp_path, "plain", form, 1 if form == "onnx" else 4))


@pytest.fixture
def windows(form, tmp_path):
    return open_artifact(models.file_of(tmp_path, "windows", form))


def refused(kind, match, call, *args):
    with pytest.raises(kind, match=match) as caught:
        call(*args)
    assert caught.value.hint
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("dtype", ["int8", "int16", "float64", "bool", "complex64", "U1", "int64"])
def test_samples_of_another_dtype_are_refused(opened, dtype):
    samples = np.zeros((1, 64)).astype(dtype)
    refused(ShapeError, f"samples are {samples.dtype}, plain", opened.run, samples)


@pytest.mark.parametrize(
    "shape", [(0, 64), (64,), (1, 63), (1, 65), (1,), (), (0,), (2, 64, 2), (1, 0), (64, 0)]
)
def test_samples_of_another_shape_are_refused(opened, shape):
    samples = np.zeros(shape, np.uint8)
    words = r"samples have shape|there are no samples"
    refused(ShapeError, words, opened.run, samples)
    if shape:
        refused(ShapeError, words, opened.similarities, samples)


@pytest.mark.parametrize("shape", [(1, 64), (3, 8, 8), (2, 4, 4, 4)])
def test_values_may_stand_in_any_shape(opened, shape):
    raw = models.proof("plain").raw[: shape[0]].reshape(shape)
    assert np.array_equal(opened.run(raw), opened.run(raw.reshape(-1, 64)))


def test_windows_stand_upright(windows):
    raw = models.proof("windows").raw[:1]
    assert np.array_equal(windows.run(raw), windows.run(raw.reshape(1, 400)))
    refused(
        ShapeError, r"a sample has shape \(8, 50\), .* takes \(50, 8\)", windows.run, raw.reshape(1, 8, 50)
    )


def test_samples_may_lie_in_any_order_in_memory(opened):
    raw = models.proof("plain").raw[:3]
    expected = opened.run(raw)
    assert np.array_equal(opened.run(np.asfortranarray(raw)), expected)
    assert np.array_equal(opened.run(np.repeat(raw, 2, axis=0)[::2]), expected)


def test_more_samples_than_a_run_takes_are_run_in_parts(opened):
    raw = models.proof("plain").raw
    whole = opened.similarities(raw)
    assert whole.shape == (len(raw), 3, 10)
    assert np.abs(opened.similarities(raw, 3) - whole).max() < 1e-6
    if opened.max_batch is not None:
        refused(ShapeError, "5 samples at once, .* takes at most 4", opened.similarities, raw, 5)


def test_a_file_that_is_missing_or_of_another_kind(tmp_path):
    for name in ("none.onnx", "none.pte"):
        refused(ModelFileError, "cannot read .*No such file", open_artifact, tmp_path / name)
    for name in ("model.safetensors", "model", "model.ONNX", ".pte"):
        (tmp_path / name).write_bytes(b"x")
        refused(ModelFileError, r"neither \.onnx nor \.pte", open_artifact, tmp_path / name)
    refused(ModelFileError, "neither", open_artifact, str(tmp_path / "model"))


def test_a_file_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(artifacts, "MAX_FILE_BYTES", 100)
    for name in ("m.onnx", "m.pte"):
        (tmp_path / name).write_bytes(bytes(101))
        refused(ModelFileError, "has 101 bytes", open_artifact, tmp_path / name)


@pytest.mark.onnx
@pytest.mark.parametrize("reference", [False, True])
@pytest.mark.parametrize("data", [b"", b"x", b"no onnx at all" * 99, bytes(4096)], ids=len)
def test_what_is_no_onnx_is_refused(tmp_path, data, reference):
    pytest.importorskip("onnxruntime")
    path = tmp_path / "m.onnx"
    path.write_bytes(data)
    with pytest.raises(ModelFileError, match=r"m\.onnx"):
        open_artifact(path, reference=reference)


def test_a_truncated_file_is_refused(form, tmp_path):
    path = models.file_of(tmp_path, "plain", form)
    data = path.read_bytes()
    for n in (0, 1, 12, 100, 1000, len(data) // 2, len(data) - 40):
        path.write_bytes(data[:n])
        refused(ModelFileError, "plain", open_artifact, path)


def with_document(tmp_path, text):
    """An ONNX file whose metadata hold text for the document; None: none of ours."""
    onnx = pytest.importorskip("onnx")
    model = onnx.load_from_string(models.built("plain", "onnx").data)
    del model.metadata_props[:]
    onnx.helper.set_model_props(
        model, {"author": "somebody"} | ({} if text is None else {metadata.KEY: text})
    )
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def document(**changes):
    """The document of `plain` with some fields changed; None takes one out."""
    onnx = pytest.importorskip("onnx")
    props = onnx.load_from_string(models.built("plain", "onnx").data).metadata_props
    told = json.loads(next(p.value for p in props if p.key == metadata.KEY)) | changes
    return json.dumps({name: value for name, value in told.items() if value is not None})


@pytest.mark.onnx
@pytest.mark.parametrize("reference", [False, True])
@pytest.mark.parametrize(
    ("text", "match"),
    [
        (None, "metadata"),
        ("", "has no metadata of edgehff"),
        ("{", "metadata are damaged"),
        ("[" * 100_000, "metadata are damaged"),
        ("3", "not edgehff.artifact/1"),
        ("{}", "not edgehff.artifact/1"),
        ('{"format": "edgehff.artifact/2"}', "format 'edgehff.artifact/2', not edgehff.artifact/1"),
        ('{"format": "' + "x" * 500 + '"}', "format 'x{80}', not"),
        ('{"format": "edgehff.artifact/1"}', "metadata are damaged: edgehff_version is None"),
    ],
)
def test_foreign_metadata_are_refused(tmp_path, text, match, reference):
    pytest.importorskip("onnxruntime")
    path = with_document(tmp_path, text)
    with pytest.raises(ModelFileError, match=match) as caught:
        open_artifact(path, reference=reference)
    assert len(caught.value.message) < 400 + len(str(path))


@pytest.mark.onnx
@pytest.mark.parametrize("name", sorted(metadata._FIELDS))
def test_metadata_without_a_field_are_refused(tmp_path, name):
    pytest.importorskip("onnxruntime")
    for value in (None, 7.5, [], {"a": 1}, ["a", 3]):
        if (name, value) in (("max_batch", None), ("maps", [])):
            continue
        path = with_document(tmp_path, document(**{name: value}))
        refused(ModelFileError, f"metadata are damaged: {name} is", open_artifact, path)


@pytest.mark.onnx
def test_oversized_metadata_are_not_parsed(tmp_path):
    pytest.importorskip("onnxruntime")
    fits = document(padding="x" * (metadata.MAX_BYTES - len(document(padding=""))))
    assert len(fits) == metadata.MAX_BYTES
    open_artifact(with_document(tmp_path, fits))
    refused(ModelFileError, "too many", open_artifact, with_document(tmp_path, fits + " "))


@pytest.mark.onnx
@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"class_names": ["a", "b"]}, r"gave an output of shape \(1, 10\), its metadata say \(1, 2\)"),
        ({"outputs": ["similarity", "nothing"]}, "does not run"),
        ({"sample_shape": [8, 9]}, "samples have shape"),
        ({"input_dtype": "int16"}, "samples are uint8"),
    ],
)
def test_metadata_of_another_graph_are_found_out_when_it_runs(tmp_path, changes, match):
    pytest.importorskip("onnxruntime")
    artifact = open_artifact(with_document(tmp_path, document(**changes)))
    refused(EdgehffError, match, artifact.run, np.zeros((1, 64), np.uint8))


@pytest.mark.onnx
def test_an_onnx_file_of_somebody_else_is_refused(tmp_path):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    h, kind = onnx.helper, onnx.TensorProto.FLOAT
    ends = [h.make_tensor_value_info(name, kind, [1, 4]) for name in ("x", "y")]
    graph = h.make_graph([h.make_node("Relu", ["x"], ["y"])], "foreign", [ends[0]], [ends[1]])
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", 18)], ir_version=10)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    for reference in (False, True):
        with pytest.raises(ModelFileError, match=r"m\.onnx has no metadata of edgehff") as caught:
            open_artifact(tmp_path / "m.onnx", reference=reference)
        assert "edgehff export" in caught.value.hint


def flipped(path, n=60):
    """Write the file n times with one bit of it changed, of ASCII text no longer than ASCII."""
    data, rng = path.read_bytes(), np.random.default_rng(0)
    for at in rng.choice(len(data), n, replace=False):
        other = bytearray(data)
        other[at] ^= 1 << rng.integers(7)
        path.write_bytes(other)
        yield


@pytest.mark.onnx
def test_an_onnx_file_with_a_flipped_bit_opens_or_is_refused(tmp_path):
    pytest.importorskip("onnxruntime")
    path = models.file_of(tmp_path, "logs", "onnx")
    outcomes = []
    for _ in flipped(path):
        try:
            open_artifact(path)
            outcomes.append("opens")
        except EdgehffError:
            outcomes.append("refused")
    assert set(outcomes) == {"opens", "refused"}


@pytest.mark.executorch
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # that it has threads and forks
def test_a_program_with_a_flipped_bit_opens_or_is_refused_or_native_code_ends(tmp_path):
    """In processes of their own: executorch bounds little of what a damaged program makes it do."""
    pytest.importorskip("executorch")
    path = models.file_of(tmp_path, "plain", "executorch-portable")
    open_artifact(path)  # loads the runtime once, before this process is copied
    outcomes = [opened_apart(path) for _ in flipped(path)]
    assert {"opens", "refused"} <= set(outcomes) <= {"opens", "refused", "native code ended"}
    assert outcomes.count("native code ended") < 12


def opened_apart(path):
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        code = 2
        try:
            open_artifact(path)
            code = 0
        except EdgehffError:
            code = 1
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return {0: "opens", 1: "refused", 2: "another exception"}.get(code, "native code ended")
