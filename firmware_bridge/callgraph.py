"""Who calls whom in a linked image, by its disassembly."""

from __future__ import annotations

import re
from bisect import bisect_left

from firmware_bridge.elf import Elf, Instruction, Symbol
from firmware_bridge.instructions import Flow, decoder


def handlers(elf: Elf) -> list[int]:
    """Where interrupts enter: the vector table's addresses behind reset, and AVR's __vector_N."""
    found = {
        s.address
        for s in elf.functions.values()
        if re.fullmatch(r"__vector_\d+", s.name) and s.kind == "FUNC"
    }
    for symbol in elf.symbols:
        if symbol.name == "vectors" and symbol.kind == "OBJECT":
            found |= {word & ~1 for word in elf.words(symbol.address, symbol.size // 4)[2:] if word}
    return sorted(found)


def root(elf: Elf) -> Symbol:
    """Where C code begins: start of ports/common/start.h, which may hold main; on AVR main."""
    named = {s.name: s for s in elf.functions.values() if s.size}
    return named["start"] if "start" in named else elf.function("main")


class CallGraph:
    """The functions of an image by address, and what leads from one to another."""

    def __init__(self, elf: Elf) -> None:
        self.elf = elf
        self.decode = decoder(elf.board.toolchain)
        self._addresses = sorted(elf.code)

    def name(self, address: int) -> str:
        """What the label there is called."""
        symbol = self.elf.functions.get(address)
        return f"{address:#x}" if symbol is None else symbol.name

    def body(self, address: int) -> list[Instruction]:
        """The instructions of the function there, past tables in it; without a size, to the next label."""
        symbol = self.elf.functions.get(address)
        first = bisect_left(self._addresses, address)
        if symbol is not None and symbol.size:
            last = bisect_left(self._addresses, address + symbol.size)
        else:
            last = first + 1
            while last < len(self._addresses) and self._addresses[last] not in self.elf.functions:
                last += 1
        return [self.elf.code[at] for at in self._addresses[first:last]]

    def reached(self, address: int) -> set[int]:
        """Every function that is called, however indirectly, from the one there; that one too."""
        found: set[int] = set()
        left = [address]
        while left:
            at = left.pop()
            if at not in found:
                found.add(at)
                left += [target for _, target in self.edges(at)]
        return found

    def edges(self, address: int) -> list[tuple[Instruction, int]]:
        """What leads out of the code between this label and the next: the instruction, and where to."""
        found = []
        for instruction in self.body(address):
            target = instruction.target
            flow = self.decode(instruction).flow
            if target is None or flow not in (Flow.CALL, Flow.JUMP, Flow.BRANCH):
                continue
            if target in self.elf.functions:
                found.append((instruction, target))
        return found

    def extent(self, address: int) -> int:
        """Bytes of the code there, up to the next label where its symbol has no size."""
        return self.body(address)[-1].after - address

    def is_call(self, instruction: Instruction) -> bool:
        """Whether it comes back."""
        return self.decode(instruction).flow is Flow.CALL
