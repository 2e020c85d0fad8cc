"""Xylo networks as .npz files, and in the maker's simulator.

Arrays of a file, none of them pickled; names of a network's parts are those of Rockpool's Xylo specification:

    weights_in        int8 (n_in, n_hidden)        weight_shift_in     int
    weights_out       int8 (n_hidden, n_classes)   weight_shift_out    int
    threshold         int16 (n_hidden,)            threshold_out       int16 (n_classes,)
    dash_mem          uint8 (n_hidden,)            dash_mem_out        uint8 (n_classes,)
    dash_syn          uint8 (n_hidden,)            dash_syn_out        uint8 (n_classes,)
    steps, silent     int, of a sample, and without input after it
    variant           text, of xylo.VARIANTS
    class_names       text (n_classes,), in the order of the read-out neurons
    edgehff           text, JSON: SpikingNetwork.facts, how inputs are made
    samples           uint8 (n, steps, n_in), spikes of some test rows
    hidden            uint8 (n, steps + silent, n_hidden), what they make hidden neurons do
    membranes         int16 (n, steps + silent, n_classes), and the read-out's, after each step

There are no recurrent weights, biases or aliases. The encoder, from raw samples to spikes, stays in the
model.

The simulator is a folder with a Python environment (bin/python) and tools/simulators/xylo/chip.py, which
says what it reads and writes. Its package is never imported here.
"""

from __future__ import annotations

import io
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from edgehff.errors import MissingToolError, ModelFileError
from edgehff.model.spiking_network import SpikingNetwork
from edgehff.spiking.environment import TIMEOUT, call
from edgehff.spiking.targets.arrays import pack
from edgehff.spiking.targets.xylo import Trace, XyloNetwork, run

_INTEGERS = ("weight_shift_in", "weight_shift_out", "steps", "silent")
_ONE_VALUE = ("threshold", "threshold_out", "dash_mem", "dash_mem_out", "dash_syn", "dash_syn_out")


@dataclass(frozen=True)
class Agreement:
    """The maker's simulator beside `xylo.run`.

    slots: hidden spikes, read-out spikes and membranes of all samples and steps.  differing: of them.
    spikes: ours.  reason: why there is nothing to compare.
    """

    version: str = ""
    slots: int = 0
    spikes: int = 0
    differing: int = 0
    reason: str = ""

    @property
    def passed(self) -> bool:
        """Whether there were spikes, and nothing differed."""
        return not self.reason and self.differing == 0 and self.spikes > 0

    @property
    def told(self) -> str:
        """In a few words."""
        return self.reason or f"{self.differing:,} of {self.slots:,} slots differ"


def to_bytes(chip: XyloNetwork, model: SpikingNetwork, x: NDArray[np.int16]) -> bytes:
    """The bytes of a file.  x: inputs of the rows that it carries, (n, steps, n_in)."""
    found = run(chip, x)
    arrays = {
        **_parts(chip),
        "class_names": np.array(model.class_names),
        "edgehff": np.array(json.dumps(model.facts)),
        "samples": x.astype(np.uint8),
        "hidden": found.hidden,
        "membranes": found.membranes,
    }
    return pack(arrays)


def from_bytes(data: bytes) -> XyloNetwork:
    """The network of a file's bytes.

    Raises:
        ModelFileError: they are no network, or one whose neurons have thresholds or dashes of their own.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            parts: dict[str, NDArray[Any]] = {name: file[name] for name in file.files}
        one = {name: np.unique(parts[name]) for name in _ONE_VALUE}
        for name, values in one.items():
            if len(values) != 1:
                raise ValueError(f"{len(values)} values of {name}")
        return XyloNetwork(
            variant=str(parts["variant"]),
            weights_in=parts["weights_in"],
            weights_out=parts["weights_out"],
            shift_in=int(parts["weight_shift_in"]),
            shift_out=int(parts["weight_shift_out"]),
            steps=int(parts["steps"]),
            silent=int(parts["silent"]),
            **{name: int(values[0]) for name, values in one.items()},
        )
    except (OSError, EOFError, ValueError, KeyError, TypeError, BadZipFile) as error:
        raise ModelFileError(
            f"no Xylo network: {error}", hint="edgehff export --target xylo MODEL"
        ) from error


def compare(simulator: Path, data: bytes, x: NDArray[np.int16], timeout: float = TIMEOUT) -> Agreement:
    """Run a file's bytes on inputs (n, steps, n_in) in the simulator of a folder, and compare every slot.

    Raises:
        MissingToolError: there is none in the folder.
        ModelFileError: as from_bytes does.
    """
    if not (simulator / "chip.py").is_file():
        raise MissingToolError(f"no XyloSim in {simulator}", hint="python tools/simulators/install.py xylo")
    ours = run(from_bytes(data), x)
    with tempfile.TemporaryDirectory(prefix="edgehff-xylo-") as name:
        case = Path(name)
        (case / "network.npz").write_bytes(data)
        np.savez(case / "case.npz", x=x)
        reason = call(simulator, "chip.py", case, ("trace.npz",), "trace", timeout)
        if reason:
            return Agreement(reason=reason)
        with np.load(case / "trace.npz") as file:
            return _beside(ours, {name: file[name] for name in file.files})


def _beside(ours: Trace, theirs: dict[str, NDArray[Any]]) -> Agreement:
    slots, differing, version = 0, 0, str(theirs["version"])
    for name in ("hidden", "out", "membranes"):
        own: NDArray[Any] = getattr(ours, name)
        if theirs[name].shape != own.shape:
            reason = f"{name}: {theirs[name].shape}, ours {own.shape}"
            return Agreement(version, reason=reason)
        slots += own.size
        differing += int((theirs[name] != own).sum())
    spikes = int(ours.hidden.sum())
    reason = "" if spikes else "no neuron spikes: nothing was shown"
    return Agreement(version, slots, spikes, differing, reason)


def _parts(chip: XyloNetwork) -> dict[str, NDArray[np.generic]]:
    n_hidden, n_out = chip.weights_out.shape
    parts: dict[str, NDArray[np.generic]] = {
        "weights_in": chip.weights_in,
        "weights_out": chip.weights_out,
        "variant": np.array(chip.variant),
    }
    numbers = {"weight_shift_in": chip.shift_in, "weight_shift_out": chip.shift_out}
    for name in _INTEGERS:
        parts[name] = np.array(numbers[name] if name in numbers else getattr(chip, name))
    for name in _ONE_VALUE:
        kind = np.int16 if name.startswith("threshold") else np.uint8
        n = n_out if name.endswith("_out") else n_hidden
        parts[name] = np.full(n, getattr(chip, name), kind)
    return parts
