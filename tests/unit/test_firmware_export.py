import ast
import json
import re
import shutil
import subprocess
from pathlib import PurePosixPath

import numpy as np
import pytest

from edgehff.core import Net
from edgehff.errors import InputError, ModelFileError
from edgehff.geometry import ConvLayer
from edgehff.model.encoding import Encoding
from edgehff.model.network import Network
from edgehff.recipe import EncoderRecipe, Recipe
from firmware_bridge import protocol
from firmware_bridge.boards import ROOT, boards
from firmware_bridge.build import factory_blob, frame_bytes_for, model_arena_bytes, options_for, sources
from firmware_bridge.export import NAME_BYTES, c_string, class_name, compiled, export, files_of
from firmware_bridge.export_folder import MARKER

HOSTILE = (
    'a"; system("x"); //',
    "*/ int main(void) { } /*",
    "back\\slash\\",
    "new\nline\r#error x",
    "%s%n%d",
    "??/",
    "\x1b[31m\x7f\x01",
    "naïve 東京 🙂",
    "1\x002",
    "\ud800",
    "|pipes| `code` <b>",
    "@BLOB@ @VERSION@ ${x} $<1:x>",
    "",
)


def network(names=("left", "right", "rest"), arith="int8", **changes):
    recipe = Recipe(layers=(9, 7), arith=arith, prototypes_per_class=2, encoder=EncoderRecipe(), seed=3)
    encoding = Encoding("int8", (12, 1), **changes)
    net = Net(recipe.core_config(encoding.n_features, len(names)))
    x = np.random.default_rng(0).integers(-99, 99, (20, 12)).astype(np.int8)
    net.train(encoding.to_core().encode(x), (np.arange(20) % len(names)).astype(np.uint16))
    return Network.from_core(net, recipe, names, encoding)


def maps(arith="int16"):
    """A network over maps, with a dense layer behind them."""
    conv = (
        ConvLayer(6, kernel=(3, 2), padding=(1, 0), pool="max", pool_size=(2, 2), grid=(2, 1)),
        ConvLayer(6, "depthwise", grid=(1, 3)),
    )
    recipe = Recipe(layers=(5,), conv=conv, input_shape=(4, 7, 2), arith=arith)
    encoding = Encoding("int8", (56, 1))
    net = Net(recipe.core_config(56, 3))
    return Network.from_core(net, recipe, ["a", "b", "c"], encoding)


@pytest.fixture(scope="module")
def files():
    return files_of(network(), link=True)


def macro(files, name):
    return re.search(
        rf"^#define EDGEHFF_MODEL_{name} (\w+?)u?(?: /\*|$)",
        files["src/edgehff_model.h"].decode(),
        re.MULTILINE,
    )[1]


def tree(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# ---- what is in it


def test_the_c_files_are_those_of_the_lists_with_all_their_headers(files):
    listed = [path for part in ("core", "link") for path in sources(ROOT / part)]
    own = {"src/edgehff_model.c", "src/edgehff_model_link.c"}
    assert set(compiled(files)) == {f"src/ehff/internal/{path.name}" for path in listed} | own
    assert all(files[f"src/ehff/internal/{path.name}"] == path.read_bytes() for path in listed)
    headers = [p for part in ("core", "link") for p in (ROOT / part).rglob("*.h")]
    assert {PurePosixPath(name).name for name in files} >= {path.name for path in headers}
    assert len(listed) > 10
    without = files_of(network())
    assert not [name for name in without if "link" in name.lower() or "port" in name]
    assert b"ehff_port" not in without["src/edgehff_model.c"]


def test_every_include_is_found_with_src_alone_on_the_path(files):
    found = set()
    for name, data in files.items():
        if not name.startswith("src/"):
            continue
        for quote, header in re.findall(r'^\s*#\s*include\s*([<"])([^>"]+)', data.decode(), re.MULTILINE):
            near = str(PurePosixPath(name).parent / header)
            system = quote == "<" and header in ("stddef.h", "stdint.h", "limits.h", "string.h")
            assert system or (quote == '"' and near in files) or f"src/{header}" in files, (name, header)
            found.add(header)
    assert "math.h" in found  # ours, which must not stand where <math.h> is looked for
    assert not [name for name in files if re.fullmatch(r"src/(math|string|link|net)\.h", name)]


def test_object_files_have_names_of_their_own(files):
    """Some builders put all objects into one archive, by base name."""
    names = [PurePosixPath(name).name for name in compiled(files)]
    assert len(set(names)) == len(names)


def test_sizes_are_the_cores_own():
    frozen = network().with_int8_prototypes()
    for n in (
        network(),
        network(arith="int16", bias=99),
        frozen,
        maps(),
        maps("int8").with_int8_prototypes(),
    ):
        files = files_of(n)
        blob = factory_blob(n)
        assert int(macro(files, "ARENA_BYTES")) == model_arena_bytes(n)
        assert int(macro(files, "BLOB_BYTES")) == len(blob)
        assert int(macro(files, "WEIGHTS_CRC32"), 16) == n.weights_crc32
        assert macro(files, "LEARNS") == ("1" if n.proto_bits == 16 else "0")
        array = re.search(r"blob\[\w+\] = \{([^}]+)\}", files["src/edgehff_model.c"].decode())[1]
        assert bytes(ast.literal_eval(f"[{array}]")) == blob
        readme = files["README.md"].decode()
        tables = re.findall(r"\| (?:RAM|flash) \| bytes \|\n\| --- \| ---: \|\n((?:\|.*\n)+)", readme)
        sums = [
            [int(v) for v in re.findall(r"(?<!\*) (\d+) \|$", t.split("| **")[0], re.MULTILINE)]
            for t in tables
        ]
        assert [sum(s) for s in sums] == [model_arena_bytes(n), len(blob)]
        assert all(v >= 0 for s in sums for v in s)
        assert [re.search(r"\*\*(\d+)\*\*", t)[1] for t in tables] == [
            str(model_arena_bytes(n)),
            str(len(blob)),
        ]
        assert f"`{n.weights_crc32:08x}`" in readme


def test_the_first_piece_of_a_blob_holds_the_table_of_its_convolutions():
    plain, files = files_of(network()), files_of(maps())
    assert b"piece[EHFF_LOAD_FIRST(2u)]" in plain["src/edgehff_model.c"]
    assert b"piece[EHFF_LOAD_FIRST_CONV(3u)]" in files["src/edgehff_model.c"]
    assert "src/ehff/internal/conv.c" in compiled(files)
    title = "int16 network 4x7x2 -> 6c3x2 pool2 grid2x1 -> 6dw3 grid1x3 -> 5, 3 classes"
    assert title in files["README.md"].decode()
    header = files_of(maps(), link=True)["src/edgehff_model_link.h"].decode()
    assert int(re.search(r"FRAME_BYTES (\d+)u", header)[1]) == frame_bytes_for(maps()) >= 60 + 3 * 52 + 17


@pytest.mark.parametrize("arith", ["int8", "int16"])
@pytest.mark.parametrize("frozen", [False, True])
def test_the_serial_link_sends_and_reads_blobs_of_convolutions(arith, frozen):
    n = maps(arith).with_int8_prototypes() if frozen else maps(arith)
    blob = factory_blob(n)
    assert protocol.raw_bytes(blob) == 56
    pieces = [body[4:] for _, body in protocol.pieces(blob, frame_bytes_for(n))]
    assert b"".join(pieces) == blob
    assert len(pieces[0]) >= 60 + 3 * 52
    with pytest.raises(ModelFileError, match="the table of 3 layers takes a frame of 233 bytes"):
        list(protocol.pieces(blob, 60 + 3 * 52 + 16))


def test_a_lean_build_has_convolutions_where_the_network_has_them():
    board = boards()["host_pty"]
    assert "EHFF_WITH_CONV=1" in options_for(board, maps(), lean=True).defines
    assert "EHFF_WITH_CONV=0" in options_for(board, network(), lean=True).defines
    parts = network(segments=3, bias=9)
    assert "EHFF_WITH_CONV=1" in options_for(board, parts, lean=True).defines  # a bias behind each part


def test_a_sample_is_said_in_the_units_of_the_encoder():
    window = Encoding("int16", (10, 3), features=("rms",), segments=5, input_scale=0.5)
    recipe = Recipe(layers=(5,), encoder=EncoderRecipe())
    net = Net(recipe.core_config(window.n_features, 2))
    files = files_of(Network.from_core(net, recipe, ["a", "b"], window))
    said = "10 rows of 3 channels, row after row: int16, each the measured value times 0.5, rounded"
    assert said in files["README.md"].decode()
    assert said in files["src/edgehff_model.h"].decode()
    assert "typedef int16_t edgehff_model_raw;" in files["src/edgehff_model.h"].decode()
    assert (macro(files, "RAW_VALUES"), macro(files, "RAW_BYTES")) == ("30", "60")


def test_rates_are_the_users_unless_the_trainings_are_asked_for():
    n = network()
    assert files_of(n)["src/edgehff_model.c"] != files_of(n, personal=False)["src/edgehff_model.c"]
    assert "of its training" in files_of(n, personal=False)["README.md"].decode()


def test_the_license_is_whole_and_the_notice_is_of_the_code(files):
    root = ROOT.parent
    assert files["LICENSE"] == (root / "LICENSE").read_bytes()
    notice = files["NOTICE"].decode()
    assert (root / "NOTICE").read_text().startswith(notice.rstrip("\n"))
    assert "Apache License" in notice
    assert "data" not in notice


def test_an_installation_without_license_texts_says_so(monkeypatch):
    monkeypatch.setattr("importlib.metadata.PathDistribution.read_text", lambda *_: None)
    with pytest.raises(InputError, match="LICENSE"):
        files_of(network())


# ---- names from a file


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_a_name_becomes_a_c_string_of_plain_characters(name):
    literal = c_string(class_name(name))
    assert re.fullmatch(r'"(?:[A-Za-z0-9 _.,:+()-]|\\[0-7]{3})*"', literal)
    assert ast.literal_eval("b" + literal) == name.replace("\0", "?").encode("utf-8", "replace")


def test_a_long_name_is_cut_between_characters():
    assert class_name("x" * 5000) == b"x" * NAME_BYTES
    for before in ("", "a", "ab", "abc"):
        cut = class_name(before + "🙂" * 50)
        assert NAME_BYTES - 4 < len(cut) <= NAME_BYTES
        assert cut.decode()


def test_the_longest_name_and_its_zero_have_room():
    assert macro(files_of(network(("a", "né", "b"))), "NAME_BYTES") == "4"
    assert macro(files_of(network(("", "x" * 5000))), "NAME_BYTES") == str(NAME_BYTES + 1)


def test_hostile_names_stay_in_their_places():
    """The files are those of harmless names, but for the strings of the names and lengths that follow."""
    plain = tuple(f"class {i}" for i in range(len(HOSTILE)))
    wanted, files = files_of(network(plain)), files_of(network(HOSTILE))
    assert wanted.keys() == files.keys()
    differ = [name for name in files if files[name] != wanted[name]]
    assert sorted(differ) == ["README.md", "src/edgehff_model.c", "src/edgehff_model.h"]
    assert all(data.isascii() for name, data in files.items() if name in differ)
    code = files["src/edgehff_model.c"].decode()
    assert re.sub(r"(name_\d+\[\]) = .*", r"\1", code) == re.sub(
        r"(name_\d+\[\]) = .*", r"\1", wanted["src/edgehff_model.c"].decode()
    )
    readme, other = files["README.md"].decode().splitlines(), wanted["README.md"].decode().splitlines()
    start = readme.index("## Classes") + 2
    assert readme[:start] == other[:start]
    assert len(readme) == len(other) == start + len(HOSTILE)
    for i, line in enumerate(readme[start:]):
        assert re.match(rf"    +{i} ", line)
        assert json.loads(line.split(maxsplit=1)[1]) == class_name(HOSTILE[i]).decode()


# ---- bytes


def test_the_same_model_gives_the_same_text(files, tmp_path):
    again = files_of(network(), link=True)
    assert again == files
    assert list(again) == sorted(again)
    for name, data in files.items():
        text = data.decode()
        assert text.endswith("\n"), name
        assert not text.endswith("\n\n"), name
        assert "\r" not in text
        assert not re.search(r"@[A-Z][A-Z0-9_]*@", text), name
        assert not re.search(r"\b20[2-9]\d-\d\d-\d\d\b|/(?:home|tmp|work)/\w", text), name
    one, two = tmp_path / "one", tmp_path / "two"
    written = export(network(), one, link=True)
    export(network(), two, link=True)
    assert tree(one) == tree(two) == files | {MARKER: tree(one)[MARKER]}
    assert sorted(written) == sorted(p for p in one.rglob("*") if p.is_file() and p.name != MARKER)
    if shutil.which("sha256sum"):
        subprocess.run(["sha256sum", "--strict", "--quiet", "-c", MARKER], cwd=one, check=True)
