"""Programs in Python environments of their own: other groups' simulators and chips' engines.

A folder has bin/python and a program, which is called with the folder of a case. Nothing of such an
environment is ever imported here.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

FOLDER = Path("build/simulators")
"""Where tools/simulators/install.py makes them, from the folder of the repository."""
SIMULATORS = {
    "brian2": "Brian2",
    "lava": "Lava, models of Loihi 2",
    "nest": "NEST",
    "neurobench": "NeuroBench, synaptic operations",
    "norse": "Norse",
    "sinabs": "Sinabs",
    "spikingjelly": "SpikingJelly",
}
"""What runs networks for `edgehff spike verify`: its folder, and its name."""
ENGINES = {"akida": "BrainChip's engine", "spinnaker": "sPyNNaker, its machine code", "xylo": "XyloSim"}
"""Chips' engines: a folder, and a name."""
TIMEOUT = 3600.0
"""Seconds that a program may take."""


def call(home: Path, program: str, case: Path, wanted: tuple[str, ...], what: str, timeout: float) -> str:
    """Run home/program on the case; returns why it failed, or nothing.

    wanted: files that it has to write into the case, patterns of Path.glob.  what: their name in the reason.
    """
    command = [str((home / "bin/python").absolute()), str((home / program).absolute()), str(case)]
    try:
        done = subprocess.run(  # noqa: S603 (a program of the user's own folder, no shell)
            command, capture_output=True, text=True, timeout=timeout, check=False, cwd=case
        )
    except subprocess.TimeoutExpired:
        return f"no answer in {timeout:g} s"
    except OSError as error:
        return f"{command[0]}: {error.strerror}"
    if done.returncode or not all(any(case.glob(pattern)) for pattern in wanted):
        last = (done.stderr.strip() or f"wrote no {what}").splitlines()[-1]
        return f"exit code {done.returncode}: {last[:200]}"
    return ""
