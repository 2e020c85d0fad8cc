"""The boards that there is firmware for: each is a folder of ports/ with a board.toml."""

from __future__ import annotations

import difflib
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from edgehff.errors import InputError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent
PORTS = ROOT / "ports"


@dataclass(frozen=True)
class Board:
    """What a build and an emulation need to know of a board.

    toolchain: prefix of its binutils and gcc; empty for this machine's own.
    package: the Debian packages that bring it.
    abi: "ilp32", "avr" or "lp64": sizes of pointers and alignment.
    flags: of the compiler.  sources: relative to the port's folder.  script: linker script in ports/common.
    ring: whether an interrupt puts received bytes into a ring; otherwise the line is polled.
    port_bytes: static RAM of the port's own files, beside the ring.
    clock_bytes: of its clock, which only the runner's commands ask.
    exception_bytes: what an interrupt puts on the stack before its first instruction.
    ram_bytes, flash_bytes: all there is for firmware.
    emulator: its command line, {elf} standing for the firmware.
    usb: vendor:product of the interface chip, as four hex digits each.
    """

    name: str
    chip: str
    toolchain: str
    package: str
    abi: str
    flags: tuple[str, ...]
    sources: tuple[str, ...]
    script: str
    ring: bool
    port_bytes: int
    clock_bytes: int
    exception_bytes: int
    ram_bytes: int
    flash_bytes: int
    clock_hz: int
    emulator: tuple[str, ...]
    emulator_package: str
    usb: tuple[str, ...]

    @property
    def folder(self) -> Path:
        """Where the port's files lie."""
        return PORTS / self.name

    @property
    def compiler(self) -> str:
        """The name of the C compiler."""
        return f"{self.toolchain}-gcc" if self.toolchain else "gcc"


@cache
def boards() -> dict[str, Board]:
    """Every board by name."""
    found = {}
    for path in sorted(PORTS.glob("*/board.toml")):
        fields = tomllib.loads(path.read_text())
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
        found[path.parent.name] = Board(name=path.parent.name, **values)
    return found


def board(name: str) -> Board:
    """The board of this name.

    Raises:
        InputError: there is none; the nearest name is in the message.
    """
    if name in boards():
        return boards()[name]
    near = difflib.get_close_matches(name, boards(), n=1)
    raise InputError(
        f"no board is called {name!r}" + (f"; did you mean {near[0]}?" if near else ""),
        hint="edgehff firmware list",
    )
