"""What an instruction does to the stack and where it leads, as far as a bound of the stack needs it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from firmware_bridge.elf import Instruction


class Flow(Enum):
    """Where an instruction leads. SWITCH: by a register, meant to stay inside; INDIRECT: anywhere."""

    NEXT = auto()
    CALL = auto()
    JUMP = auto()
    BRANCH = auto()
    SKIP = auto()
    RETURN = auto()
    SWITCH = auto()
    INDIRECT = auto()


@dataclass(frozen=True)
class Step:
    """flow, and the bytes that it puts on the stack, negative where it takes them off; None: nobody knows.

    conditional: of a return: it may also go on.
    """

    flow: Flow = Flow.NEXT
    pushed: int | None = 0
    conditional: bool = False


Decoder = Callable[[Instruction], Step]

_ARM_CONDITION = "(?:eq|ne|cs|hs|cc|lo|mi|pl|vs|vc|hi|ls|ge|lt|gt|le)"
_ARM_BASE = re.compile(
    rf"^(bl|blx|bx|b|push|pop|ldr|mov|add|sub|stmdb|ldmia|str|strd|ldrd)({_ARM_CONDITION})?$"
)
_ARM_LOOPS = {"cbz", "cbnz", "le", "letp", "wls", "wlstp"}
_AVR_SKIPS = {"cpse", "sbrc", "sbrs", "sbic", "sbis"}
_AVR_SP = ("0x3d", "0x3e")


def arm(i: Instruction) -> Step:
    """Thumb, as objdump writes it."""
    name, operands = i.mnemonic.split(".")[0], i.operands
    if name in _ARM_LOOPS:
        return Step(Flow.BRANCH)
    if name in ("tbb", "tbh"):
        return Step(Flow.SWITCH)
    if name in ("vpush", "vpop"):
        size = (8 if "d" in operands else 4) * _listed(operands)
        return Step(pushed=size if name == "vpush" else -size)
    match = _ARM_BASE.match(name)
    if match is None:
        return (
            Step(pushed=None) if re.match(r"sp\b(?!\])", operands) and name not in ("cmp", "tst") else Step()
        )
    base, conditional = match[1], match[2] is not None
    if base in ("bl", "blx"):
        return Step(Flow.CALL if i.target is not None else Flow.INDIRECT)
    if base == "b":
        return Step(Flow.BRANCH if conditional else Flow.JUMP)
    if base == "bx":
        return Step(Flow.RETURN, conditional=conditional) if operands == "lr" else Step(Flow.INDIRECT)
    return _arm_stack(base, operands, conditional)


def _arm_stack(base: str, operands: str, conditional: bool) -> Step:
    if base == "push" or (base == "stmdb" and operands.startswith("sp!")):
        return Step(pushed=4 * _listed(operands))
    if base == "pop" or (base == "ldmia" and operands.startswith("sp!")):
        if re.search(r"\bpc\b", operands):
            return Step(Flow.RETURN, conditional=conditional)
        return Step(pushed=0 if conditional else -4 * _listed(operands))
    if re.match(r"pc\b", operands):
        if re.search(r"\[sp\], #\d+", operands):
            return Step(Flow.RETURN, conditional=conditional)
        return Step(Flow.SWITCH if base in ("mov", "add") or "lsl #2" in operands else Flow.INDIRECT)
    found = re.search(r"\[sp, #-(\d+)\]!", operands)
    if found:
        return Step(pushed=int(found[1]))
    found = re.search(r"\[sp\], #(\d+)", operands)
    if found:
        return Step(pushed=0 if conditional else -int(found[1]))
    if base in ("add", "sub", "mov") and re.match(r"sp\b", operands):
        amount = re.fullmatch(r"sp, (?:sp, )?#(\d+).*", operands)
        if amount is None or base == "mov":
            return Step(pushed=None)
        return Step(pushed=int(amount[1]) if base == "sub" else 0 if conditional else -int(amount[1]))
    return Step()


def _listed(operands: str) -> int:
    """Registers of a list in braces."""
    n = 0
    for item in operands[operands.index("{") + 1 : operands.index("}")].split(","):
        ends = re.findall(r"\d+", item) if "-" in item else []
        n += int(ends[1]) - int(ends[0]) + 1 if ends else 1
    return n


def riscv(i: Instruction) -> Step:
    """RV32 with compressed instructions."""
    name, operands = i.mnemonic.removeprefix("c."), i.operands
    if name in ("ret", "mret") or (name == "jr" and operands in ("ra", "t0")):
        return Step(Flow.RETURN)
    if name == "jal":
        return Step(Flow.CALL)
    if name == "j":
        return Step(Flow.JUMP)
    if name == "jalr":
        return Step(Flow.CALL if i.target is not None else Flow.INDIRECT)
    if name == "jr":
        return Step(Flow.JUMP if i.target is not None else Flow.SWITCH)
    if name.startswith("b") and i.target is not None:
        return Step(Flow.BRANCH)
    amount = re.match(r"sp,sp,(-?\d+)$", operands)
    if amount and name in ("add", "addi", "addi16sp"):
        return Step(pushed=-int(amount[1]))
    stores = name in ("sw", "sh", "sb")
    return Step(pushed=None) if operands.startswith("sp,") and not stores else Step()


def avr(i: Instruction) -> Step:
    """8-bit AVR. An rcall to what follows makes room as large as a return address."""
    name = i.mnemonic
    if name in ("call", "rcall"):
        return Step(Flow.CALL)
    if name in ("jmp", "rjmp"):
        return Step(Flow.JUMP)
    if name in ("ret", "reti"):
        return Step(Flow.RETURN)
    if name in ("icall", "eicall", "ijmp", "eijmp"):
        return Step(Flow.INDIRECT)
    if name in _AVR_SKIPS:
        return Step(Flow.SKIP)
    if name.startswith("br") and name != "break":
        return Step(Flow.BRANCH)
    if name in ("push", "pop"):
        return Step(pushed=1 if name == "push" else -1)
    return Step(pushed=None) if name == "out" and i.operands.startswith(_AVR_SP) else Step()


def decoder(toolchain: str) -> Decoder:
    """The one for a toolchain's prefix."""
    return {"arm": arm, "ris": riscv, "avr": avr}[toolchain[:3]]
