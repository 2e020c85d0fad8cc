"""The most that a firmware's stack can take: the deepest chain of calls, and an interrupt on top of it.

Frames of the C functions are the compiler's own figures (-fstack-usage); those of assembly and of the
compiler's library come from walking their instructions, calls from the disassembly of the linked image.
Nothing in the firmware calls itself or through a pointer: where that changes, there is an error and no bound.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from edgehff.errors import CheckFailed
from firmware_bridge.callgraph import CallGraph, handlers, root
from firmware_bridge.elf import Elf, Instruction, Symbol
from firmware_bridge.instructions import Flow, Step

UNPAINTED = 32
"""Bytes below start's frame that ports/common/start.h does not paint: they count as used in any case."""
ALIGNMENT = 4
"""What a Cortex-M may put on the stack before an interrupt's frame, so that it stands at a multiple of 8."""

_DEEPEST_WALK = 4096
_TABLE_JUMP = "__tablejump2__"
_LOOK_BACK = 12

Chain = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class StackBound:
    """The bound and how it comes about.

    chain: functions of the deepest chain, from the first, each with its own bytes.
    interrupt_bytes: what an interrupt takes on top, the processor's part included.  interrupt: its chain.
    return_bytes: of the frames, what each call's return address takes.
    """

    chain: Chain
    interrupt: Chain
    interrupt_bytes: int
    floor: int
    return_bytes: int

    @property
    def bytes(self) -> int:
        """The bound."""
        return max(sum(own for _, own in self.chain), self.floor) + self.interrupt_bytes


def frames(files: Iterable[Path]) -> dict[str, int]:
    """Bytes of each function's frame, from what -fstack-usage wrote; of functions of one name the largest.

    Raises:
        CheckFailed: a frame whose size is only known when it runs.
    """
    found: dict[str, int] = {}
    for path in files:
        for line in path.read_text(errors="replace").splitlines():
            where, size, kind = line.split("\t")
            name = where.split(":")[-1]
            if "dynamic" in kind and "bounded" not in kind:
                raise CheckFailed(
                    f"the frame of {name} has no fixed size: its stack has no bound",
                    hint="no alloca, no arrays of variable length",
                )
            found[name] = max(found.get(name, 0), int(size))
    return found


def stack_bound(elf: Elf, own: dict[str, int]) -> StackBound:
    """The bound for a firmware; own: frames() of its build.

    Raises:
        CheckFailed: a function calls itself or through a pointer, or moves the stack pointer otherwise.
    """
    board = elf.board
    depths = _Depths(elf, own)
    first = root(elf)
    chain = depths.deepest(first.address)
    floor = (depths.frame(first) or 0) + UNPAINTED if first.name == "start" else 0
    interrupts = [depths.deepest(address) for address in handlers(elf)]
    worst = max(interrupts, key=_total, default=())
    extra = board.exception_bytes + (ALIGNMENT if board.exception_bytes else 0)
    return StackBound(
        chain,
        worst,
        interrupt_bytes=_total(worst) + extra if interrupts else 0,
        floor=floor,
        return_bytes=depths.return_bytes,
    )


def _total(chain: Chain) -> int:
    return sum(own for _, own in chain)


class _Depths:
    """How deep the chains of calls go. return_bytes: what a call puts on the stack by itself."""

    def __init__(self, elf: Elf, own: dict[str, int]) -> None:
        self._elf, self._own, self._graph = elf, own, CallGraph(elf)
        self.return_bytes = 0
        if elf.board.abi == "avr":
            self.return_bytes = 3 if elf.board.flash_bytes > 0x20000 else 2
        self._known: dict[int, Chain] = {}
        self._open: list[int] = []

    def deepest(self, address: int) -> Chain:
        """The deepest chain that begins at the function there."""
        if address in self._known:
            return self._known[address]
        if address in self._open:
            first = self._open.index(address)
            loop = [self._graph.name(at) for at in (*self._open[first:], address)]
            raise CheckFailed(
                f"{' calls '.join(loop)}: recursion has no bound", hint="take the recursion out"
            )
        self._open.append(address)
        symbol = self._elf.functions.get(address)
        frame = None if symbol is None else self.frame(symbol)
        if symbol is not None and frame is not None:
            chain = self._compiled(symbol, frame)
        else:
            chain = self._walked(address)
        self._open.pop()
        self._known[address] = chain
        return chain

    def frame(self, symbol: Symbol) -> int | None:
        """The compiler's figure, also for a copy of it (.isra.0, .part.1); None where it has none."""
        if symbol.kind != "FUNC" or not symbol.size:
            return None
        for name in (symbol.name, re.sub(r"\.\d+$", "", symbol.name), symbol.name.split(".")[0]):
            if name in self._own:
                return self._own[name]
        return None

    def _compiled(self, symbol: Symbol, frame: int) -> Chain:
        """A function whose frame the compiler gave: whole where it calls, gone where it jumps to another."""
        here = (symbol.name, frame)
        best: Chain = (here,)
        for instruction in self._graph.body(symbol.address):
            step, target = self._graph.decode(instruction), instruction.target
            self._must_stay(symbol, instruction, step)
            if step.flow not in (Flow.CALL, Flow.JUMP, Flow.BRANCH) or target is None:
                continue
            if step.flow is Flow.CALL:
                if self._makes_room(instruction):
                    continue  # room for variables, which the frame counts
                chain = (here, *self.deepest(target))
            elif symbol.address <= target < symbol.address + symbol.size:
                continue
            elif self._graph.name(target) == _TABLE_JUMP:
                chain = (here, *self.deepest(target))
            else:
                chain = self.deepest(target)
            best = max(best, chain, key=_total)
        return best

    def _makes_room(self, call: Instruction) -> bool:
        """Whether it calls what follows in the same function, as AVR does to move the stack pointer."""
        return call.target == call.after and call.target not in self._elf.functions

    def _must_stay(self, symbol: Symbol, instruction: Instruction, step: Step) -> None:
        """CheckFailed where a register leads out of the function."""
        inside = step.flow is not Flow.INDIRECT
        if step.flow is Flow.SWITCH and self._elf.board.toolchain.startswith("riscv"):
            inside = self._has_table(symbol, instruction)
        if not inside:
            raise CheckFailed(
                f"{symbol.name} goes through a pointer ({instruction.mnemonic} {instruction.operands}): "
                "its stack has no bound",
                hint="call functions by name",
            )

    def _has_table(self, symbol: Symbol, jump: Instruction) -> bool:
        """Whether the code before a jump names a table of addresses inside the function: a switch."""
        before = [i for i in self._graph.body(symbol.address) if i.address < jump.address][-_LOOK_BACK:]
        for instruction in reversed(before):
            found = re.search(r"# ([0-9a-f]+)", instruction.operands)
            if found:
                words = self._elf.words(int(found[1], 16), 2)
                return len(words) == 2 and all(
                    symbol.address <= word < symbol.address + symbol.size for word in words
                )
        return False

    def _walked(self, address: int) -> Chain:
        """Code without the compiler's figure: every path through it, with what lies on the stack."""
        name = self._graph.name(address)
        best: Chain = ((name, self.return_bytes),)
        seen: dict[int, int] = {}
        left = [(address, self.return_bytes)]
        while left:
            at, depth = left.pop()
            if seen.get(at, -1) >= depth:
                continue
            seen[at] = depth
            instruction = self._elf.code.get(at)
            if instruction is None or depth > _DEEPEST_WALK:
                raise CheckFailed(
                    f"the stack of {name} has no bound at {at:#x}", hint="give it a frame that is known"
                )
            more, chain = self._step(name, instruction, depth)
            left += more
            best = max(best, chain, key=_total)
        return best

    def _step(self, name: str, i: Instruction, depth: int) -> tuple[list[tuple[int, int]], Chain]:
        """Where a walk goes on, with what depth; and the chain that ends or leaves here."""
        step = self._graph.decode(i)
        if step.pushed is None or (step.flow in (Flow.INDIRECT, Flow.SWITCH) and name != _TABLE_JUMP):
            raise CheckFailed(
                f"{name}: nobody knows what {i.mnemonic} {i.operands} does to the stack",
                hint="give it a frame that is known",
            )
        here: Chain = ((name, depth + max(0, step.pushed)),)
        going_on = [(i.after, depth + step.pushed)]
        target = i.target
        if step.flow is Flow.CALL and target is not None:
            if self._makes_room(i):
                return [(i.after, depth + self.return_bytes)], here
            return going_on, (*here, *self.deepest(target))
        if step.flow in (Flow.JUMP, Flow.BRANCH) and target is not None:
            rest = going_on if step.flow is Flow.BRANCH else []
            symbol = self._elf.functions.get(target)
            if symbol is None or self.frame(symbol) is None:
                return [(target, depth), *rest], here
            return rest, ((name, depth - self.return_bytes), *self.deepest(target))
        if step.flow is Flow.SKIP:
            skipped = self._elf.code.get(i.after)
            return going_on + ([] if skipped is None else [(skipped.after, depth)]), here
        if step.flow is Flow.RETURN and not step.conditional:
            return [], here
        return ([], here) if step.flow in (Flow.INDIRECT, Flow.SWITCH) else (going_on, here)
