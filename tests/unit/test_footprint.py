import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgehff import core, geometry
from edgehff.bench import depth
from edgehff.core import Net
from edgehff.geometry import ConvLayer
from edgehff.model.encoding import Encoding
from edgehff.recipe import CoreConfig
from edgehff.report.boards import BOARDS
from edgehff.report.footprint import BATCH, backprop, exceeded, footprint
from edgehff.report.tables import Table, markdown

SOURCE = Path(__file__).parents[2] / "firmware_bridge" / "core"


def plain(n):
    return Encoding("uint8", (n, 1))


def standardized():
    return Encoding(
        "int16",
        (10, 3),
        features=("rms",),
        segments=5,
        bias=9,
        offset=np.zeros(15, np.int32),
        gain=np.ones(15, np.uint16),
    )


def conv_net(input_shape, conv, layers=(), **more):
    dims = (int(np.prod(input_shape)), *(c.channels for c in conv), *layers)
    return CoreConfig(dims=dims, conv=conv, input_shape=input_shape, n_classes=3, **more)


MAX = ConvLayer(3, pool="max", pool_size=(2, 2), grid=(2, 1))
MEAN = ConvLayer(3, "depthwise", pool="mean", pool_size=(3, 4), grid=(2, 1))
STRIDE = ConvLayer(5, kernel=(1, 5), stride=(1, 2), padding=(0, 1), grid=(1, 3))
CASES = [
    (CoreConfig(dims=(7, 5), n_classes=3, arith="int8"), plain(7)),
    (CoreConfig(dims=(16, 33, 5, 9), n_classes=11, n_per_class=3, arith="int16"), standardized()),
    (CoreConfig(dims=(16, 33, 5), n_classes=3, n_per_class=3, arith="int8", proto_bits=8), standardized()),
    (conv_net((12, 8, 2), (MAX,), arith="int8"), plain(192)),
    (conv_net((12, 8, 2), (MAX, MEAN), arith="int16"), plain(192)),
    (conv_net((12, 8, 2), (MAX, MEAN), (7, 5), arith="int8", n_per_class=2), plain(192)),
    (conv_net((12, 8, 2), (MAX, MEAN), (7,), arith="int8", n_per_class=2, proto_bits=8), plain(192)),
    (conv_net((1, 16, 1), (STRIDE,), arith="int16"), standardized()),
    (conv_net((1, 16, 1), (STRIDE,), (9,), arith="int16", proto_bits=8), standardized()),
    (
        conv_net((1, 8, 2), (replace(STRIDE, stride=(1, 1), padding=(0, 2)),) * 3, arith="int8"),
        standardized(),
    ),
]


@pytest.mark.parametrize(("config", "encoding"), CASES)
def test_the_figures_are_what_the_core_allocates(config, encoding):
    net, encoder, found = Net(config), encoding.to_core(), footprint(config, encoding)
    arena = core.ffi.sizeof(net._arena)
    assert arena == core.sizes(config)["ram_bytes"]
    assert sum(found.ram[name] for name in ("state", "weights", "prototypes", "scratch")) == arena
    layers = range(config.n_layers)
    assert found.flash["weights"] == sum(net.weights(i).nbytes for i in layers)
    scales = sum(net.prototype_scales(i).nbytes for i in layers) if config.proto_bits == 8 else 0
    assert found.flash["prototypes"] == sum(net.prototypes(i).nbytes for i in layers) + scales
    for part in ("weights", "prototypes"):
        assert 0 <= found.ram[part] - found.flash[part] <= 3 * 2 * config.n_layers, "rounded up to four bytes"
    assert found.flash_bytes == len(net.save_blob(encoder))
    raw = np.zeros((1, encoding.n_raw), encoding.raw)
    assert found.ram["raw_sample"] == raw.nbytes
    assert found.ram["input_vector"] == encoder.encode(raw).nbytes
    assert (
        found.ram["encoder_scratch"]
        == encoder.ram_bytes
        == (4 * encoder.n_features if encoding.features else 0)
    )
    assert found.flash["encoder_table"] == found.table_ram == (15 * 6 if encoding.offset is not None else 0)
    assert found.ram_bytes == arena + raw.nbytes + 2 * config.dims[0] + encoder.ram_bytes
    assert found.learning_bytes == arena + 2 * config.dims[0]


@pytest.mark.parametrize("arith", ["int8", "int16"])
def test_scratch_does_not_grow_with_depth_and_stored_activations_do(arith):
    depths = (2, 4, 8, 16)
    config = CoreConfig(dims=(), n_classes=6, arith=arith)
    found = [footprint(replace(config, dims=(24, *[24] * n)), plain(24)) for n in depths]
    assert len({f.ram["scratch"] for f in found}) == 1
    for variant in range(6):
        activations = [f.backprop[variant].activation_bytes for f in found]
        per_layer = activations[1] - activations[0]
        assert per_layer > 0
        assert [a - activations[0] for a in activations] == [per_layer * (n - 2) // 2 for n in depths]
        assert len({f.backprop[variant].error_bytes for f in found}) == 1


def test_backpropagation_by_hand():
    found = {(b.values, b.variant): b for b in backprop(geometry.shapes((10, 8, 4), (), ()), 3, 1)}
    p, a, e = 10 * 8 + 8 * 4 + 4 * 3, 10 + 8 + 4 + 3, 8 + 4
    batch = f"batch {BATCH}"
    assert {key: b.ram_bytes for key, b in found.items()} == {
        ("float32", "in place"): 4 * (p + a + e),
        ("float32", "accumulated"): 4 * (2 * p + a),
        ("float32", batch): 4 * (2 * p + 32 * a),
        ("integers", "in place"): p + 2 * (a + e),
        ("integers", "accumulated"): p + 2 * p + 2 * a,
        ("integers", batch): p + 2 * p + 2 * 32 * a,
    }
    assert backprop(geometry.shapes((10, 8), (), ()), 3, 2)[3].weight_bytes == 2 * (80 + 24)


@pytest.mark.parametrize(
    ("layers", "p", "a", "e"),
    [
        ((), 3 * 18 + 3 * 9 + 3 * 4, 192 + 72 + 6 + 4, 72 + 3),
        ((5,), 3 * 18 + 3 * 9 + 6 * 5 + 5 * 4, 192 + 72 + 6 + 5 + 4, 72 + 6),
    ],
)
def test_backpropagation_through_convolutions_by_hand(layers, p, a, e):
    """Maps of 6 x 4 x 3 and 2 x 1 x 3; of the second's windows 12 positions each take two bytes."""
    shapes = conv_net((12, 8, 2), (MAX, MEAN), layers).shapes
    r, batch = 72 * 1 + 6 * 2, f"batch {BATCH}"
    assert {(b.values, b.variant): b.ram_bytes for b in backprop(shapes, 4, 1)} == {
        ("float32", "in place"): 4 * (p + a + e) + r,
        ("float32", "accumulated"): 4 * (2 * p + a) + r,
        ("float32", batch): 4 * 2 * p + 32 * (4 * a + r),
        ("integers", "in place"): p + 2 * (a + e) + r,
        ("integers", "accumulated"): p + 2 * p + 2 * a + r,
        ("integers", batch): p + 2 * p + 32 * (2 * a + r),
    }
    assert backprop(shapes, 4, 2)[3].weight_bytes == 2 * p


def test_routes_of_windows():
    def routes(**more):
        (shape,) = conv_net((12, 8, 2), (ConvLayer(3, **more),)).shapes
        elements = 192 + np.prod(shape.map_out) + 4
        return (backprop((shape,), 4, 1)[0].activation_bytes - 4 * elements) / np.prod(shape.map_out)

    assert routes() == 0
    assert [routes(pool="max", pool_size=size) for size in ((1, 2), (4, 4))] == [1, 1]
    assert [routes(pool="mean", pool_size=size) for size in ((2, 4), (3, 3), (4, 4))] == [1, 2, 2]


def test_convolutions_train_in_the_same_scratch_at_any_depth():
    document = depth.run()
    for arith in ("int8", "int16"):
        rows = [row for row in document["rows"] if row["arith"] == arith]
        assert [row["layers"] for row in rows] == [2, 4, 8, 16]
        assert {row["scratch_bytes"] for row in rows} == {25604}
        per_layer = (rows[1]["ram_bytes"] - rows[0]["ram_bytes"]) // 2
        state, prototypes, weights = 68, 10 * 2 * 2 * 16 * 2, 9 * 16 * 16 * (1 if arith == "int8" else 2)
        assert per_layer == state + prototypes + weights
        assert [row["ram_bytes"] - rows[0]["ram_bytes"] for row in rows] == [
            n * per_layer for n in (0, 2, 6, 14)
        ]
        for variant in rows[0]["backprop"]:
            found = [row["backprop"][variant] for row in rows]
            assert found == sorted(set(found)), "it grows with depth"
            assert found[3] - found[2] == 2 * (found[2] - found[1]), "by the same for each layer"
            assert (found[2] - found[1]) / 4 > per_layer, "and by more than ours"


def test_budgets_name_the_largest_part_and_the_excess():
    found = footprint(CoreConfig(dims=(64, 32), n_classes=10, arith="int8"), plain(64))
    assert exceeded(found, found.ram_bytes, found.flash_bytes) == []
    assert exceeded(found, None, None) == []
    (ram,) = exceeded(found, found.ram_bytes - 1, None)
    assert ram == (
        f"RAM: {found.ram_bytes:,} bytes are 1 over the budget of {found.ram_bytes - 1:,}; "
        "the largest part is weights with 2,048"
    )
    both = exceeded(found, 0, 0)
    assert [sentence[:5] for sentence in both] == ["RAM: ", "flash"]


def test_the_document_holds_every_part():
    config, encoding = CASES[1]
    found = footprint(config, encoding)
    document = found.to_dict()
    assert document["ram_bytes"] == sum(document["ram"].values()) == found.ram_bytes
    assert document["flash_bytes"] == sum(document["flash"].values())
    assert document["stack_bytes"] is document["code_bytes"] is None
    for b in document["backprop"]:
        parts = ("weight_bytes", "gradient_bytes", "activation_bytes", "error_bytes")
        assert b["ram_bytes"] == sum(b[part] for part in parts)
    rows = [row for table in found.tables() for row in table.rows]
    for size in (*found.ram.values(), *found.flash.values(), *(b.ram_bytes for b in found.backprop)):
        assert any(f"{size:,}" in row for row in rows)
    assert any("90 bytes more" in note for note in found.notes())
    assert not any("bytes more" in note for note in footprint(*CASES[0]).notes())


def test_markdown_escapes_bars():
    table = Table("sizes", ("part", "bytes"), (("a|b", "1"), ("c", "2")))
    assert markdown([table]) == "**sizes**\n\n| part | bytes |\n| --- | ---: |\n| a\\|b | 1 |\n| c | 2 |"


def test_boards_are_listed_by_name():
    assert list(BOARDS) == [
        "microbit",
        "netduinoplus2",
        "mps2-an386",
        "mps3-an547",
        "sifive_e",
        "mega2560",
        "uno",
    ]
    assert (BOARDS["uno"].ram_bytes, BOARDS["uno"].flash_bytes) == (2048, 32768)


COMPILERS = {
    "cc": [],
    "avr-gcc": ["-mmcu=atmega2560"],
    "arm-none-eabi-gcc": ["-mcpu=cortex-m0"],
    "riscv64-unknown-elf-gcc": ["-march=rv32imac", "-mabi=ilp32"],
}


@pytest.mark.toolchain
@pytest.mark.parametrize("compiler", COMPILERS)
def test_the_structures_have_the_same_size_for_every_compiler(compiler, tmp_path):
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    per_layer = [core.sizes(CoreConfig(dims=(4,) * n, n_classes=2))["state_bytes"] for n in (2, 3)]
    layer = per_layer[1] - per_layer[0]
    program = '#include "net.h"\n'
    program += f"typedef char head[sizeof(ehff_net) == {per_layer[0] - layer} ? 1 : -1];\n"
    program += f"typedef char entry[sizeof(ehff_layer) == {layer} ? 1 : -1];\n"
    (tmp_path / "sizes.c").write_text(program, encoding="utf-8")
    folders = [f"-I{SOURCE / 'include'}", f"-I{SOURCE / 'src'}", "-ffreestanding"]
    run = [compiler, *COMPILERS[compiler], "-std=c99", *folders, "-c", "sizes.c", "-o", "sizes.o"]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_structures_have_no_padding():
    text = (SOURCE / "src" / "net.h").read_text(encoding="utf-8")
    bodies = {
        "head": re.search(r"struct ehff_net \{(.*?)\n\};", text, re.DOTALL),
        "entry": re.search(r"typedef struct \{([^}]*)\} ehff_layer;", text),
    }
    total = {}
    for name, found in bodies.items():
        code = re.sub(r"/\*.*?\*/", "", found[1], flags=re.DOTALL)
        fields = re.findall(r"uint(\d+)_t ([^;]+);", code)
        assert len(fields) == code.count(";"), "fixed-width fields only"
        total[name] = sum(int(bits) // 8 * len(names.split(",")) for bits, names in fields)
    sizes = core.sizes(CoreConfig(dims=(4, 4, 4), n_classes=2))
    assert sizes["state_bytes"] == total["head"] + 2 * total["entry"]
