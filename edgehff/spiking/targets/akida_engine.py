"""A file for Akida in BrainChip's own engine: are its outputs those of the reference?

The engine lives in a folder with a Python environment (bin/python) and a program, chip.py, that is called
with the folder of a case (network.npz, inputs.npz) and writes outputs.npz and mapping.json there, see
tools/simulators/akida/chip.py. The package akida is never imported here.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehff.errors import CheckFailed, InputError, MissingToolError
from edgehff.spiking.environment import FOLDER, TIMEOUT, call
from edgehff.spiking.targets.akida import from_bytes

HOME = FOLDER / "akida"


@dataclass(frozen=True)
class Outcome:
    """What the engine's outputs are beside the reference's.

    outputs: how many.  differing: of the engine in software; a virtual chip does not run.  first: (sample,
    class) of the first of them.  mapping: what the virtual chip takes, where all layers fit on it.
    """

    version: str
    samples: int
    outputs: int
    differing: int
    first: tuple[int, int] | None
    mapping: dict[str, Any]

    @property
    def passed(self) -> bool:
        """Whether no output differed, and all layers are on the chip."""
        return self.differing == 0 and bool(self.mapping["on_chip"])


def compare(data: bytes, raw: NDArray[Any], home: Path = HOME, timeout: float = TIMEOUT) -> Outcome:
    """Run raw samples in the engine and in the reference.

    data: of a file for Akida.

    Raises:
        InputError: there are no samples.
        MissingToolError: the engine is not installed.
        CheckFailed: it gave no outputs, or outputs of another shape.
    """
    if not len(raw):
        raise InputError("no samples to run", hint="--first 100")
    if not (home / "bin/python").exists() or not (home / "chip.py").is_file():
        raise MissingToolError(
            f"no engine in {home}",
            hint="python tools/simulators/install.py akida (its licence is BrainChip's)",
        )
    network = from_bytes(data)
    ours = network.run(raw)
    with tempfile.TemporaryDirectory(prefix="edgehff-akida-") as name:
        case = Path(name)
        (case / "network.npz").write_bytes(data)
        np.savez(case / "inputs.npz", raw=network.encoding.quantize_raw(raw))
        reason = call(home, "chip.py", case, ("outputs.npz", "mapping.json"), "outputs", timeout)
        if reason:
            raise CheckFailed(
                f"Akida's engine: {reason}", hint="--first 100, or tools/simulators/install.py akida"
            )
        with np.load(case / "outputs.npz") as found:
            theirs, version = found["outputs"], str(found["version"])
        mapping = json.loads((case / "mapping.json").read_text())
    if theirs.shape != ours.shape:
        raise CheckFailed(
            f"Akida gave outputs of {theirs.shape}, ours are {ours.shape}",
            hint="python tools/simulators/install.py akida",
        )
    at = np.argwhere(theirs != ours)
    return Outcome(
        version=version,
        samples=len(ours),
        outputs=ours.size,
        differing=len(at),
        first=(int(at[0, 0]), int(at[0, 1])) if len(at) else None,
        mapping=mapping,
    )
