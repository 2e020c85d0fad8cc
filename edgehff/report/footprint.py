"""What a network takes in RAM and flash to learn, by part, beside the same network under backpropagation.

The network's and the encoder's bytes come from the C functions that the core itself demands them with; none
is an estimate. Code and stack are not counted: they depend on compiler and target, and are measured there.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Protocol

from edgehff import core
from edgehff.geometry import LayerShape
from edgehff.model.encoding import Encoding
from edgehff.recipe import CoreConfig
from edgehff.report.tables import Table

BATCH = 32
_BLOB_ENCODER_BYTES = 16
_RAM_TEXT = {
    "state": "header and table of layers",
    "weights": "weights",
    "prototypes": "prototypes",
    "scratch": "scratch of one step: the widest layer's, whatever the depth",
    "input_vector": "input vector, int16",
    "raw_sample": "one raw sample",
    "encoder_scratch": "scratch of the encoder",
}
_FLASH_TEXT = {
    "weights": "weights, factory copy",
    "prototypes": "prototypes, factory copy",
    "encoder_table": "offsets and gains of the encoder",
    "header": "header, layer and encoder fields, checksum",
}
NOTES = (
    "Code and stack are not in these figures; what else the program needs comes on top.",
    "The sizes hold on every target: the core's structures have fixed-width fields and no padding.",
)


@dataclass(frozen=True)
class Backprop:
    """RAM of one step of stochastic gradient descent by backpropagation, for a comparable network.

    The network: bias-free, the same hidden layers with ReLU and pooling, and a linear classifier on the last,
    or on the sum of each of its channels where that is a convolution; without normalization and optimizer
    state, which would add to it. Input vector included; raw sample, encoder and program left out, as they are
    in Footprint.learning_bytes.

    variant: "in place", "accumulated" or "batch 32".
    values: "float32", or "integers": weights as wide as ours, everything else 16 bits.
    activation_bytes: with the routes of pooling.
    """

    variant: str
    values: str
    weight_bytes: int
    gradient_bytes: int
    activation_bytes: int
    error_bytes: int

    @property
    def ram_bytes(self) -> int:
        """The sum of the parts."""
        return self.weight_bytes + self.gradient_bytes + self.activation_bytes + self.error_bytes


@dataclass(frozen=True)
class Footprint:
    """Bytes by part. ram and flash have the keys of _RAM_TEXT and _FLASH_TEXT, in that order.

    ram: the arena of the core (state, weights, prototypes, scratch) and the buffers of one sample.
    flash: the blob of the network with its encoder, to start from and to fall back on.
    table_ram: what ehff_encoder_load adds to RAM where the encoder's table is not read from flash.
    backprop: six comparisons, see `backprop`.
    """

    dims: tuple[int, ...]
    n_classes: int
    arith: str
    ram: dict[str, int]
    flash: dict[str, int]
    table_ram: int
    backprop: tuple[Backprop, ...]

    @property
    def ram_bytes(self) -> int:
        """All of RAM that is counted."""
        return sum(self.ram.values())

    @property
    def flash_bytes(self) -> int:
        """All of flash that is counted: the length of the blob."""
        return sum(self.flash.values())

    @property
    def learning_bytes(self) -> int:
        """The arena and the input vector: what compares with backpropagation."""
        return self.ram_bytes - self.ram["raw_sample"] - self.ram["encoder_scratch"]

    def to_dict(self) -> dict[str, Any]:
        """Plain types for JSON. stack_bytes and code_bytes are null: not counted here."""
        return {
            "dims": list(self.dims),
            "n_classes": self.n_classes,
            "arith": self.arith,
            "ram_bytes": self.ram_bytes,
            "flash_bytes": self.flash_bytes,
            "stack_bytes": None,
            "code_bytes": None,
            "learning_bytes": self.learning_bytes,
            "encoder_table_ram_bytes": self.table_ram,
            "ram": dict(self.ram),
            "flash": dict(self.flash),
            "backprop": [asdict(b) | {"ram_bytes": b.ram_bytes} for b in self.backprop],
        }

    def tables(self) -> list[Table]:
        """RAM, flash, and the comparison, as text."""
        own = (f"HFF {self.arith}, this network", f"{self.learning_bytes:,}", "1.00")
        others = [
            (
                f"backpropagation, {b.values}, {b.variant}",
                f"{b.ram_bytes:,}",
                f"{b.ram_bytes / self.learning_bytes:.2f}",
            )
            for b in self.backprop
        ]
        return [
            _parts("RAM while learning", self.ram, _RAM_TEXT),
            _parts("Flash", self.flash, _FLASH_TEXT),
            Table(
                "RAM to learn one step, without raw sample and encoder",
                ("", "bytes", "times ours"),
                (own, *others),
            ),
        ]

    def notes(self) -> list[str]:
        """What the figures leave out, as sentences."""
        table = f"Loading the encoder from a blob copies its table to RAM: {self.table_ram:,} bytes more."
        return [*NOTES, *([table] if self.table_ram else [])]


def footprint(config: CoreConfig, encoding: Encoding) -> Footprint:
    """The footprint of a network of this configuration behind this encoder.

    Raises:
        ShapeError: the core refuses the configuration.
    """
    sizes, encoder = core.sizes(config), encoding.to_core()
    each = 1 if config.arith == "int8" else 2
    shapes = config.shapes
    weights = sum(layer.n_in * layer.n_out for layer in shapes) * each
    n_protos = config.n_classes * config.n_per_class
    prototypes = n_protos * sum(layer.head for layer in shapes) * (config.proto_bits // 8)
    prototypes += n_protos * 2 * config.n_layers * (config.proto_bits == 8)
    return Footprint(
        dims=config.dims,
        n_classes=config.n_classes,
        arith=config.arith,
        ram={
            "state": sizes["state_bytes"],
            "weights": sizes["weight_bytes"],
            "prototypes": sizes["proto_bytes"],
            "scratch": sizes["scratch_bytes"],
            "input_vector": 2 * config.dims[0],
            "raw_sample": encoding.raw_bytes,
            "encoder_scratch": encoder.ram_bytes,
        },
        flash={
            "weights": weights,
            "prototypes": prototypes,
            "encoder_table": encoder.table_bytes,
            "header": sizes["blob_bytes"] - weights - prototypes + _BLOB_ENCODER_BYTES,
        },
        table_ram=encoder.table_bytes,
        backprop=backprop(shapes, config.n_classes, each),
    )


class HasParts(Protocol):
    """Bytes by part, of RAM and of flash."""

    @property
    def ram(self) -> dict[str, int]:
        """Of RAM."""

    @property
    def flash(self) -> dict[str, int]:
        """Of flash."""


def exceeded(found: HasParts, ram_bytes: int | None, flash_bytes: int | None) -> list[str]:
    """A sentence for each budget that it is over, with its largest part. None: no budget."""
    sentences = []
    for name, parts, budget in (("RAM", found.ram, ram_bytes), ("flash", found.flash, flash_bytes)):
        needed = sum(parts.values())
        if budget is not None and needed > budget:
            largest = max(parts, key=lambda part: parts[part])
            sentences.append(
                f"{name}: {needed:,} bytes are {needed - budget:,} over the budget of {budget:,}; "
                f"the largest part is {largest.replace('_', ' ')} with {parts[largest]:,}"
            )
    return sentences


def backprop(shapes: tuple[LayerShape, ...], n_classes: int, weight_bytes: int) -> tuple[Backprop, ...]:
    """RAM of backpropagation through these layers and a linear classifier, the least that each variant needs.

    P weights, the classifier's among them: n_classes a channel of a convolution, or output of a dense layer.
    A activations: the input, what each layer hands on, after pooling, and n_classes. A channel's sum is not
    kept: it follows from the map. R bytes of routes, which tell where a pooled value came from: of max one
    byte, of mean one bit for each position of its window, in whole bytes. E the two widest neighbors among
    the layers that have an error; that of a convolution before the classifier is the same all over a channel:
    one value. With w bytes a weight and v bytes another value:

    - in place: one sample; each layer's weights change as the error passes from one buffer to another:
      w P + v A + R + v E.
    - accumulated: one sample at a time into a gradient of every weight, applied later; errors overwrite the
      activations they no longer need: w P + v P + v A + R.
    - batch 32: the same for 32 samples at once: w P + v P + 32 (v A + R).

    w = v = 4 for float32; w = weight_bytes and v = 2 for integers.

    Args:
        shapes: of every layer but the classifier, as geometry.shapes gives them.
        n_classes: outputs of the classifier.
        weight_bytes: bytes of one weight in integers, 1 or 2.
    """
    first, last = shapes[0], shapes[-1]
    given = [math.prod(layer.map_out or (layer.n_out,)) for layer in shapes]
    weights = sum(layer.n_in * layer.n_out for layer in shapes) + last.n_out * n_classes
    activations = math.prod(first.map_in or (first.n_in,)) + sum(given) + n_classes
    routes = sum(n * _route_bytes(layer) for n, layer in zip(given, shapes, strict=True))
    errors = max(a + b for a, b in pairwise((*given[:-1], last.n_out, n_classes)))
    return tuple(
        Backprop(
            variant,
            values,
            w * weights,
            gradients * v * weights,
            samples * (v * activations + routes),
            in_place * v * errors,
        )
        for values, w, v in (("float32", 4, 4), ("integers", weight_bytes, 2))
        for variant, gradients, samples, in_place in (
            ("in place", 0, 1, 1),
            ("accumulated", 1, 1, 0),
            (f"batch {BATCH}", 1, BATCH, 0),
        )
    )


def _route_bytes(layer: LayerShape) -> int:
    """Bytes that backpropagation keeps of the window of one pooled value: at most 16 positions."""
    if layer.conv is None or layer.conv.pool == "none":
        return 0
    return 1 if layer.conv.pool == "max" else (math.prod(layer.conv.pool_size) + 7) // 8


def _parts(title: str, parts: dict[str, int], text: dict[str, str]) -> Table:
    rows = [(text[name], f"{size:,}") for name, size in parts.items()]
    return Table(title, ("part", "bytes"), (*rows, ("together", f"{sum(parts.values()):,}")))
