"""RAM of training against depth: equal convolutions, beside backpropagation through the same layers."""

from __future__ import annotations

import math
from typing import Any

from edgehff.geometry import ConvLayer, Map
from edgehff.model.encoding import Encoding
from edgehff.recipe import CoreConfig
from edgehff.recipe_check import ARITHS
from edgehff.report.footprint import footprint

DEPTHS = (2, 4, 8, 16)
INPUT_SHAPE: Map = (14, 14, 16)
CONV = ConvLayer(channels=16, grid=(2, 2))
"""3 x 3 with padding 1: it gives a map of the size that it takes."""
N_CLASSES = 10


def run() -> dict[str, Any]:
    """A row for each arithmetic and depth: bytes of RAM by report.footprint; nothing is trained.

    scratch_bytes: of one step of the core. ram_bytes: the core's arena and the input vector. backprop: the
    same of each variant, see report.footprint.backprop.
    """
    n_in = math.prod(INPUT_SHAPE)
    rows = []
    for arith in ARITHS:
        for depth in DEPTHS:
            config = CoreConfig(
                dims=(n_in, *[CONV.channels] * depth),
                n_classes=N_CLASSES,
                arith=arith,
                conv=(CONV,) * depth,
                input_shape=INPUT_SHAPE,
            )
            found = footprint(config, Encoding("uint8", (n_in, 1)))
            rows.append(
                {
                    "arith": arith,
                    "layers": depth,
                    "scratch_bytes": found.ram["scratch"],
                    "ram_bytes": found.learning_bytes,
                    "backprop": {f"{b.values}, {b.variant}": b.ram_bytes for b in found.backprop},
                }
            )
    return {"input_shape": INPUT_SHAPE, "conv": CONV.text, "n_classes": N_CLASSES, "rows": rows}
