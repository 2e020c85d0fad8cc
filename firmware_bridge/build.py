"""Firmware for a board, built with its compiler: the core, the link, the port, and a model to start from."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgehff.errors import CheckFailed, InputError, MissingToolError
from edgehff.model.network import Network
from edgehff.recipe import lr_p_of, lr_w_of
from firmware_bridge.boards import ROOT, Board

TIMEOUT_S = 300
WARNINGS = ("-Wall", "-Wextra", "-Wconversion", "-pedantic", "-Werror")
OPTIMIZE = {"size": "-Os", "speed": "-O2"}
MIN_FRAME = 96
STACK_BYTES = 768
"""Left free for the stack at least; `edgehff footprint --measured` tells what it takes."""

LEAN_STACK_BYTES = 576
_REQUEST = 12  # header and CRC
_REPLY = 16
_LAYER_HEAD = 16
_CONV_HEAD = 36  # more where there are convolutions
_BLOB_HEAD = 60


@dataclass(frozen=True)
class Options:
    """How firmware is built.

    arena_bytes: for the network, the encoder's table and the input vector.
    frame_bytes: the largest frame, as it comes encoded; also what a reply has room for.
    ring_bytes: received bytes that wait while the network works; 0 on boards without a ring.
    window: requests that may be under way.
    runner: whether the text commands of the MLPerf Tiny runner are in.
    optimize: "size" or "speed".
    whole: translate the program as one (link-time optimization): smaller.
    storage: SAVE, LOAD, and the model to start with.  extras: INIT, STATS, ADD_CLASS, RATES.
    stack_bytes: the link fails where fewer are left for the stack.
    factory: the blob that the firmware starts with; empty: none.
    defines: further macros of the C code, as NAME=VALUE.
    """

    arena_bytes: int
    frame_bytes: int
    ring_bytes: int
    window: int = 4
    runner: bool = True
    optimize: str = "size"
    whole: bool = False
    storage: bool = True
    extras: bool = True
    stack_bytes: int = STACK_BYTES
    factory: bytes = field(default=b"", repr=False)
    defines: tuple[str, ...] = ()


def factory_blob(network: Network, *, personal: bool = True) -> bytes:
    """The network with its encoder as a board keeps it: firmware_bridge/MODEL_FORMAT.md.

    personal: with the rates for learning at its user's, otherwise those of the factory's training.
    """
    net = network.to_core()
    if personal:
        net.set_rates(lr_w_of(network.recipe.personal_lr), lr_p_of(network.recipe.personal_lr_prototypes))
    return net.save_blob(network.encoding.to_core())


def model_arena_bytes(network: Network) -> int:
    """Arena that the network with its encoder takes on a board."""
    return network.to_core().model_bytes(network.encoding.to_core())


def frame_bytes_for(network: Network) -> int:
    """The frame memory that every request and reply of this model fits in."""
    entry = _LAYER_HEAD + (_CONV_HEAD if network.recipe.conv else 0)
    table = _BLOB_HEAD + entry * len(network.layers)
    request = max(4 + network.encoding.raw_bytes, 4 + table) + _REQUEST
    encoded = request + request // 254 + 1
    return (max(MIN_FRAME, encoded, _REPLY + 4 + 4 * len(network.class_names)) + 3) // 4 * 4


def options_for(board: Board, network: Network, *, lean: bool = False, **changes: object) -> Options:
    """Options that fit this network on this board; changes replace single ones of them.

    lean: the smallest firmware that trains: what this network does not use is left out, so are storage,
    extras and the runner's commands, and one request is under way at a time. The model comes over the line.
    """
    frame = frame_bytes_for(network)
    ring = 16
    while ring < frame and not lean:
        ring *= 2
    chosen: dict[str, object] = {
        "arena_bytes": model_arena_bytes(network),
        "frame_bytes": frame,
        "ring_bytes": ring if board.ring else 0,
        "window": 4 if board.ring and not lean else 1,
        "factory": b"" if lean else factory_blob(network),
    }
    if lean:
        chosen |= {"runner": False, "storage": False, "extras": False, "whole": board.abi != "avr"}
        chosen |= {"defines": _only_for(network), "stack_bytes": LEAN_STACK_BYTES}
    return Options(**(chosen | changes))  # type: ignore[arg-type]


def _only_for(network: Network) -> tuple[str, ...]:
    """The switches of ehff_build.h for this network alone."""
    encoding = network.encoding
    used = {
        "EHFF_WITH_INT16": network.recipe.arith == "int16",
        "EHFF_WITH_INT8_PROTOS": network.proto_bits == 8,
        "EHFF_WITH_MULTI": network.config.n_per_class > 1,
        "EHFF_WITH_WINDOW": bool(encoding.features) or encoding.log,
        "EHFF_WITH_CONV": bool(network.recipe.conv) or (not encoding.features and encoding.segments > 1),
    }
    return (
        *(f"{name}={int(value)}" for name, value in used.items()),
        f"EHFF_MAX_LAYERS={len(network.layers)}",
    )


def sources(folder: Path) -> list[Path]:
    """The C files that a folder's CMakeLists.txt lists: the one list that there is."""
    text = (folder / "CMakeLists.txt").read_text()
    return [folder / name for name in re.findall(r"^\s+(src/\w+\.c)", text, re.MULTILINE)]


def require_tool(name: str, package: str) -> str:
    """The path of a program.

    Raises:
        MissingToolError: it is not installed; the hint names the packages.
    """
    path = shutil.which(name)
    if path is None:
        raise MissingToolError(f"{name} is not installed", hint=f"apt install {package}")
    return path


def build(board: Board, options: Options, output: Path, *, extra_flags: Sequence[str] = ()) -> Path:
    """Compile and link firmware into the ELF file output; beside it nothing is left.

    Raises:
        MissingToolError: the board's compiler is not installed.
        InputError: options that no firmware can have.
        CheckFailed: it does not fit the board's memory, or the stack does not fit behind it.
    """
    _check(board, options)
    compiler = require_tool(board.compiler, board.package)
    with tempfile.TemporaryDirectory() as temporary:
        factory = Path(temporary) / "factory.c"
        factory.write_text(_factory_source(options.factory))
        command = _command(board, options, compiler, factory, extra_flags)
        linked = Path(temporary) / "firmware.elf"
        done = subprocess.run(  # noqa: S603 (a compiler from PATH, arguments as a list)
            [*command, "-o", str(linked)],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            cwd=temporary,
            check=False,
        )
        if done.returncode != 0:
            raise _failure(board, done.stderr)
        output.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(linked, output)
        output.chmod(0o755)
        for usage in Path(temporary).glob("*.su"):
            shutil.copyfile(usage, output.parent / usage.name)
    return output


def compiler_flags(board: Board, o: Options) -> list[str]:
    """What decides how the C code is translated, for every board and build alike but the board's own."""
    standard = "-std=gnu99" if board.abi == "avr" else "-std=c99"
    freestanding = ["-ffreestanding"] if board.script else []
    sections = ["-ffunction-sections", "-fdata-sections"]
    whole = ["-flto"] if o.whole else []
    return [standard, OPTIMIZE[o.optimize], *whole, *board.flags, *freestanding, *sections]


def _check(board: Board, o: Options) -> None:
    if not 64 <= o.frame_bytes <= 65000 or o.frame_bytes % 4:
        raise InputError(f"a frame of {o.frame_bytes} bytes", hint="64 to 65,000, a multiple of 4")
    if o.window not in (1, 2, 4, 8, 16):
        raise InputError(f"a window of {o.window} requests", hint="1, 2, 4, 8 or 16")
    if board.ring and (o.ring_bytes < 16 or o.ring_bytes > 32768 or o.ring_bytes & (o.ring_bytes - 1)):
        raise InputError(f"a ring of {o.ring_bytes} bytes", hint="a power of two from 16 to 32,768")
    if o.optimize not in OPTIMIZE:
        raise InputError(f"optimize = {o.optimize!r}", hint=f"one of {', '.join(OPTIMIZE)}")
    if o.factory and not o.storage:
        raise InputError(
            "firmware without storage keeps no model", hint="edgehff firmware build --no-factory"
        )
    if o.arena_bytes < 64:
        raise InputError(
            f"an arena of {o.arena_bytes} bytes holds no network", hint="give a model, or a larger arena"
        )


def _command(board: Board, o: Options, compiler: str, factory: Path, extra_flags: Sequence[str]) -> list[str]:
    host = not board.toolchain
    defines = {
        "EHFF_ARENA_BYTES": f"{o.arena_bytes}u",
        "EHFF_FRAME_BYTES": f"{o.frame_bytes}u",
        "EHFF_RING_BYTES": f"{o.ring_bytes}u",
        "EHFF_LINK_WINDOW": f"{o.window}",
        "EHFF_LINK_RUNNER": f"{int(o.runner)}",
        "EHFF_LINK_STORAGE": f"{int(o.storage)}",
        "EHFF_LINK_EXTRAS": f"{int(o.extras)}",
        "EHFF_FIRMWARE_NAME": f'"edgehff-{board.name}"',
    }
    files = [
        *sources(ROOT / "core"),
        *sources(ROOT / "link"),
        ROOT / "ports" / "common" / "main.c",
        *(board.folder / name for name in board.sources),
        factory,
    ]
    includes = [
        ROOT / "core" / "include",
        ROOT / "core" / "src",
        ROOT / "link" / "include",
        ROOT / "link" / "src",
    ]
    link = ["-Wl,--gc-sections"]
    if not host:
        link.append(f"-Wl,--defsym=__stack_min={o.stack_bytes}")
    if board.script:
        common = ROOT / "ports" / "common"
        link += ["-nostdlib", "-nostartfiles", f"-L{board.folder}", f"-T{common / board.script}"]
    return [
        compiler, *compiler_flags(board, o), "-g", "-fstack-usage",
        *(w for w in WARNINGS if w != "-pedantic" or board.abi != "avr"),
        *(f"-D{name}={value}" for name, value in defines.items()),
        *(f"-D{define}" for define in o.defines),
        *(f"-I{folder}" for folder in (*includes, ROOT / "ports" / "common")),
        f"-fdebug-prefix-map={ROOT}=.", *extra_flags,
        *map(str, files), *link, *(["-lgcc"] if board.script else []),
    ]  # fmt: skip


def _factory_source(blob: bytes) -> str:
    rows = [", ".join(str(b) for b in blob[i : i + 20]) for i in range(0, len(blob), 20)] or ["0"]
    body = ",\n    ".join(rows)
    return (
        '#include "factory.h"\n\n'
        f"const EHFF_FLASH uint8_t factory_blob[] = {{\n    {body}}};\n"
        f"const EHFF_FLASH uint32_t factory_bytes = {len(blob)};\n"
    )


def _failure(board: Board, stderr: str) -> Exception:
    text = " ".join(stderr.split())
    over = re.search(r"region `?(\w+)'? overflowed by (\d+) bytes", text)
    if over:
        memory = {"FLASH": "flash", "text": "flash"}.get(over[1], "RAM")
        return CheckFailed(
            f"the firmware is {int(over[2]):,} bytes too large for the {memory} of {board.name}",
            hint="a smaller network, arena, frame or ring; or edgehff firmware build --optimize size",
        )
    if "the stack does not fit" in text or "is not within region" in text:
        return CheckFailed(
            f"fewer bytes than the stack needs are left in the RAM of {board.name}",
            hint="a smaller network, arena, frame or ring",
        )
    lines = [line for line in stderr.splitlines() if "error" in line or "undefined" in line] or [
        stderr.strip()
    ]
    return CheckFailed(
        f"the compiler refused: {lines[0][:300]}",
        hint="edgehff doctor shows the compiler's version; please report it with this message",
    )
