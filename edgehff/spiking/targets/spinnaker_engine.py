"""A file for SpiNNaker in sPyNNaker: does it map, and do the cores' own words and machine code spike alike?

The engine lives in a folder with a Python environment (bin/python) and a program, chip.py, that is called
with the folder of a case (network.npz, case.npz) and writes trace.npz and mapping.json there, see
tools/simulators/spinnaker/chip.py. sPyNNaker and the emulator of ARM are never imported here.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from edgehff.errors import CheckFailed, MissingToolError
from edgehff.spiking.environment import FOLDER, TIMEOUT, call
from edgehff.spiking.targets.spinnaker import from_bytes, run, sources_of
from edgehff.spiking.verify import Agreement, compare

HOME = FOLDER / "spinnaker"
INSTALL = "python tools/simulators/install.py spinnaker"
NUMBERS = ("version", "cores", "chips", "bytes", "words", "differing_words", "slower")


@dataclass(frozen=True)
class Outcome:
    """What the engine made of a file.

    agreement: the machine code's spikes beside the reference's, all layers.
    mapping: version; cores and chips of a board of 48 chips; bytes that they are loaded with; words of
    neurons and synapses, and differing_words, which are not the file's; slower, how many ms a step of 1 ms
    takes.
    """

    agreement: Agreement
    mapping: dict[str, Any]

    @property
    def passed(self) -> bool:
        """Whether no spike and no word differed."""
        return self.agreement.passed and self.mapping["differing_words"] == 0

    @property
    def told(self) -> str:
        """In one line."""
        m, spikes = self.mapping, self.agreement
        return (
            f"{m['cores']} cores on {m['chips']} of 48 chips, {m['bytes']:,} bytes;"
            f" {m['differing_words']} of {m['words']:,} words differ;"
            f" {spikes.reason or spikes.differing} of {spikes.slots:,} slots differ in its machine code"
        )


def compare_with(data: bytes, x: NDArray[np.int16], home: Path = HOME, timeout: float = TIMEOUT) -> Outcome:
    """Map the file, and run inputs x, (n, steps, n_in), in the engine and in the reference.

    Raises:
        MissingToolError: the engine is not installed.
        CheckFailed: it could not map the network, which its last line says, or gave no spikes.
    """
    if not (home / "bin/python").exists() or not (home / "chip.py").is_file():
        raise MissingToolError(f"no engine in {home}", hint=INSTALL)
    network = from_bytes(data)
    ours = run(network, x).spikes
    with tempfile.TemporaryDirectory(prefix="edgehff-spinnaker-") as name:
        case = Path(name)
        (case / "network.npz").write_bytes(data)
        np.savez(case / "case.npz", x=sources_of(network.planes, x))
        reason = call(home, "chip.py", case, ("trace.npz", "mapping.json"), "spikes", timeout)
        if reason:
            raise CheckFailed(f"sPyNNaker: {reason}", hint=f"fewer neurons or inputs, or {INSTALL}")
        try:
            with np.load(case / "trace.npz") as found:
                parts = {str(i): found[str(i)] for i in range(len(ours))}
            mapping = {name: json.loads((case / "mapping.json").read_text())[name] for name in NUMBERS}
        except (OSError, EOFError, ValueError, KeyError, TypeError, BadZipFile) as error:
            raise CheckFailed(f"sPyNNaker's files: {error!r}", hint=INSTALL) from error
    return Outcome(compare("sPyNNaker", parts, ours), mapping)
