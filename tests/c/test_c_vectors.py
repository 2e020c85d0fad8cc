"""The vector program under several compilers and the sanitizers: green, and the same bits from all."""

import re
import shutil
import subprocess

import pytest

SANITIZERS = "-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all"
BUILDS = {
    "gcc-O0": ("gcc", "-O0"),
    "gcc-O3": ("gcc", "-O3"),
    "clang-O2": ("clang", "-O2"),
    "gcc-small-machine": ("gcc", "-O2 -DEHFF_DIVIDES=0 -DEHFF_DOT_BY_COLUMNS=1"),
    "gcc-sanitizers": ("gcc", SANITIZERS),
    "arm64": ("aarch64-linux-gnu-gcc", "-O2 -static"),
}
EMULATORS = {"arm64": "qemu-aarch64-static"}


@pytest.fixture(scope="session")
def program(configure):
    """program(build name) is the output of the vector program, run once a build."""
    outputs = {}

    def output(name):
        if name not in outputs:
            emulator = [EMULATORS[name]] if name in EMULATORS else []
            if emulator and shutil.which(*emulator) is None:
                pytest.skip(f"{emulator[0]} is not installed")
            folder = configure("tests/c", *BUILDS[name])
            command = [*emulator, folder / "test_vectors"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            outputs[name] = (done.returncode, done.stdout, done.stderr)
        return outputs[name]

    return output


@pytest.mark.toolchain
@pytest.mark.parametrize("build", BUILDS)
def test_every_vector_and_check_passes(program, build):
    code, out, err = program(build)
    assert code == 0, out[-3000:] + err[-3000:]
    passed, failed = re.fullmatch(r"(\d+) passed, (\d+) failed", out.splitlines()[-1]).groups()
    assert int(failed) == 0
    assert int(passed) > 5000
    assert "\n0 skipped: larger than the buffers\n" in out


@pytest.mark.toolchain
@pytest.mark.parametrize("build", [b for b in BUILDS if b != "gcc-O0"])
def test_every_build_trains_to_the_same_bits(program, build):
    def nets(name):
        return [line for line in program(name)[1].splitlines() if line.startswith("net ")]

    assert len(nets("gcc-O0")) > 70
    assert sum(" conv-" in line for line in nets("gcc-O0")) > 30
    assert nets(build) == nets("gcc-O0")
