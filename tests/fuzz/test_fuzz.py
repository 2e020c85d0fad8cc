"""The kept inputs of the fuzz targets, again: with gcc's sanitizers, without libFuzzer."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import fuzz  # noqa: E402 (a tool, not a package)


@pytest.mark.toolchain
@pytest.mark.parametrize("target", fuzz.TARGETS)
def test_kept_inputs_do_no_harm(tmp_path, target):
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    program = tmp_path / target
    fuzz.build(target, program)
    done = subprocess.run([program, fuzz.kept(target)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    n = len(fuzz.unpack(fuzz.kept(target).read_bytes()))
    assert done.stdout == f"{n} inputs\n"
    assert n > 20


def test_the_kept_inputs_are_small():
    files = list(fuzz.CORPUS.iterdir())
    assert sorted(p.stem for p in files) == sorted(fuzz.TARGETS)
    assert sum(p.stat().st_size for p in files) < 300_000
    for path in files:
        inputs = fuzz.unpack(path.read_bytes())
        assert fuzz.pack(inputs) == path.read_bytes()
        assert max(map(len, inputs)) <= fuzz.LONGEST
