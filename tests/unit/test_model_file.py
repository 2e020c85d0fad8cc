import errno
import hashlib
import json
import os
import shutil
import stat
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from safetensors import safe_open

import edgehff
from edgehff.core import Net
from edgehff.errors import ModelFileError
from edgehff.model.document import canonical, payload_sha256
from edgehff.model.encoding import fit_encoding
from edgehff.model.file import MAX_FILE_BYTES, default_model, load, read_header, save
from edgehff.model.network import Network
from edgehff.recipe import EncoderRecipe, Recipe


def small(seed=1, arith="int16", layers=(3, 2), bits=16):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(20, 4)).astype(np.float32)
    recipe = Recipe(
        layers=layers, arith=arith, seed=seed, encoder=EncoderRecipe(standardize=True, bias=100), gate=None
    )
    encoding = fit_encoding(x, recipe.encoder)
    net = Net(recipe.core_config(encoding.n_features, 2))
    net.train(encoding.to_core().encode(encoding.quantize_raw(x)), rng.integers(0, 2, 20).astype(np.uint16))
    network = Network.from_core(net, recipe, ("ja", "n\u00e9e"), encoding)
    return network if bits == 16 else network.with_int8_prototypes()


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


def resigned(path, change):
    """The file with its document changed, and signed again: only what the fields say can give it away."""
    header, payload = split(path.read_bytes())
    document = json.loads(header["__metadata__"]["edgehff"])
    change(document)
    document["payload_sha256"] = payload_sha256(safetensors.numpy.load(path.read_bytes()), document)
    header["__metadata__"]["edgehff"] = canonical(document).decode()
    path.write_bytes(join(header, payload))


@pytest.mark.parametrize(("arith", "bits"), [("int8", 16), ("int16", 16), ("int8", 8)])
def test_what_is_saved_is_loaded(tmp_path, arith, bits):
    network, path = small(arith=arith, bits=bits), tmp_path / "m.safetensors"
    save(network, path)
    back = load(path)
    assert back.recipe == network.recipe
    assert back.class_names == network.class_names
    assert (back.state_crc32, back.step, back.proto_bits) == (network.state_crc32, 20, bits)
    x = np.random.default_rng(9).normal(size=(50, 4)).astype(np.float32)
    assert np.array_equal(back.encode(x), network.encode(x))
    assert np.array_equal(back.to_core().scores(back.encode(x)), network.to_core().scores(network.encode(x)))
    save(back, tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


def test_loading_takes_no_more_memory_than_the_file(path):
    script = (
        "import re, resource, sys\n"
        "from edgehff.model import file\n"
        "used = int(re.search(r'VmSize:\\s+(\\d+)', open('/proc/self/status').read())[1]) << 10\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20),) * 2)\n"
        "print(file.load(sys.argv[1]).step)\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", script, path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{load(path).step}\n"


def test_a_stock_reader_finds_tensors_and_document(path):
    network = load(path)
    with safe_open(path, "np") as file:
        names = {f"layers.{i}.{part}" for i in (0, 1) for part in ("weight", "prototypes")}
        assert set(file.keys()) == names | {"encoder.offset", "encoder.gain"}
        assert np.array_equal(file.get_tensor("layers.1.weight"), network.layers[1].weight)
        document = json.loads(file.metadata()["edgehff"])
    assert document == read_header(path)
    assert (document["format"], document["edgehff_version"]) == (1, edgehff.__version__)
    assert document["sizes"] == {"dims": [5, 3, 2], "n_classes": 2, "n_per_class": 1}
    assert document["weights_crc32"] == f"{network.weights_crc32:08x}"


def test_the_digest_is_what_the_reference_says(path):
    digest = hashlib.sha256()
    tensors = safetensors.numpy.load_file(path)
    for name in sorted(tensors):
        array = tensors[name]
        shape = ",".join(str(n) for n in array.shape)
        digest.update(f'["{name}","{array.dtype}",[{shape}]]\n'.encode())
        digest.update(array.astype(array.dtype.newbyteorder("<")).tobytes())
    document = read_header(path)
    wanted = document.pop("payload_sha256")
    digest.update(json.dumps(document, sort_keys=True, separators=(",", ":")).encode("ascii"))
    assert digest.hexdigest() == wanted


def test_every_flipped_byte_is_an_error_or_changes_nothing(path):
    good, data = load(path), path.read_bytes()
    header = read_header(path)
    harmless = 0
    for at in range(len(data)):
        for mask in (1, 1 << at % 8, 0x80, 0xFF):
            path.write_bytes(data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :])
            try:
                found = load(path)
            except ModelFileError as error:
                assert error.hint  # noqa: PT017
                continue
            harmless += 1
            assert (found.state_crc32, read_header(path)) == (good.state_crc32, header)
    assert harmless < 20


def test_every_truncation_and_extension_is_an_error(path):
    data = path.read_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(ModelFileError):
            load(path)
    for tail in (b"\0", data):
        path.write_bytes(data + tail)
        with pytest.raises(ModelFileError):
            load(path)


ODD = [
    None,
    True,
    -1,
    0,
    7,
    2**32,
    10**400,
    0.5,
    1e308,
    "",
    "int16",
    [],
    [3],
    [[]],
    [None],
    {},
    {"x": 1},
    "\ud800",
]


def leaves(document, prefix=()):
    for key, value in document.items():
        yield (*prefix, key)
        if isinstance(value, dict):
            yield from leaves(value, (*prefix, key))


def test_no_value_of_a_field_gets_through_unchecked(path):
    data, good = path.read_bytes(), load(path)
    for place in leaves(read_header(path)):
        if place == ("payload_sha256",):
            continue
        for odd in [*ODD, "delete"]:
            path.write_bytes(data)

            def change(document, place=place, odd=odd):
                for key in place[:-1]:
                    document = document[key]
                if odd == "delete":
                    del document[place[-1]]
                else:
                    document[place[-1]] = odd

            resigned(path, change)
            try:
                found = load(path)
            except ModelFileError:
                continue
            assert found.weights_crc32 == good.weights_crc32, (place, odd)


def test_true_is_not_one(path):
    resigned(path, lambda d: d["encoding"].update(segments=True))
    with pytest.raises(ModelFileError, match="segments is 'True', not int"):
        load(path)


def test_unknown_fields_are_refused(path):
    resigned(path, lambda d: d.update(extra=1))
    with pytest.raises(ModelFileError, match="extra"):
        load(path)


@pytest.mark.parametrize("field", ["weights_crc32", "state_crc32"])
def test_a_checksum_that_the_core_does_not_find_is_refused(path, field):
    resigned(path, lambda d: d.update({field: "00000000"}))
    with pytest.raises(ModelFileError, match=field):
        load(path)


def test_an_altered_field_is_found_by_the_digest(path):
    header, payload = split(path.read_bytes())
    header["__metadata__"]["edgehff"] = header["__metadata__"]["edgehff"].replace('"ja"', '"no"')
    path.write_bytes(join(header, payload))
    with pytest.raises(ModelFileError, match="SHA-256"):
        load(path)


@pytest.mark.parametrize("where", ["weights out of bounds", "missing", "extra", "dtype", "shape"])
def test_tensors_that_do_not_fit_are_refused(path, where):
    tensors = dict(safetensors.numpy.load_file(path))
    document = read_header(path)
    if where == "weights out of bounds":
        tensors["layers.0.weight"] = np.full_like(tensors["layers.0.weight"], 32767)
        crc = zlib.crc32(
            b"".join(tensors[f"layers.{i}.{p}"].tobytes() for i in (0, 1) for p in ("weight", "prototypes"))
        )
        document["weights_crc32"] = f"{crc:08x}"
    elif where == "missing":
        del tensors["layers.1.prototypes"]
    elif where == "extra":
        tensors["layers.2.weight"] = tensors["layers.1.weight"]
    elif where == "dtype":
        tensors["layers.0.weight"] = tensors["layers.0.weight"].astype(np.float32)
    else:
        tensors["layers.0.weight"] = tensors["layers.0.weight"].T.copy()
    document["payload_sha256"] = payload_sha256(tensors, document)
    safetensors.numpy.save_file(tensors, path, {"edgehff": canonical(document).decode()})
    with pytest.raises(ModelFileError, match="no valid network"):
        load(path)


@pytest.mark.parametrize("read", [load, read_header])
def test_a_newer_format_asks_for_an_upgrade(path, read):
    resigned(path, lambda d: d.update(format=2))
    with pytest.raises(ModelFileError, match="format 2") as caught:
        read(path)
    assert caught.value.hint == "pip install -U edgehff"


@pytest.mark.parametrize("read", [load, read_header])
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK\x03\x04 a zip file, such as a pickle of torch",
        struct.pack("<Q", (1 << 20) + 1) + b"{}",
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 200_000) + b"[" * 200_000,
        struct.pack("<Q", 2) + b"{}",
        join({"__metadata__": {"edgehff": "[" * 100_000}}, b""),
        join({"__metadata__": {"edgehff": '{"format": NaN}'}}, b""),
        join({"__metadata__": {"edgehff": '{"format": ' + "9" * 5000 + "}"}}, b""),
        join({"__metadata__": {"format": "pt"}}, b""),
    ],
)
def test_other_files_are_no_models(tmp_path, read, data):
    path = tmp_path / "other.safetensors"
    path.write_bytes(data)
    with pytest.raises(ModelFileError):
        read(path)


def test_files_that_cannot_be_read_are_named(tmp_path):
    for path in (tmp_path / "none.safetensors", tmp_path):
        with pytest.raises(ModelFileError, match=str(path)) as caught:
            load(path)
        assert "edgehff train" in caught.value.hint
    huge = tmp_path / "huge.safetensors"
    with huge.open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    with pytest.raises(ModelFileError, match="at most 1 GiB"):
        load(huge)


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o644)])
def test_the_mode_respects_the_umask(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        save(small(), tmp_path / "m.safetensors")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "m.safetensors").stat().st_mode) == mode


@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_failing_step_leaves_the_old_file_and_nothing_else(path, monkeypatch, step, error):
    before = path.read_bytes()

    def fail(*_):
        raise error

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(ModelFileError if isinstance(error, OSError) else KeyboardInterrupt):
        save(small(seed=2), path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_that_is_missing_is_named(tmp_path):
    with pytest.raises(ModelFileError, match="No such file"):
        save(small(), tmp_path / "missing" / "m.safetensors")


KILLED = """
import os, signal, sys
from pathlib import Path
from edgehff.model.file import load, save

network = load(sys.argv[1])
original = {name: getattr(os, name) for name in ("write", "fsync", "replace")}

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def arm(name, nth, when):
    calls = []
    def call(*arguments):
        calls.append(name)
        if len(calls) == nth and when == "before":
            die()
        if len(calls) == nth and when == "half":
            original[name](arguments[0], arguments[1][: len(arguments[1]) // 2])
            die()
        result = original[name](*arguments)
        if len(calls) == nth and when == "after":
            die()
        return result
    setattr(os, name, call)

for place in sys.argv[2:]:
    name, nth, when = Path(place).name.split("-")
    child = os.fork()
    if child == 0:
        arm(name, int(nth), when)
        save(network, Path(place) / "model.safetensors")
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL, place
"""
POINTS = [
    "write-1-before",
    "write-1-half",
    "write-1-after",
    "fsync-1-before",
    "fsync-1-after",
    "replace-1-before",
]
POINTS += ["replace-1-after", "fsync-2-before", "fsync-2-after"]


def test_a_process_killed_at_any_step_leaves_the_old_file_or_the_new_one(path, tmp_path):
    new = tmp_path / "new.safetensors"
    save(small(seed=2), new)
    places = [tmp_path / point for point in POINTS]
    for place in places:
        place.mkdir()
        shutil.copy(path, place)
    subprocess.run([sys.executable, "-c", KILLED, str(new), *map(str, places)], check=True, timeout=60)
    for place in places:
        replaced = place.name.startswith(("replace-1-after", "fsync-2"))
        assert (place / "model.safetensors").read_bytes() == (new if replaced else path).read_bytes(), (
            place.name
        )
        load(place / "model.safetensors")
        assert default_model(place) == place / "model.safetensors"


def test_the_newest_model_of_a_folder(path, tmp_path):
    older = tmp_path / "older.safetensors"
    save(small(seed=2), older)
    os.utime(older, ns=(10**18, 10**18))
    (tmp_path / "other.safetensors").write_bytes(b"no model")
    (tmp_path / "folder.safetensors").mkdir()
    assert default_model(tmp_path) == path
    path.unlink()
    assert default_model(tmp_path) == older
    older.unlink()
    with pytest.raises(ModelFileError, match=r"only 1 \.safetensors files that are none") as caught:
        default_model(tmp_path)
    assert "edgehff train" in caught.value.hint
    with pytest.raises(ModelFileError):
        default_model(Path(tmp_path) / "missing")
