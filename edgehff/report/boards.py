"""Memory of some boards, for budgets. All of it: the program, its stack and its buffers share it."""

from __future__ import annotations

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True)
class Board:
    """A board, or an emulated machine, by the memory that a program may use.

    ram_bytes, flash_bytes: all there is for a program; stack, code and the rest of the program take from it.
    """

    name: str
    chip: str
    ram_bytes: int
    flash_bytes: int


BOARDS = {
    board.name: board
    for board in (
        Board("microbit", "nRF51822, Cortex-M0", 16 * KIB, 256 * KIB),
        Board("netduinoplus2", "STM32F405, Cortex-M4F; 64 KiB of CCM not counted", 128 * KIB, 1 * MIB),
        Board("mps2-an386", "FPGA image, Cortex-M4", 4 * MIB, 4 * MIB),
        Board("mps3-an547", "FPGA image, Cortex-M55", 512 * KIB, 512 * KIB),
        Board("sifive_e", "FE310, RV32IMAC; 16 MiB of QSPI less the boot loader's 4", 16 * KIB, 12 * MIB),
        Board("mega2560", "ATmega2560, 8-bit AVR", 8 * KIB, 256 * KIB),
        Board("uno", "ATmega328P, 8-bit AVR", 2 * KIB, 32 * KIB),
    )
}
