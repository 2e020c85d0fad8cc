"""What a built firmware holds: sections, symbols and instructions, read by the toolchain's own binutils."""

from __future__ import annotations

import os
import re
import subprocess
from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from edgehff.errors import InputError
from firmware_bridge.boards import Board
from firmware_bridge.build import TIMEOUT_S, require_tool

AVR_DATA = 0x800000
"""Where AVR tools count data memory from: one address space for three."""

_SECTION = re.compile(
    r"^\s*\[\s*\d+\] (\S+)\s+([A-Z]\S*)\s+([0-9a-f]+) [0-9a-f]+ ([0-9a-f]+) [0-9a-f]+"
    r"\s+([A-Za-z]*)\s+\d+\s+\d+\s+\d+$"
)
_SYMBOL = re.compile(
    r"^\s*\d+: ([0-9a-f]+)\s+(\d+|0x[0-9a-f]+) (\w+)\s+(\w+)\s+\w+\s+(?:\[.*\]\s+)?(\w+) (\S+)$"
)
_LABEL = re.compile(r"^([0-9a-f]+) <(.+)>:$")
_LINE = re.compile(r"^\s*([0-9a-f]+):\t(\S+)(?:\s+(.*))?$")
_TARGET = re.compile(r"(?<![0-9a-zA-Z])(?:0x)?([0-9a-f]+) <")
_DUMP = re.compile(r"^ ([0-9a-f]+) ((?:[0-9a-f]{2,8} ){1,4})")


@dataclass(frozen=True)
class Section:
    """A section that is there at run time.

    writable: it takes RAM.  stored: the image holds its bytes, so it takes flash.
    """

    name: str
    address: int
    size: int
    writable: bool
    stored: bool


@dataclass(frozen=True)
class Symbol:
    """A name in the image.

    kind: FUNC, OBJECT, or NOTYPE where assembly does not say.  size: 0 where unknown.
    """

    name: str
    address: int
    size: int
    kind: str

    @property
    def source_name(self) -> str:
        """Its name in C, without what a compiler appends (frame.lto_priv.0)."""
        return self.name.split(".")[0]


@dataclass(frozen=True)
class Instruction:
    """A line of disassembly.

    after: the next one's address.  target: the address that objdump resolved, or None.
    """

    address: int
    after: int
    mnemonic: str
    operands: str
    target: int | None


class Elf:
    """A firmware's ELF file. What it says is read when first asked for.

    Raises:
        MissingToolError: the board's binutils are not installed.
        InputError: the file is no ELF of that board.
    """

    def __init__(self, board: Board, path: Path) -> None:
        self.board, self.path = board, path

    @cached_property
    def sections(self) -> dict[str, Section]:
        """Sections that are there at run time, by name."""
        found = {}
        for line in self._tool("readelf", "-SW").splitlines():
            match = _SECTION.match(line)
            if match and "A" in match[5]:
                size, writable = int(match[4], 16), "W" in match[5]
                found[match[1]] = Section(
                    match[1], int(match[3], 16), size, writable, stored=match[2] != "NOBITS"
                )
        return found

    @cached_property
    def symbols(self) -> tuple[Symbol, ...]:
        """Every defined symbol, by address."""
        found = []
        for line in self._tool("readelf", "-sW").splitlines():
            match = _SYMBOL.match(line)
            if (
                match
                and match[3] in ("FUNC", "OBJECT", "NOTYPE")
                and match[5] != "UND"
                and match[6][0] != "$"
            ):
                address = int(match[1], 16)
                if match[3] == "FUNC" and self.board.toolchain.startswith("arm"):
                    address &= ~1
                found.append(Symbol(match[6], address, int(match[2], 0), match[3]))
        return tuple(sorted(found, key=lambda s: s.address))

    @cached_property
    def code(self) -> dict[int, Instruction]:
        """Every instruction by address; what symbols call data is left out."""
        data = {s.address: s.address + s.size for s in self.symbols if s.kind == "OBJECT"}
        starts = sorted(data)
        lines = []
        for text in self._tool("objdump", "-d", "-w", "--no-show-raw-insn").splitlines():
            match = _LINE.match(text)
            if match:
                lines.append((int(match[1], 16), match[2], match[3] or ""))
        found = {}
        for (address, mnemonic, operands), after in zip(
            lines, [*(a for a, _, _ in lines[1:]), -1], strict=True
        ):
            at = bisect_right(starts, address) - 1
            if mnemonic.startswith(".") or (at >= 0 and address < data[starts[at]]):
                continue
            target = _TARGET.search(operands)
            found[address] = Instruction(
                address, after, mnemonic, operands, int(target[1], 16) if target else None
            )
        return found

    @cached_property
    def functions(self) -> dict[int, Symbol]:
        """Every label that code begins at, by address; of several names the one with a size, or a type."""
        found: dict[int, Symbol] = {}
        for symbol in self.symbols:
            if symbol.address not in self.code or symbol.kind == "OBJECT":
                continue
            known = found.get(symbol.address)
            if known is None or (symbol.size > 0, symbol.kind) > (known.size > 0, known.kind):
                found[symbol.address] = symbol
        return found

    @property
    def ram_bytes(self) -> int:
        """Static RAM: all writable sections."""
        return sum(s.size for s in self.sections.values() if s.writable)

    @property
    def flash_bytes(self) -> int:
        """The image: code, constants and what initializes writable data."""
        return sum(s.size for s in self.sections.values() if s.stored)

    def size_of(self, name: str) -> int:
        """Bytes of the objects of this name; 0 where there is none."""
        return sum(s.size for s in self.symbols if s.source_name == name and s.kind == "OBJECT")

    def function(self, name: str) -> Symbol:
        """The function of this name. InputError where there is none, such as one that was inlined."""
        for symbol in self.functions.values():
            if symbol.name == name:
                return symbol
        raise InputError(
            f"{self.path.name} has no function {name}",
            hint="a build that does not inline it, as without --lean",
        )

    def data_symbols(self) -> tuple[Symbol, ...]:
        """Objects in .data: what takes RAM and flash."""
        data = self.sections.get(".data")
        if data is None:
            return ()
        inside = range(data.address, data.address + data.size)
        return tuple(s for s in self.symbols if s.kind == "OBJECT" and s.address in inside)

    def words(self, address: int, n: int) -> tuple[int, ...]:
        """The n little-endian words of 32 bits at address, fewer where the image ends."""
        data = bytearray()
        for section in self.sections.values():
            end = min(address + 4 * n, section.address + section.size)
            if not section.stored or not section.address <= address < end:
                continue
            span = (f"--start-address={address:#x}", f"--stop-address={end:#x}")
            for line in self._tool("objdump", "-s", "-j", section.name, *span).splitlines():
                match = _DUMP.match(line)
                if match:
                    data += bytes.fromhex(match[2])
        return tuple(int.from_bytes(data[i : i + 4], "little") for i in range(0, len(data) - 3, 4))

    def _tool(self, name: str, *arguments: str) -> str:
        prefix = f"{self.board.toolchain}-" if self.board.toolchain else ""
        program = require_tool(prefix + name, self.board.package)
        done = subprocess.run(  # noqa: S603 (binutils from PATH, arguments as a list)
            [program, *arguments, str(self.path)],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT_S,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
        if done.returncode != 0:
            raise InputError(
                f"{self.path.name} is no firmware of {self.board.name}: {done.stderr.strip()[-200:]}",
                hint=f"edgehff firmware build --board {self.board.name}",
            )
        return done.stdout
