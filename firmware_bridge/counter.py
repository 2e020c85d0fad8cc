"""Counts the instructions that emulated firmware executes: plugin/count.c, built when needed, inside QEMU."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgehff.errors import CheckFailed
from firmware_bridge.boards import ROOT, Board
from firmware_bridge.build import TIMEOUT_S, require_tool
from firmware_bridge.callgraph import CallGraph, handlers, root
from firmware_bridge.elf import Elf
from firmware_bridge.emulator import STOP_S, EmulatorTransport

SOURCE = ROOT / "plugin" / "count.c"
_INLINE_GONE = 9
"""The release of QEMU that takes plugins of version 2 and newer only."""


@dataclass(frozen=True)
class Instructions:
    """Executed instructions, one number a call, in the order of the calls."""

    calls: tuple[int, ...]

    @property
    def mean(self) -> float:
        """Of all calls."""
        return sum(self.calls) / len(self.calls)

    @property
    def largest(self) -> int:
        """Of all calls."""
        return max(self.calls)

    def to_dict(self) -> dict[str, int | float]:
        """Plain types for JSON."""
        return {
            "calls": len(self.calls),
            "mean": round(self.mean, 1),
            "largest": self.largest,
            "first": self.calls[0],
        }


@dataclass(frozen=True)
class ProfileLine:
    """One function while counted calls were under way. inclusive: with what it called."""

    name: str
    calls: int
    inclusive: int
    exclusive: int


class Counter:
    """A counter for one firmware in a folder; `arguments` are what QEMU needs for it.

    names: functions whose every call is counted.  profile: totals of all others too.
    inline: whether QEMU may add up in translated code, which is faster.

    Raises:
        MissingToolError: gcc or QEMU is not installed.
        InputError: the firmware has no function of that name.
    """

    def __init__(
        self, elf: Elf, names: Sequence[str], folder: Path, *, profile: bool = False, inline: bool = True
    ) -> None:
        graph = CallGraph(elf)
        self._out = folder / "counts.txt"
        symbols = folder / "symbols.txt"
        symbols.write_text("\n".join(_lines(elf, graph, names, profile=profile)) + "\n")
        library = _build(elf.board, folder / "libcount.so")
        options = [library, f"sym={symbols}", f"out={self._out}", *([] if inline else ["inline=0"])]
        self.arguments = ("-plugin", ",".join(str(option).replace(",", ",,") for option in options))

    def calls(self, name: str) -> tuple[int, ...]:
        """What each call of the function executed so far."""
        if not self._out.exists():
            return ()
        pattern = re.compile(rf"^call {re.escape(name)} (\d+)\n", re.MULTILINE)
        return tuple(int(n) for n in pattern.findall(self._out.read_text()))

    def profile(self, transport: EmulatorTransport) -> list[ProfileLine]:
        """Ends QEMU; the totals of every function that was called, those that executed most first."""
        process = transport.process
        if process is not None:
            process.terminate()
            process.wait(timeout=STOP_S)
        found = [
            ProfileLine(word[1], int(word[2]), int(word[3]), int(word[4]))
            for word in map(str.split, self._out.read_text().splitlines())
            if word[0] == "profile"
        ]
        return sorted(found, key=lambda line: -line.exclusive)


def _lines(elf: Elf, graph: CallGraph, names: Sequence[str], *, profile: bool) -> list[str]:
    """What the plugin reads of each function: count.c says how."""
    counted = {elf.function(name).address for name in names}
    returns = _returns(elf, graph)
    excluded = set().union(*map(graph.reached, handlers(elf))) - graph.reached(root(elf).address)
    found = []
    for address, symbol in sorted(elf.functions.items()):
        back = returns.get(address, set())
        if address in counted and not back:
            raise CheckFailed(f"nothing calls {symbol.name}: it cannot be counted", hint="build it again")
        kind = "c" if address in counted else "x" if address in excluded else "p" if profile and back else ""
        if kind:
            size = symbol.size or graph.extent(address)
            found.append(
                " ".join([f"{address:x} {size:x} {kind} {symbol.name}", *(f"{a:x}" for a in sorted(back))])
            )
    return found


def _returns(elf: Elf, graph: CallGraph) -> dict[int, set[int]]:
    """Where each function may come back to: behind its calls, and where whoever jumps to it would."""
    found: dict[int, set[int]] = {address: set() for address in elf.functions}
    jumps: list[tuple[int, int]] = []
    for address in elf.functions:
        for instruction, target in graph.edges(address):
            if graph.is_call(instruction):
                found[target].add(instruction.after)
            elif target != address:
                jumps.append((address, target))
    while any(not found[source] <= found[target] for source, target in jumps):
        for source, target in jumps:
            found[target] |= found[source]
    return found


def _build(board: Board, library: Path) -> Path:
    """Compile the plugin for the QEMU that is installed."""
    emulator = require_tool(board.emulator[0], board.emulator_package)
    compiler = require_tool("gcc", "gcc")
    said = subprocess.run(  # noqa: S603 (QEMU from PATH, arguments as a list)
        [emulator, "--version"], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    ).stdout
    release = re.search(r"version (\d+)", said)
    api = 2 if release is not None and int(release[1]) >= _INLINE_GONE else 1
    flags = ["-std=c99", "-O2", "-fPIC", "-shared", "-fvisibility=hidden", f"-DPLUGIN_API={api}"]
    done = subprocess.run(  # noqa: S603 (a compiler from PATH, arguments as a list)
        [compiler, *flags, str(SOURCE), "-o", str(library)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        raise CheckFailed(
            f"gcc refused the plugin that counts: {done.stderr.strip()[:200]}",
            hint="please report it with this message",
        )
    return library
