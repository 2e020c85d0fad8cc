"""What a synaptic operation takes on neuromorphic chips, as published: ranges, and where they are from.

Energy of synapses alone: neurons, memory at rest, and bringing samples in come on top. Published numbers of
one chip differ, those of SpiNNaker 2 by 45 times, so that both ends are given.
"""

from __future__ import annotations

from dataclasses import dataclass

PICO = 1e-12
TABLE = "table 3 of PMC10326429"
KERAS = "KerasSpiking, from arXiv:1903.08941"


@dataclass(frozen=True)
class Chip:
    """low, high: picojoules of one synaptic operation.  source: where they stand."""

    name: str
    low: float
    high: float
    source: str


CHIPS = (
    Chip("Loihi", 23.6, 23.6, f"{TABLE}; {KERAS}"),
    Chip("SpiNNaker 2", 10, 450, f"{TABLE}; {KERAS}"),
    Chip("SENECA", 2.8, 2.8, TABLE),
    Chip("TrueNorth", 2.5, 2.5, TABLE),
    Chip("ODIN", 12.7, 12.7, TABLE),
)


def microjoules(operations: float, chip: Chip) -> tuple[float, float]:
    """Lowest and highest energy of so many synaptic operations."""
    return operations * chip.low * PICO * 1e6, operations * chip.high * PICO * 1e6
