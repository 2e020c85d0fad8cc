"""Builds of the C core and of the vector program, each made once a session."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(*command, **options):
    """The output of a command that must succeed."""
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout[-6000:]}{done.stderr[-6000:]}"
    return done.stdout


@pytest.fixture(scope="session")
def configure(tmp_path_factory):
    """configure(source, compiler, flags, *settings) builds a folder with CMake and returns where."""

    def build(source, compiler, flags, *settings):
        if shutil.which(compiler) is None:
            pytest.skip(f"{compiler} is not installed")
        folder = tmp_path_factory.mktemp("build")
        run("cmake", "-S", ROOT / source, "-B", folder, f"-DCMAKE_C_COMPILER={compiler}",
            f"-DCMAKE_C_FLAGS={flags}", f"-DPython_EXECUTABLE={sys.executable}", *settings)  # fmt: skip
        run("cmake", "--build", folder)
        return folder

    return build
