"""Starting costs little: what `import edgehff` and `edgehff --help` load, and the processor time of help."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"torch", "rich", "pooch", "numpy", "matplotlib", "requests"}
EDGEHFF = Path(sys.executable).parent / "edgehff"


@pytest.mark.parametrize(
    "program",
    ["import edgehff", "import sys; from edgehff.cli.main import main; main(['--help'])"],
    ids=["import", "help"],
)
def test_nothing_heavy_is_loaded(program):
    listing = f"{program}\nimport sys; print('|'.join(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", listing], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stderr.splitlines()[-1].split("|")}
    assert "edgehff" in loaded
    assert loaded & HEAVY == set()


def test_help_takes_less_than_half_a_second_of_processor_time():
    """Processor time, not the clock's; the best of three, so that a busy machine does not matter."""
    spent = []
    for _ in range(3):
        child = subprocess.Popen([EDGEHFF, "--help"], stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        assert child.returncode == 0
        spent.append(usage.ru_utime + usage.ru_stime)
    assert min(spent) < 0.5
