"""BrainChip's Akida, first generation (AKD1000): a network in the chip's integers, run here in numpy.

Akida knows no time steps: what passes between layers are events of up to 4 bits. So it takes networks of
dense HFF layers that do not spike; the norm between layers is left out, which changes no answer of a network
without a bias. The prototypes of the last layer are the last fully connected layer, and its largest output is
the answer: prototypes of the layers before do not answer.

    event       min(15, (max(raw, 0) + input_step // 2) // input_step), 0 to 15
    potential   sum of weight * event; beyond 20 bits it would saturate, which `check_potentials` excludes
    activation  min(2^act_bits - 1, ceil(potential / act_step)) above 0, else 0

The file is a .npz of numpy, without pickle:

    format           int64, 1
    made_by          "edgehff"
    weights_crc32    of the model it was made from, as edgehff inspect shows it
    class_names      one a class
    raw              the type of raw values: uint8, int8 or int16
    input_scale      float64; float samples are rint(sample * input_scale), limited to int16; 0: integers
    input_step       int64, of the raw values, see above
    input_bits       int64, 4
    weight_bits      int64, 2 or 4: -1 to 1, or -7 to 7
    act_bits         int64, 1, 2 or 4
    layers           int64, the number of layers with an activation, from the input on
    weight_0, ...    int8, (units, inputs), of such a layer
    act_step_0, ...  int32, (units,), of such a layer
    prototypes       int8, (classes, units), the last layer, without an activation
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehff.core import RAW_TYPES
from edgehff.errors import ModelFileError, RecipeError
from edgehff.model.encoding import Encoding
from edgehff.model.float_network import FloatNetwork
from edgehff.model.network import Network
from edgehff.spiking.targets.arrays import pack

FORMAT = 1
INPUT_BITS = 4
INPUT_TOP = 15
WEIGHT_TOPS = {2: 1, 4: 7}
"""The largest weight by its bits; the chip's weights of 1 bit are 0 and 1, which no layer here can use."""
ACT_BITS = (1, 2, 4)
MAX_POTENTIAL = (1 << 19) - 1
_ROWS = 4096
_AGAIN = "edgehff export --target akida again"


@dataclass(frozen=True, eq=False)
class AkidaNetwork:
    """A network in the chip's integers; fields as in the file.

    weights, act_steps: one a layer with an activation.
    """

    class_names: tuple[str, ...]
    weights: tuple[NDArray[np.int8], ...]
    act_steps: tuple[NDArray[np.int32], ...]
    prototypes: NDArray[np.int8]
    raw: str
    input_step: int
    input_scale: float | None = None
    weight_bits: int = 4
    act_bits: int = 4
    weights_crc32: str = ""

    @property
    def n_in(self) -> int:
        """Values of a raw sample."""
        return int(self.matrices[0].shape[1])

    @property
    def encoding(self) -> Encoding:
        """Which samples it takes."""
        return Encoding(raw=self.raw, shape=(self.n_in, 1), input_scale=self.input_scale)

    @property
    def matrices(self) -> tuple[NDArray[np.int8], ...]:
        """The weights of every layer, prototypes last."""
        return (*self.weights, self.prototypes)

    @property
    def bytes_of_weights(self) -> int:
        """As the chip packs them."""
        return sum(-(-matrix.size * self.weight_bits // 8) for matrix in self.matrices)

    def events(self, raw: NDArray[Any]) -> NDArray[np.uint8]:
        """What the chip is given, (n, n_in): 0 to 15.

        raw: samples as the model takes them, any shape of n_in values a sample.

        Raises:
            ShapeError: another dtype or shape.
            DataError: NaN or infinite values.
        """
        return events_of(self.encoding.quantize_raw(raw), self.input_step)

    def run(self, raw: NDArray[Any]) -> NDArray[np.int32]:
        """The last layer's potentials, (n, classes); the largest is the answer."""
        events = self.events(raw)
        out = np.empty((len(events), len(self.prototypes)), np.int32)
        for start in range(0, len(events), _ROWS):
            x = events[start : start + _ROWS]
            for weight, step in zip(self.weights, self.act_steps, strict=True):
                x = activations(potentials(weight, x), step, self.act_bits)
            out[start : start + _ROWS] = potentials(self.prototypes, x)
        return out

    def predict(self, raw: NDArray[Any]) -> NDArray[np.int64]:
        """The class of each sample."""
        answers: NDArray[np.int64] = self.run(raw).argmax(axis=1)
        return answers


def events_of(raw: NDArray[Any], step: int) -> NDArray[np.uint8]:
    """Raw integers as events of 4 bits."""
    near = (np.maximum(raw.astype(np.int32), 0) + step // 2) // step
    out: NDArray[np.uint8] = np.minimum(near, INPUT_TOP).astype(np.uint8)
    return out


def potentials(weight: NDArray[np.int8], events: NDArray[np.uint8]) -> NDArray[np.int32]:
    """(n, units). In float32, which holds every sum of up to 24 bits exactly."""
    out: NDArray[np.int32] = (events.astype(np.float32) @ weight.T.astype(np.float32)).astype(np.int32)
    return out


def activations(potential: NDArray[np.int32], step: NDArray[np.int32], bits: int) -> NDArray[np.uint8]:
    """Events of the next layer, (n, units)."""
    out: NDArray[np.uint8] = np.clip(-(-potential // step), 0, (1 << bits) - 1).astype(np.uint8)
    return out


def check(network: Network | FloatNetwork, weight_bits: int = 4, act_bits: int = 4) -> None:
    """RecipeError where a network has what the chip has not; names the layer and the number."""
    recipe, encoding = network.recipe, network.encoding
    if weight_bits not in WEIGHT_TOPS:
        raise RecipeError(f"layer 0: weights of {weight_bits} bits, Akida has 2 or 4", hint="take 4 bits")
    if act_bits not in ACT_BITS:
        raise RecipeError(f"layer 0: events of {act_bits} bits, Akida has 1, 2 or 4", hint="take 4 bits")
    if recipe.conv:
        raise RecipeError(
            f"layer 0: a convolution ({recipe.conv[0].text}), this target takes dense layers",
            hint="train with layers = [500, 500], and no [[conv]]",
        )
    given = {
        "center or standardize": encoding.offset is not None,
        "features": bool(encoding.features),
        "log": encoding.log,
        f"bias = {encoding.bias}": encoding.bias != 0,
    }
    for name, there in given.items():
        if there:
            raise RecipeError(
                f"layer 0: inputs are made by encoder.{name}, Akida's are raw values in {INPUT_BITS} bits",
                hint="[encoder] center = false, nothing else in that table, and train again",
            )
    if recipe.prototypes_per_class != 1:
        raise RecipeError(
            f"layer {len(network.layers) - 1}: {recipe.prototypes_per_class} prototypes a class, the last "
            "fully connected layer answers with 1",
            hint="prototypes_per_class = 1, and train again",
        )


def check_potentials(network: AkidaNetwork) -> None:
    """RecipeError where a sum can leave the chip's 20 bits, which would saturate."""
    top = INPUT_TOP
    for i, matrix in enumerate(network.matrices):
        largest = top * int(np.abs(matrix.astype(np.int64)).sum(axis=1).max())
        if largest > MAX_POTENTIAL:
            where = f"layer {i}" if i < len(network.weights) else f"layer {i - 1}: the prototypes"
            raise RecipeError(
                f"{where}: potentials reach {largest:,}, Akida's 20 bits hold {MAX_POTENTIAL:,}",
                hint="fewer inputs of that layer, and train again",
            )
        top = (1 << network.act_bits) - 1


def to_bytes(network: AkidaNetwork) -> bytes:
    """The file, see above; the same bytes for the same network."""
    parts: dict[str, Any] = {
        "format": FORMAT,
        "made_by": "edgehff",
        "weights_crc32": network.weights_crc32,
        "class_names": list(network.class_names),
        "raw": network.raw,
        "input_scale": float(network.input_scale or 0),
        "input_step": network.input_step,
        "input_bits": INPUT_BITS,
        "weight_bits": network.weight_bits,
        "act_bits": network.act_bits,
        "layers": len(network.weights),
        "prototypes": network.prototypes,
    }
    for i, (weight, step) in enumerate(zip(network.weights, network.act_steps, strict=True)):
        parts |= {f"weight_{i}": weight, f"act_step_{i}": step}
    return pack(parts)


def from_bytes(data: bytes) -> AkidaNetwork:
    """The network in a file's bytes. ModelFileError where it is no such file."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            found = {name: file[name] for name in file.files}
        if int(found["format"]) != FORMAT:
            raise ModelFileError(f"Akida file of format {int(found['format'])}, not {FORMAT}", hint=_AGAIN)
        count = range(int(found["layers"]))
        network = AkidaNetwork(
            class_names=tuple(str(name) for name in found["class_names"]),
            weights=tuple(found[f"weight_{i}"] for i in count),
            act_steps=tuple(found[f"act_step_{i}"] for i in count),
            prototypes=found["prototypes"],
            raw=str(found["raw"]),
            input_step=int(found["input_step"]),
            input_scale=float(found["input_scale"]) or None,
            weight_bits=int(found["weight_bits"]),
            act_bits=int(found["act_bits"]),
            weights_crc32=str(found["weights_crc32"]),
        )
    except (OSError, KeyError, TypeError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ModelFileError(f"not an Akida file of edgehff: {error}", hint=_AGAIN) from error
    if not _fits(network):
        raise ModelFileError("an Akida file whose arrays do not fit together", hint=_AGAIN)
    return network


def _fits(network: AkidaNetwork) -> bool:
    """Whether types, shapes and ranges are those of the file's table."""
    known = network.weight_bits in WEIGHT_TOPS and network.act_bits in ACT_BITS
    if not known or network.input_step < 1 or network.raw not in RAW_TYPES:
        return False
    top = WEIGHT_TOPS[network.weight_bits]
    for matrix in network.matrices:
        if matrix.dtype != np.int8 or matrix.ndim != 2 or not matrix.size:
            return False
        if matrix.min() < -top or matrix.max() > top:
            return False
    for weight, step in zip(network.weights, network.act_steps, strict=True):
        if step.dtype != np.int32 or step.shape != weight.shape[:1] or step.min() < 1:
            return False
    chained = all(b.shape[1] == a.shape[0] for a, b in pairwise(network.matrices))
    return chained and len(network.prototypes) == len(network.class_names)
