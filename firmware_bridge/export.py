"""A folder for firmware engineers: the C core, a model as constants, and manifests of five build systems.

templates/model is the folder as it comes out, templates/link what the serial link adds; in a file that ends
with .in, @NAME@ stands for a value. The C sources come from the lists of core/ and link/, and every manifest
from them.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
from collections.abc import Iterable
from pathlib import Path

import edgehff
from edgehff.errors import InputError
from edgehff.model.encoding import Encoding
from edgehff.model.network import Network
from edgehff.report.footprint import footprint
from firmware_bridge import export_folder
from firmware_bridge.boards import ROOT
from firmware_bridge.build import factory_blob, frame_bytes_for, model_arena_bytes, sources

TEMPLATES = ROOT / "templates"
INTERNAL = "src/ehff/internal"
"""Where the C sources and their own headers lie: on no include path, as one of them is called math.h."""

NAME_BYTES = 96
"""Of a class name in firmware; what is longer is cut."""

_C_TYPES = {"uint8": "uint8_t", "int8": "int8_t", "int16": "int16_t"}
_RAM_TEXT = {
    "state": "header and table of layers",
    "weights": "weights",
    "prototypes": "prototypes",
    "scratch": "scratch of one step: the widest layer's",
}


def export(
    network: Network, folder: str | Path, *, link: bool = False, personal: bool = True, force: bool = False
) -> tuple[Path, ...]:
    """Write the folder; afterwards it is as it should be, or as it was before.

    The same network gives the same bytes.

    link: with the serial link, and templates of what it asks of a board.
    personal: the model learns with the rates for its user's samples, otherwise with those of its training.
    force: also into a folder of other files, and over files that were changed since they were exported. Files
        of other names stay in any case.

    Returns:
        The files that were written, sorted.

    Raises:
        InputError: the folder has other files, or changed ones, or cannot be written.
    """
    target = Path(folder)
    files = files_of(network, link=link, personal=personal)
    export_folder.write(target, files, force=force)
    return tuple(target / name for name in sorted(files))


def files_of(network: Network, *, link: bool = False, personal: bool = True) -> dict[str, bytes]:
    """Every file of the folder by its name in it.

    Raises:
        InputError: edgehff's license texts are not installed.
    """
    core = _c_files(ROOT / "core")
    extra = _c_files(ROOT / "link") if link else {}
    twice = sorted(core.keys() & extra.keys())
    if twice:  # pragma: no cover (the tree's own tests see it first)
        raise InputError(f"core and link both have {', '.join(twice)}", hint="please report this")
    files = core | extra | _licenses()
    values = _values(network, personal, compiled(core), compiled(extra))
    for part in ("model", "link")[: 1 + link]:
        root = TEMPLATES / part
        for path in sorted(p for p in root.rglob("*") if p.is_file()):
            name, text = str(path.relative_to(root)), path.read_text(encoding="utf-8")
            if name.endswith(".in"):
                name, text = name[:-3], re.sub(r"@([A-Z][A-Z0-9_]*)@", lambda m: values[m[1]], text)
            files[name] = text.encode()
    files["library.json"] = _library_json(network, files).encode()
    return dict(sorted(files.items()))


def compiled(files: Iterable[str]) -> list[str]:
    """What a build compiles, among the names of the folder's files: THE list behind all manifests."""
    return sorted(name for name in files if name.startswith("src/") and name.endswith(".c"))


def class_name(name: str) -> bytes:
    """A class name as firmware has it: UTF-8 without zeros, NAME_BYTES at most."""
    plain = name.replace("\0", "?").encode("utf-8", "replace")
    return plain[:NAME_BYTES].decode("utf-8", "ignore").encode()


def c_string(text: bytes) -> str:
    """A C string literal: what is no plain character becomes three octal digits, which nothing extends."""
    plain = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 _-.,:+()"
    return '"' + "".join(chr(b) if b in plain else f"\\{b:03o}" for b in text) + '"'


def _c_files(folder: Path) -> dict[str, bytes]:
    """C sources of the folder's list, and all its headers, by their names in the export."""
    files = {f"{INTERNAL}/{path.name}": path.read_bytes() for path in sources(folder)}
    files |= {f"{INTERNAL}/{path.name}": path.read_bytes() for path in (folder / "src").glob("*.h")}
    include = folder / "include"
    return files | {
        f"src/{path.relative_to(include)}": path.read_bytes() for path in sorted(include.rglob("*.h"))
    }


def _licenses() -> dict[str, bytes]:
    """LICENSE, and of NOTICE the part about the code: the rest is about data sets, which are not there."""
    installed = importlib.metadata.distribution("edgehff")
    texts = {name: installed.read_text(f"licenses/{name}") for name in ("LICENSE", "NOTICE")}
    found = {name: text for name, text in texts.items() if text}
    if len(found) < len(texts):
        raise InputError(
            "this installation of edgehff has lost its LICENSE or NOTICE",
            hint="pip install --force-reinstall edgehff",
        )
    found["NOTICE"] = found["NOTICE"].split("\n\n\n")[0].strip() + "\n"
    return {name: text.encode() for name, text in found.items()}


def _values(network: Network, personal: bool, core: list[str], extra: list[str]) -> dict[str, str]:
    """What the templates' placeholders stand for."""
    blob, arena = factory_blob(network, personal=personal), model_arena_bytes(network)
    e, names = network.encoding, [class_name(name) for name in network.class_names]
    model_sources = ["src/edgehff_model.c", *core]
    link_sources = ["src/edgehff_model_link.c", *extra] if extra else []
    frame = frame_bytes_for(network)
    return {
        "VERSION": edgehff.__version__,
        "TITLE": _title(network),
        "WEIGHTS_CRC32": f"{network.weights_crc32:08x}",
        "ARENA_BYTES": str(arena),
        "BLOB_BYTES": str(len(blob)),
        "FRAME_BYTES": str(frame),
        "RAW_VALUES": str(e.n_raw),
        "RAW_BYTES": str(e.raw_bytes),
        "RAW_TYPE": _C_TYPES[e.raw],
        "SAMPLE": _sample(e),
        "CLASSES": str(len(names)),
        "NAME_BYTES": str(max(map(len, names)) + 1),
        "FIRST_PIECE": f"EHFF_LOAD_FIRST{'_CONV' if network.recipe.conv else ''}({len(network.layers)}u)",
        "LEARNS": str(int(network.proto_bits == 16)),
        "LEARNING": _learning(network, personal),
        "BLOB": ",\n    ".join(", ".join(str(b) for b in blob[i : i + 20]) for i in range(0, len(blob), 20)),
        "NAMES": "\n".join(
            f"static const EHFF_FLASH char name_{i}[] = {c_string(name)};" for i, name in enumerate(names)
        ),
        "NAME_LIST": ",\n    ".join(
            ", ".join(f"name_{j}" for j in range(i, min(i + 10, len(names))))
            for i in range(0, len(names), 10)
        ),
        "MODEL_SOURCES": "\n".join(f"  {name}" for name in model_sources),
        "LINK_SOURCES": "".join(f"\n  {name}" for name in link_sources),
        "ZEPHYR_SOURCES": "\n".join(f"    ${{edgehff_model}}/{name}" for name in model_sources),
        "ZEPHYR_LINK": "".join(
            f"  zephyr_library_sources_ifdef(CONFIG_EDGEHFF_MODEL_LINK ${{edgehff_model}}/{name})\n"
            for name in link_sources
        ),
        "LINK": "- **Training over a serial line**: `LINK.md`.\n" if extra else "",
        "RAM_TABLE": _rows(_ram(network, arena)),
        "FLASH_TABLE": _rows(_flash(network)),
        "CLASS_LIST": "\n".join(f"    {i:>4} {json.dumps(name.decode())}" for i, name in enumerate(names)),
    }


def _title(network: Network) -> str:
    recipe = network.recipe
    layers = "-".join(map(str, network.config.dims))
    if recipe.conv:
        layers = f"{'x'.join(map(str, recipe.input_shape))} -> {recipe.text}"
    return f"{recipe.arith} network {layers}, {len(network.class_names)} classes"


def _sample(e: Encoding) -> str:
    """What a sample is, in words that fit into a comment: numbers of ours, nothing from a file."""
    n_time, n_channels = e.shape
    shape = f"{n_time} rows of {n_channels} channels, row after row" if e.features else f"{e.n_raw} values"
    if e.input_scale is None:
        return f"{shape}: {e.raw}"
    return f"{shape}: {e.raw}, each the measured value times {e.input_scale:g}, rounded and saturated"


def _learning(network: Network, personal: bool) -> str:
    if network.proto_bits == 8:
        return "Its prototypes are int8, for inference alone: it does not learn on the board."
    which = "for its user's own samples" if personal else "of its training"
    return f"It learns on the board with the rates {which}; `ehff_net_set_rates` changes them."


def _ram(network: Network, arena: int) -> dict[str, int]:
    """The parts of the arena: their sum is its size."""
    found = footprint(network.config, network.encoding).ram
    parts = {text: found[name] for name, text in _RAM_TEXT.items()}
    rest = arena - sum(parts.values())
    return parts | {"encoder's table, input vector, and scratch of the encoder beyond the network's": rest}


def _flash(network: Network) -> dict[str, int]:
    """The parts of the blob."""
    found = footprint(network.config, network.encoding).flash
    return {name.replace("_", " "): n for name, n in found.items()}


def _rows(parts: dict[str, int]) -> str:
    return "\n".join(f"| {text} | {n} |" for text, n in parts.items())


def _library_json(network: Network, files: Iterable[str]) -> str:
    """PlatformIO's manifest."""
    document = {
        "name": "edgehff_model",
        "version": edgehff.__version__,
        "description": f"A neural network that goes on learning on the board: {_title(network)}",
        "keywords": ["machine-learning", "on-device-training", "fixed-point"],
        "authors": [{"name": "The edgehff authors"}],
        "license": "Apache-2.0",
        "frameworks": "*",
        "platforms": "*",
        "headers": "edgehff_model.h",
        "build": {"srcFilter": ["-<*>", *(f"+<{name[4:]}>" for name in compiled(files))]},
    }
    return json.dumps(document, indent=2) + "\n"
