"""The spiking network as data: integers, with thresholds that no sum of integers meets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehff.errors import ShapeError
from edgehff.model.encoding import Encoding
from edgehff.model.network import check_array, check_counts, crc32_of
from edgehff.model.spiking_input import encoded_for
from edgehff.recipe import Recipe

HALF = 0.5
"""Added to the length of a spike count: few spikes have small cosines, none has a finite gradient."""
MAX_THRESHOLD = 1 << 24
"""Of a float32's integers; a larger membrane would not be exact in every simulator."""


@dataclass(frozen=True, eq=False)
class SpikingLayer:
    """One layer's synapses, neurons and prototypes.

    weight: int8, shape (n_out, n_in); of a convolution (channels, kernel height * width * channels in).
    threshold: a neuron fires where its membrane is above threshold + 1/2, which no sum of integers equals.
    prototypes: int16 Q14, shape (n_classes, n_per_class, n_out); of a convolution (cells of its grid,
        channels) in place of n_out.
    """

    weight: NDArray[np.int8]
    threshold: int
    prototypes: NDArray[np.int16]


@dataclass(frozen=True, eq=False)
class SpikingNetwork:
    """A spiking network with its encoder and the names of its classes.

    recipe: how it was made; recipe.spiking says how samples become steps, and what neurons do.
    gain: what an encoded element of 1.0 is in levels of the first layer's input.
    layers: from the input on.  step: training steps taken.

    Raises:
        ShapeError: the parts do not fit together; the message names the first that does not.
    """

    recipe: Recipe
    class_names: tuple[str, ...]
    encoding: Encoding
    layers: tuple[SpikingLayer, ...]
    gain: float
    step: int = 0

    def __post_init__(self) -> None:
        _check(self)

    @property
    def weights_crc32(self) -> int:
        """Zlib's CRC-32 of weights, thresholds (int32) and prototypes, layer by layer, little-endian."""
        parts = (
            (layer.weight, np.array(layer.threshold, np.int32), layer.prototypes) for layer in self.layers
        )
        return crc32_of(array for arrays in parts for array in arrays)

    def encode(self, raw: NDArray[Any]) -> NDArray[np.int16]:
        """Raw samples as unit vectors, int16 Q14, shape (n, n_in); of streams as numbers, (n, steps * n_in).

        raw: as in Encoding.quantize_raw.
        """
        return encoded_for(self.recipe, self.encoding, raw)

    @property
    def facts(self) -> dict[str, Any]:
        """What a reader of an exported file has to know: which model it is, and how inputs are made."""
        s = self.recipe.spiking
        return {
            "made_by": "edgehff",
            "weights_crc32": f"{self.weights_crc32:08x}",
            "class_names": list(self.class_names),
            "steps": s.steps,
            "code": s.code,
            "levels": s.levels,
            "delta": s.delta,
            "gain": self.gain,
            "seed": self.recipe.seed,
        }

    @property
    def n_in(self) -> int:
        """Inputs of one step."""
        return self.recipe.spiking.inputs(self.encoding.n_features)


def _check(n: SpikingNetwork) -> None:
    if not n.recipe.spiking.steps:
        raise ShapeError("a spiking network of a recipe without [spiking]", hint="[spiking] steps = 8")
    check_counts(n.recipe, n.class_names, len(n.layers), n.step)
    protos = (len(n.class_names), n.recipe.prototypes_per_class)
    for i, (shape, layer) in enumerate(zip(n.recipe.shapes(n.n_in), n.layers, strict=True)):
        check_array(i, "weight", layer.weight, np.dtype(np.int8), (shape.n_out, shape.n_in))
        check_array(i, "prototypes", layer.prototypes, np.dtype(np.int16), (*protos, shape.head))
        if not 0 <= layer.threshold < MAX_THRESHOLD:
            raise ShapeError(
                f"layer {i}: threshold = {layer.threshold} lies outside 0 to {MAX_THRESHOLD - 1}",
                hint="train it again with fewer levels",
            )
    if not 0 < n.gain < np.inf:
        raise ShapeError(f"gain = {n.gain} is not positive", hint="edgehff spike train finds it")
