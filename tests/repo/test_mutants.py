"""The vector program notices when the core is broken, and --require notices when a test was skipped."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.toolchain
def test_every_mutant_of_the_core_is_caught():
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    command = [sys.executable, ROOT / "tools" / "mutants.py"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    caught, survived, invalid = map(int, re.findall(r"\d+", done.stdout.splitlines()[-1]))
    assert caught >= 24
    assert (survived, invalid) == (0, 0)


TESTS = """
import pytest

@pytest.mark.toolchain
def test_one():
    pytest.skip("no such compiler")

def test_two():
    pytest.skip("another reason")
"""


@pytest.mark.parametrize(("options", "code", "summary"), [
    ([], 0, "2 skipped"),
    (["--require", "toolchain"], 1, "1 failed, 1 skipped"),
    (["--require", "toolchian"], 4, "no such marker"),
])  # fmt: skip
def test_required_tests_fail_where_they_would_be_skipped(tmp_path, options, code, summary):
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = toolchain: needs a compiler\n")
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path)
    (tmp_path / "test_skips.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    assert summary in done.stdout + done.stderr
