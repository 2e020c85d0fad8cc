"""Blobs read and written by the tables of MODEL_FORMAT.md, in plain Python, against the C core."""

import re
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgehff import core
from edgehff.core import FEATURES, RAW_TYPES, Encoder, Net
from edgehff.errors import ModelFileError, ShapeError
from edgehff.geometry import KINDS, POOLS, ConvLayer
from edgehff.recipe import CoreConfig
from edgehff.recipe_check import ARITHS, JOINS

REFERENCE = Path(__file__).parents[2] / "firmware_bridge" / "MODEL_FORMAT.md"
CODES = {"u8": "B", "u16": "H", "u32": "I", "i8": "b", "i16": "h", "i32": "i"}


def table(title):
    """[(offset, code, field)] of the table below a heading that starts with title."""
    text = REFERENCE.read_text(encoding="utf-8")
    section = re.split(r"^## ", text, flags=re.MULTILINE)
    (body,) = [part for part in section if part.startswith(title)]
    rows = re.findall(r"^\| (\d+) \| (\w+) \| (\w+) \|", body, flags=re.MULTILINE)
    assert rows
    return [(int(offset), CODES[kind], field) for offset, kind, field in rows]


HEADER, LAYER, ENCODER = table("Header"), table("Table of layers"), table("Encoder")
CONV = table("Table of convolutions")


def size(rows):
    offset, code, _ = rows[-1]
    return offset + struct.calcsize(code)


def fields(rows, blob, start):
    return {name: struct.unpack_from("<" + code, blob, start + offset)[0] for offset, code, name in rows}


def read(blob):
    """header, layers with the fields of their convolutions, arrays of each layer, encoder or None."""
    header = fields(HEADER, blob, 0)
    at = size(HEADER)
    layers = []
    for _ in range(header["n_layers"]):
        layers.append(fields(LAYER, blob, at))
        at += size(LAYER)
    for i in range(len(layers) if header["version"] == 2 else 0):
        layers[i] |= fields(CONV, blob, at)
        at += size(CONV)
    arrays, elements = [], header["n_in"]
    protos = header["n_classes"] * header["n_per_class"]
    for layer in layers:
        n_in, head, elements = elements, layer["n_out"], layer["n_out"]
        if layer.get("kind"):
            n_in = layer["kernel_h"] * layer["kernel_w"] * (layer["in_c"] if layer["kind"] == 1 else 1)
            head *= layer["grid_h"] * layer["grid_w"]
            elements *= layer["out_h"] * layer["out_w"]
        parts = [(np.int16 if header["recipe"] else np.int8, n_in * layer["n_out"])]
        parts += [(np.int16 if header["proto_bits"] == 16 else np.int8, protos * head)]
        parts += [(np.uint16, protos)] * (header["proto_bits"] == 8)
        found = []
        for dtype, count in parts:
            wire = np.dtype(dtype).newbyteorder("<")
            found.append(np.frombuffer(blob, wire, count, at))
            at += count * wire.itemsize
        arrays.append(found)
    encoder = None
    if header["has_encoder"]:
        encoder = fields(ENCODER, blob, at)
        at += size(ENCODER)
        if encoder["has_table"]:
            n = n_features(encoder)
            encoder["offset"] = np.frombuffer(blob, "<i4", n, at)
            encoder["gain"] = np.frombuffer(blob, "<u2", n, at + 4 * n)
            at += 6 * n
    assert struct.unpack_from("<I", blob, at)[0] == zlib.crc32(blob[:at])
    assert at + 4 == len(blob) == header["blob_bytes"]
    return header, layers, arrays, encoder


def n_features(e):
    if e["kind"] == 0:
        return e["n_time"] * e["n_channels"]
    per_segment = ((e["features"] & 1) + (e["features"] >> 1 & 1)) * e["n_segments"] * e["n_channels"]
    return per_segment + (e["features"] >> 2 & 1) * e["n_channels"]


def packed(rows, values):
    out = bytearray(size(rows))
    for offset, code, name in rows:
        struct.pack_into("<" + code, out, offset, values[name])
    return bytes(out)


def written(header, layers, arrays, encoder):
    out = packed(HEADER, header) + b"".join(packed(LAYER, layer) for layer in layers)
    if header["version"] == 2:
        out += b"".join(packed(CONV, layer) for layer in layers)
    out += b"".join(part.tobytes() for found in arrays for part in found)
    if encoder:
        out += packed(ENCODER, encoder)
        if encoder["has_table"]:
            out += encoder["offset"].tobytes() + encoder["gain"].tobytes()
    return out + struct.pack("<I", zlib.crc32(out))


def plain(bias=0):
    return Encoder("uint8", (5, 1), bias=bias)


def in_parts():
    """A constant behind each of three parts, which are no rows of the window, and a table without them."""
    offset, gain = np.arange(-2, 4, dtype=np.int32) * 70_000, np.arange(3, 9, dtype=np.uint16)
    return Encoder("int8", (2, 3), segments=3, bias=9, offset=offset, gain=gain, gain_shift=4)


def window(table_=True):
    encoder = Encoder("int16", (6, 2), features=("mav", "rms", "wl"), segments=3, log=True, bias=-7)
    if not table_:
        return encoder
    n = encoder.n_features - 1
    offset = np.arange(-3, n - 3, dtype=np.int32) * 99_999
    gain = np.arange(65535 - n, 65535, dtype=np.uint16)
    return Encoder(
        "int16", (6, 2), features=("mav", "rms", "wl"), segments=3, log=True, bias=-7, offset=offset,
        gain=gain, gain_shift=21,
    )  # fmt: skip


CONFIGS = [
    CoreConfig(dims=(5, 3), n_classes=2, arith="int8", seed=0xDEADBEEF, cap=False),
    CoreConfig(
        dims=(7, 4, 3), n_classes=3, n_per_class=2, arith="int16", gate=65535, margin=1638, revive=False
    ),
    CoreConfig(dims=(5, 4, 3), n_classes=3, arith="int8", join="weighted", join_weight=(0, 1024)),
    CoreConfig(dims=(3, 5), n_classes=2, n_per_class=3, arith="int16", join="last", proto_bits=8),
    CoreConfig(
        dims=(36, 4, 4, 3), n_classes=3, arith="int8", input_shape=(4, 9, 1),
        conv=(ConvLayer(4, "conv", (2, 3), (1, 2), (1, 0), "max", (1, 2), (3, 2)),
              ConvLayer(4, "depthwise", (3, 1), (2, 1), (2, 0), "mean", (2, 1), (1, 2))),
    ),
]  # fmt: skip
CONV_CONFIG = CONFIGS[-1]


def network(config):
    rng = np.random.default_rng(4)
    net = Net(config)
    if config.proto_bits == 8:
        for layer in range(config.n_layers):
            net.prototypes(layer)[...] = rng.integers(-9, 9, net.prototypes(layer).shape)
            net.prototype_scales(layer)[...] = rng.integers(1, 999, net.prototype_scales(layer).shape)
    else:
        x = np.zeros((20, config.dims[0]), np.int16)
        x[np.arange(20), rng.integers(0, config.dims[0], 20)] = 16384
        net.set_first_layer(config.n_layers - 1)
        net.train(x, rng.integers(0, config.n_classes, 20).astype(np.uint16))
    net.step = 0x01020304
    return net


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("encoder", [None, plain(), plain(bias=9), in_parts(), window(False), window()])
def test_a_blob_is_what_the_tables_say(config, encoder):
    net = network(config)
    blob = net.save_blob(encoder)
    header, layers, arrays, found = read(blob)
    assert written(header, layers, arrays, found) == blob
    c = config
    assert (header["magic"], header["version"], blob[:4]) == (0x46464845, 2 if c.conv else 1, b"EHFF")
    assert (header["n_layers"], header["n_in"]) == (c.n_layers, c.dims[0])
    assert (header["recipe"], header["join"]) == (ARITHS.index(c.arith), JOINS.index(c.join))
    assert header["flags"] == c.cap + 2 * c.revive
    assert header["first_layer"] == (0 if c.proto_bits == 8 else c.n_layers - 1)
    for name in ("proto_bits", "n_classes", "n_per_class", "kappa", "margin", "gate", "lr_w", "lr_p", "seed"):
        assert header[name] == getattr(c, name), name
    assert header["step"] == 0x01020304
    assert not any(header[f"reserved_{i}"] for i in range(3))
    for i, (layer, parts) in enumerate(zip(layers, arrays, strict=True)):
        assert layer["n_out"] == c.dims[i + 1]
        if c.conv:
            check_conv(layer, c.shapes[i])
        assert layer["norm_sum"] == net.norm_sum(i)
        assert layer["updates"] == net.layer_stats(i)["updates"]
        assert layer["join_weight"] == (c.join_weight[i] if c.join == "weighted" else 256)
        assert np.array_equal(parts[0], net.weights(i).ravel())
        assert np.array_equal(parts[1], net.prototypes(i).ravel())
        if c.proto_bits == 8:
            assert np.array_equal(parts[2], net.prototype_scales(i).ravel())
    check_encoder(found, encoder)
    twin = Net(config)
    twin.load_blob(blob)
    assert twin.save_blob(encoder) == blob


def check_conv(found, shape):
    if shape.conv is None:
        assert not any(found[name] for _, _, name in CONV)
        return
    c = shape.conv
    pairs = {"kernel": c.kernel, "stride": c.stride, "pad": c.padding, "pool": c.pool_size, "grid": c.grid}
    pairs |= {"in": shape.map_in[:2], "out": shape.map_out[:2]}
    for name, pair in pairs.items():
        assert (found[f"{name}_h"], found[f"{name}_w"]) == pair, name
    assert (found["in_c"], found["kind"]) == (shape.map_in[2], 1 + KINDS.index(c.kind))
    assert (found["pool"], found["reserved"]) == (POOLS.index(c.pool), 0)


def check_encoder(found, encoder):
    assert (found is None) == (encoder is None)
    if encoder is None:
        return
    assert found["raw"] == RAW_TYPES.index(encoder.raw)
    assert found["kind"] == bool(encoder.features)
    assert found["features"] == sum(1 << FEATURES.index(name) for name in encoder.features)
    for name, value in (("log", encoder.log), ("gain_shift", encoder.gain_shift), ("bias", encoder.bias)):
        assert found[name] == value
    assert (found["n_time"], found["n_channels"], found["n_segments"]) == (*encoder.shape, encoder.segments)
    biases = 0 if encoder.bias == 0 else 1 if encoder.features else encoder.segments
    assert n_features(found) == encoder.n_features - biases
    assert found["has_table"] == (encoder.offset is not None)
    if found["has_table"]:
        assert np.array_equal(found["offset"], encoder.offset)
        assert np.array_equal(found["gain"], encoder.gain)


@pytest.mark.parametrize("config", CONFIGS)
def test_the_core_loads_what_the_tables_write(config):
    net = network(config)
    header, layers, arrays, _ = read(net.save_blob())
    header |= {"step": 77, "seed": 5, "blob_bytes": len(net.save_blob())}
    layers[0] |= {"norm_sum": 123456, "updates": 9}
    arrays[0][0] = -arrays[0][0]
    twin = Net(replace(config, seed=5))
    twin.load_blob(written(header, layers, arrays, None))
    assert (twin.step, twin.norm_sum(0), twin.layer_stats(0)["updates"]) == (77, 123456, 9)
    assert np.array_equal(twin.weights(0), -net.weights(0))


def test_reserved_fields_are_not_looked_at_and_newer_versions_refused():
    net = network(CONFIGS[0])
    header, *rest = read(net.save_blob(plain()))
    net.load_blob(written(header | {"reserved_0": 1, "reserved_2": 2**31}, *rest))
    with pytest.raises(ModelFileError, match="version"):
        net.load_blob(written(header | {"version": 3}, *rest))
    with pytest.raises(ModelFileError, match="version"):
        net.load_blob(written(header | {"version": 0}, *rest))


def core_takes(blob):
    """Whether the core alone takes a blob, before the class Net compares its network with its own."""
    sizes = core.ffi.new("ehff_sizes *")
    data = core.ffi.from_buffer("uint8_t[]", blob)
    return core.lib.ehff_blob_sizes(data, len(blob), sizes, core.ffi.NULL) == 0


@pytest.mark.parametrize("config", CONFIGS)
def test_a_blob_of_the_other_version_is_refused(config):
    """A dense one that claims convolutions, with and without a table of zeros, and the other way round."""
    net = network(config)
    before = net.state_crc32
    blob = bytearray(net.save_blob())
    assert core_takes(blob)
    blob[4] = 3 - blob[4]
    table_at = 60 + 16 * config.n_layers
    padded = blob[:table_at] + bytes(36 * config.n_layers) + blob[table_at:]
    cut = blob[:table_at] + blob[table_at + 36 * config.n_layers :]
    for forged in (blob, padded, cut):
        struct.pack_into("<I", forged, 40, len(forged))
        struct.pack_into("<I", forged, len(forged) - 4, zlib.crc32(forged[:-4]))
        assert not core_takes(forged)
        with pytest.raises((ModelFileError, ShapeError)):
            net.load_blob(bytes(forged))
    assert net.state_crc32 == before


@pytest.mark.parametrize("field", [name for _, _, name in CONV])
def test_a_forged_table_of_convolutions_is_refused(field):
    net = network(CONV_CONFIG)
    before = net.state_crc32
    header, layers, *rest = read(net.save_blob())
    follows = field.startswith(("in_", "out_", "reserved"))  # from the rest; a dense entry is all zeros
    for i, change in ((0, 1), (0, -1), (0, 999), (1, 1), (1, 7), (2, 1), (2, 3)):
        forged = [dict(layer) for layer in layers]
        forged[i][field] = max(0, forged[i][field] + change)
        if forged == layers:
            continue
        blob = written(header, forged, *rest)
        assert not (core_takes(blob) and (follows or i == 2))
        with pytest.raises((ModelFileError, ShapeError)):
            net.load_blob(blob)
    assert net.state_crc32 == before


def test_the_parts_fill_the_headings_sizes():
    assert (size(HEADER), size(LAYER), size(CONV), size(ENCODER)) == (60, 16, 36, 16)
    for rows in (HEADER, LAYER, CONV, ENCODER):
        end = 0
        for offset, code, field in rows:
            assert offset == end, field
            end = offset + struct.calcsize(code)
