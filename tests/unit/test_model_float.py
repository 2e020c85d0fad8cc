"""The float network as data, and its file; torch is not needed."""

import json
import os
import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
import safetensors.numpy
from safetensors import safe_open

from edgehff import spec
from edgehff.core import Net
from edgehff.errors import ModelFileError, ShapeError
from edgehff.model.document import canonical, payload_sha256
from edgehff.model.encoding import Encoding, fit_encoding
from edgehff.model.file import default_model, load, load_any, read_header, save
from edgehff.model.float_network import FloatLayer, FloatNetwork, join_shares, joined
from edgehff.model.network import Network
from edgehff.quantize import quantize
from edgehff.recipe import EncoderRecipe, Recipe


def small(seed=1, k=1, layers=(3, 2), **changes):
    rng = np.random.default_rng(seed)
    options = {
        "encoder": EncoderRecipe(standardize=True, bias=100),
        "gate": None,
        "arith": "float",
        **changes,
    }
    recipe = Recipe(layers=layers, seed=seed, prototypes_per_class=k, **options)
    encoding = fit_encoding(rng.normal(size=(20, 4)).astype(np.float32), recipe.encoder)
    dims, made = (encoding.n_features, *layers), []
    for i in range(len(layers)):
        prototypes = rng.normal(size=(2, k, dims[i + 1]))
        prototypes /= np.linalg.norm(prototypes, axis=2, keepdims=True)
        weight = rng.normal(size=(dims[i + 1], dims[i])).astype(np.float32)
        made.append(FloatLayer(weight, prototypes.astype(np.float32), 0.5 + i))
    return FloatNetwork(recipe, ("ja", "n\u00e9e"), encoding, tuple(made), 640)


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "model.safetensors"
    save(small(), file)
    return file


def split(data):
    """(header, payload) of safetensors bytes."""
    (n,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + n]), data[8 + n :]


def join(header, payload):
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + payload


def resigned(path, change, tensors=None):
    """The file with its document or tensors changed, and signed again."""
    found = dict(safetensors.numpy.load_file(path)) | (tensors or {})
    document = read_header(path)
    change(document)
    document["payload_sha256"] = payload_sha256(found, document)
    safetensors.numpy.save_file(found, path, {"edgehff": canonical(document).decode()})


def crc(tensors):
    data = [tensors[f"layers.{i}.{part}"].tobytes() for i in (0, 1) for part in ("weight", "prototypes")]
    return f"{zlib.crc32(b''.join(data)):08x}"


@pytest.mark.parametrize("k", [1, 3])
def test_what_is_saved_is_loaded(tmp_path, k):
    network, path = small(k=k), tmp_path / "m.safetensors"
    save(network, path)
    back = load_any(path)
    assert isinstance(back, FloatNetwork)
    assert (back.recipe, back.class_names, back.step) == (network.recipe, network.class_names, 640)
    assert back.weights_crc32 == network.weights_crc32
    for ours, theirs in zip(back.layers, network.layers, strict=True):
        assert np.array_equal(ours.weight, theirs.weight)
        assert np.array_equal(ours.prototypes, theirs.prototypes)
        assert ours.norm_mean == theirs.norm_mean
    x = np.random.default_rng(9).normal(size=(50, 4)).astype(np.float32)
    assert np.array_equal(back.encode(x), network.encode(x))
    save(back, tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


def test_equal_networks_give_equal_bytes_and_others_do_not(tmp_path):
    def data(network):
        save(network, tmp_path / "m.safetensors")
        return (tmp_path / "m.safetensors").read_bytes()

    assert data(small()) == data(small())
    turned = small()
    layer = turned.layers[0]
    fortran = replace(layer, weight=np.asfortranarray(layer.weight))
    assert data(replace(turned, layers=(fortran, turned.layers[1]))) == data(small())
    for other in (small(seed=2), replace(small(), step=641), replace(small(), class_names=("ja", "nee"))):
        assert data(other) != data(small())


def test_a_stock_reader_finds_tensors_and_document(path):
    network = small()
    with safe_open(path, "np") as file:
        names = {f"layers.{i}.{part}" for i in (0, 1) for part in ("weight", "prototypes")}
        assert set(file.keys()) == names | {"encoder.offset", "encoder.gain"}
        assert file.get_tensor("layers.0.weight").dtype == np.float32
        document = json.loads(file.metadata()["edgehff"])
    assert document == read_header(path)
    assert document["norm_means"] == [0.5, 1.5]
    assert document["recipe"]["arith"] == "float"
    assert document["sizes"] == {"dims": [5, 3, 2], "n_classes": 2, "n_per_class": 1}
    assert document["weights_crc32"] == crc(safetensors.numpy.load_file(path))
    assert document["weights_crc32"] == f"{network.weights_crc32:08x}"
    assert not {"proto_bits", "norm_sums", "state_crc32"} & set(document)


def test_what_needs_integers_says_how_to_get_them(path):
    with pytest.raises(ModelFileError, match="holds a float network") as caught:
        load(path)
    assert caught.value.hint.startswith(f"edgehff quantize {path} ")
    assert caught.value.exit_code == 3


def test_integers_are_read_too(tmp_path):
    floats = small()
    recipe = floats.recipe.replace(arith="int8")
    integers = Network.from_core(Net(recipe.core_config(5, 2)), recipe, floats.class_names, floats.encoding)
    save(integers, tmp_path / "m.safetensors")
    assert isinstance(load_any(tmp_path / "m.safetensors"), Network)
    assert load(tmp_path / "m.safetensors").state_crc32 == integers.state_crc32


def test_a_flipped_byte_is_an_error_or_changes_nothing(path):
    good, data, document = load_any(path), path.read_bytes(), read_header(path)
    harmless, places = 0, np.unique(np.linspace(0, len(data) - 1, 240).astype(int))
    for at in places:
        for mask in (1 << at % 8, 0xFF):
            path.write_bytes(data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :])
            try:
                found = load_any(path)
            except ModelFileError as error:
                assert error.hint  # noqa: PT017
                continue
            harmless += 1
            assert (found.weights_crc32, read_header(path)) == (good.weights_crc32, document)
    assert harmless < 5


def test_a_truncation_or_extension_is_an_error(path):
    data = path.read_bytes()
    for length in range(0, len(data), 17):
        path.write_bytes(data[:length])
        with pytest.raises(ModelFileError):
            load_any(path)
    path.write_bytes(data + b"\0")
    with pytest.raises(ModelFileError):
        load_any(path)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("norm_means", [0.5]),
        ("norm_means", [0.5, 1.5, 2.5]),
        ("norm_means", [0.5, 1]),
        ("norm_means", [0.5, -1.5]),
        ("norm_means", [0.5, None]),
        ("norm_means", None),
        ("norm_sums", [1, 2]),
        ("proto_bits", 16),
        ("state_crc32", "00000000"),
        ("weights_crc32", "00000000"),
        ("step", 0.5),
        ("sizes", {}),
        ("class_names", ["ja"]),
        ("class_names", ["ja", "ja"]),
    ],
)
def test_a_field_that_does_not_fit_is_refused(path, field, value):
    resigned(path, lambda d: d.update({field: value}))
    with pytest.raises(ModelFileError, match="no valid network") as caught:
        load_any(path)
    assert caught.value.hint


@pytest.mark.parametrize("field", ["norm_means", "weights_crc32", "step", "class_names", "sizes"])
def test_a_missing_field_is_refused(path, field):
    resigned(path, lambda d: d.pop(field))
    with pytest.raises(ModelFileError, match="are missing or unknown"):
        load_any(path)


def test_an_altered_field_is_found_by_the_digest(path):
    header, payload = split(path.read_bytes())
    header["__metadata__"]["edgehff"] = header["__metadata__"]["edgehff"].replace("1.5]", "2.5]")
    path.write_bytes(join(header, payload))
    with pytest.raises(ModelFileError, match="SHA-256"):
        load_any(path)


@pytest.mark.parametrize("arith", ["int8", "int16"])
def test_floats_under_the_name_of_integers_are_refused(path, arith):
    resigned(path, lambda d: d["recipe"].update(arith=arith))
    with pytest.raises(ModelFileError, match="norm_means, norm_sums, proto_bits"):
        load_any(path)


@pytest.mark.parametrize("part", ["weight", "prototypes"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_no_numbers_are_refused(path, part, value):
    network = small()
    array = getattr(network.layers[1], part).copy()
    array.flat[1] = value
    with pytest.raises(ShapeError, match=f"layer 1: {part} holds NaN or infinite"):
        replace(network, layers=(network.layers[0], replace(network.layers[1], **{part: array})))
    tensors = dict(safetensors.numpy.load_file(path)) | {f"layers.1.{part}": array}
    resigned(path, lambda d: d.update(weights_crc32=crc(tensors)), tensors)
    with pytest.raises(ModelFileError, match="NaN or infinite"):
        load_any(path)


@pytest.mark.parametrize("where", ["missing", "extra", "scales", "float64", "integers", "shape"])
def test_tensors_that_do_not_fit_are_refused(path, where):
    tensors = dict(safetensors.numpy.load_file(path))
    weight = tensors["layers.0.weight"]
    if where == "missing":
        del tensors["layers.1.prototypes"]
    elif where == "extra":
        tensors["layers.2.weight"] = weight
    elif where == "scales":
        tensors["layers.0.prototype_scales"] = np.ones((2, 1), np.uint16)
    else:
        other = {"float64": weight.astype(np.float64), "integers": weight.astype(np.int16), "shape": weight.T}
        tensors["layers.0.weight"] = np.ascontiguousarray(other[where])
    document = read_header(path)
    document["payload_sha256"] = payload_sha256(tensors, document)
    safetensors.numpy.save_file(tensors, path, {"edgehff": canonical(document).decode()})
    with pytest.raises(ModelFileError, match="no valid network"):
        load_any(path)


def test_the_newest_model_of_a_folder_may_be_float(path, tmp_path):
    assert default_model(tmp_path) == path
    newer = tmp_path / "newer.safetensors"
    save(small(seed=2), newer)
    os.utime(path, ns=(10**18, 10**18))
    assert default_model(tmp_path) == newer


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"recipe": Recipe(layers=(3, 2))}, "arith = 'int16'"),
        ({"recipe": Recipe(layers=(3,), arith="float")}, "2 layers, the recipe has 1"),
        ({"recipe": Recipe(layers=(3, 4), arith="float")}, "layer 1: weight is float32"),
        ({"recipe": Recipe(layers=(3, 2), arith="float", prototypes_per_class=2)}, "layer 0: prototypes"),
        ({"class_names": ("a", "b", "c")}, "layer 0: prototypes"),
        ({"class_names": ("a",)}, "1 class names"),
        ({"class_names": ("a", "a")}, "1 of them distinct"),
    ],
)
def test_parts_that_do_not_fit_are_refused(change, message):
    with pytest.raises(ShapeError, match=message) as caught:
        replace(small(), **change)
    assert caught.value.hint


@pytest.mark.parametrize("norm", [-1.0, float("nan"), float("inf")])
def test_a_mean_of_norms_that_is_none_is_refused(norm):
    network = small()
    with pytest.raises(ShapeError, match="layer 0: norm_mean"):
        replace(network, layers=(replace(network.layers[0], norm_mean=norm), network.layers[1]))


@pytest.mark.parametrize("k", [1, 3])
def test_answers_are_those_of_the_spec(k):
    network = small(k=k)
    x = np.random.default_rng(2).uniform(-1, 1, (5000, 5))
    found = network.layer_similarities(x)
    assert found.shape == (5000, 2, 2)
    for row in (0, 4095, 4096, 4999):
        u = x[row]
        for i, layer in enumerate(network.layers):
            u, _ = spec.forward(layer.weight.astype(np.float64), u)
            cosine = layer.prototypes.reshape(-1, len(u)).astype(np.float64) @ u
            assert np.allclose(found[row, i], spec.similarities(cosine, k, network.recipe.scale), atol=1e-12)


@pytest.mark.parametrize("largest", [3, 400, 32767])
def test_samples_are_encoded_as_by_the_core_but_for_its_last_rounding(largest):
    """Offset, gain, rounding, saturation (at 128 here) and bias are the core's; the length is float's."""
    rng = np.random.default_rng(5)
    offset, gain = rng.integers(-9, 9, 4).astype(np.int32), np.full(4, 65535, np.uint16)
    encoding = Encoding("int16", (4, 1), bias=9000, offset=offset, gain=gain, gain_shift=8)
    raw = rng.integers(-largest, largest, (300, 4)).astype(np.int16)
    found = replace(small(), encoding=encoding).encode(raw)
    core = encoding.to_core().encode(raw)
    assert (found.dtype, found.shape) == (np.float64, (300, 5))
    assert np.allclose(np.linalg.norm(found, axis=1), 1, rtol=0, atol=1e-12)
    assert np.abs(found - core / 16384).max() < 1e-4


def test_a_sample_of_nothing_is_encoded_as_zero():
    network = small(encoder=EncoderRecipe())
    assert not network.encode(np.zeros((3, 4), np.float32)).any()


@pytest.mark.parametrize(
    ("join_", "weights", "shares"),
    [
        ("sum_logp", (), (1 / 3, 1 / 3, 1 / 3)),
        ("last", (), (0.0, 0.0, 1.0)),
        ("weighted", (0.5, 0.25, 1.25), (0.25, 0.125, 0.625)),
        ("weighted", (0.0, 0.0, 4.0), (0.0, 0.0, 1.0)),
        ("sum_logp", (1.0, 0.0, 0.0), (1 / 3, 1 / 3, 1 / 3)),
    ],
)
def test_shares_of_layers_in_the_answer(join_, weights, shares):
    recipe = Recipe(layers=(4, 3, 2), arith="float", join=join_, join_weights=weights)
    assert join_shares(recipe) == pytest.approx(shares)
    s = np.random.default_rng(0).uniform(-1, 1, (7, 3, 5))
    assert np.allclose(joined(s, recipe), sum(w * s[:, i] for i, w in enumerate(shares)))


def test_shares_have_the_core_s_resolution():
    """The core keeps join weights in 1/256: float answers use the same ones."""
    recipe = Recipe(layers=(4, 3), arith="float", join="weighted", join_weights=(1.0, 0.001))
    assert join_shares(recipe) == (1.0, 0.0)
    config = recipe.replace(arith="int8").core_config(5, 2)
    assert config.join_weight == (256, 0)


def test_prototypes_far_from_unit_and_steps_without_end_are_refused():
    network = small()
    layer = network.layers[0]
    with pytest.raises(ShapeError, match="layer 0: a prototype has length 5"):
        replace(
            network, layers=(replace(layer, prototypes=layer.prototypes * np.float32(5)), network.layers[1])
        )
    for step in (-1, 2**32):
        with pytest.raises(ShapeError, match="does not fit 32 bits"):
            replace(network, step=step)


def test_a_mean_of_any_number_type_is_saved_and_one_beyond_all_bounds_is_quantized(tmp_path):
    network = small()
    for mean in (0, np.float32(0.5), 1e308):
        layers = (replace(network.layers[0], norm_mean=mean), network.layers[1])
        save(replace(network, layers=layers), tmp_path / "m.safetensors")
        read = load_any(tmp_path / "m.safetensors")
        assert read.layers[0].norm_mean == mean
        assert (quantize(read, "int16").layers[0].norm_sum == (2**22 - 1) * 1024) == (float(mean) > 1)
