"""The golden vectors are what the oracle says, and nothing but the oracle made them."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

PROGRAM = """
import pathlib, runpy, sys
sys.argv = sys.argv[1:]
sys.path.insert(0, str(pathlib.Path(sys.argv[0]).parent))
runpy.run_path(sys.argv[0], run_name="__main__")
assert "edgehff.fixedpoint" in sys.modules
assert not [m for m in sys.modules if m in ("edgehff._ffi", "edgehff.core", "_cffi_backend", "numpy")]
"""


def test_the_oracle_makes_the_same_bytes_again_without_the_c(tmp_path):
    subprocess.run([sys.executable, "-c", PROGRAM, ROOT / "tools" / "make_vectors.py", tmp_path], check=True)
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    kept = {path.name: path.read_bytes() for path in (ROOT / "tests" / "vectors").glob("*.json")}
    assert made.keys() == kept.keys()
    assert [name for name in made if made[name] != kept[name]] == []
