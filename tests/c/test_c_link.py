"""The link on a simulated board under several compilers and settings; its frames against Python's."""

import random
import re
import shutil
import subprocess

import pytest
from builds import ROOT, run
from cobs import cobs

from firmware_bridge import frame

SANITIZERS = "-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all"
COMPILERS = {
    "gcc-O3": ("gcc", "-O3"),
    "clang-O2": ("clang", "-O2"),
    "gcc-sanitizers": ("gcc", SANITIZERS),
}
BUILDS = COMPILERS | {
    "one-at-a-time": ("gcc", "-O1 -DEHFF_LINK_WINDOW=1 -DEHFF_LINK_RUNNER=0"),
    "sixteen-at-a-time": ("gcc", "-O1 -DEHFF_LINK_WINDOW=16"),
}


@pytest.fixture(scope="module")
def folder(configure):
    """folder(build name) is where that build of tests/c lies."""
    made = {}

    def build(name):
        if name not in made:
            made[name] = configure("tests/c", *BUILDS[name])
        return made[name]

    return build


def checks(program, at_least):
    """What a test program printed, after as many checks, all of which passed."""
    done = subprocess.run([program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    passed, failed = map(
        int, re.fullmatch(r"(\d+) passed, (\d+) failed", done.stdout.splitlines()[-1]).groups()
    )
    assert failed == 0
    assert passed > at_least
    return done.stdout


@pytest.mark.toolchain
@pytest.mark.parametrize("build", BUILDS)
def test_every_check_of_the_link_passes(folder, build):
    said = checks(folder(build) / "test_link", 300_000)
    cuts, bad = map(int, re.search(r"power cuts: (\d+), .* bad (\d+)\n", said).groups())
    assert cuts >= 4000
    assert bad == 0


@pytest.mark.toolchain
@pytest.mark.parametrize("build", COMPILERS)
def test_the_smallest_link_refuses_what_it_left_out_and_learns_the_same(folder, build):
    checks(folder(build) / "test_lean", 700)


@pytest.mark.toolchain
def test_a_window_that_would_lose_answers_is_refused():
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    for window, good in [(1, True), (2, True), (3, False), (4, True), (6, False), (16, True)]:
        includes = [f"-I{ROOT / 'firmware_bridge' / part / 'include'}" for part in ("core", "link")]
        source = ROOT / "firmware_bridge" / "link" / "src" / "link.c"
        command = ["gcc", "-fsyntax-only", f"-DEHFF_LINK_WINDOW={window}", *includes, source]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode == 0) == good, window
        assert good or "must divide 65,536" in done.stderr


@pytest.fixture(scope="module")
def frames(folder):
    """frames(letter, list of bytes): what the C makes of each, None where it is no frame."""

    def answers(letter, items):
        text = "".join(f"{letter}{item.hex()}\n" for item in items)
        lines = run(folder("gcc-sanitizers") / "frames", input=text).splitlines()
        assert len(lines) == len(items)
        return [None if line == "none" else bytes.fromhex(line) for line in lines]

    return answers


def payloads():
    """Runs about the lengths where a block of COBS ends, zeros beside and within them; and random ones."""
    r = random.Random(11)  # noqa: S311 (the same each time)
    lengths = [0, 1, 2, 3, *range(246, 262), *range(500, 516), *range(756, 768), 1016, 1020, 2000]
    for n in lengths:
        run_of = bytes(r.randrange(1, 256) for _ in range(n))
        yield from (
            run_of,
            b"\0" + run_of,
            run_of + b"\0",
            run_of + b"\0\0",
            b"\0\0" + run_of + b"\0" + run_of,
        )
        yield bytes(n)
        for at in {0, 1, n // 2, max(n - 2, 0), max(n - 1, 0)}:
            yield run_of[:at] + b"\0" + run_of[at + 1 :]
    for _ in range(2000):
        n, zeros = r.choice((r.randrange(12), r.randrange(600))), r.choice((0, 0.003, 0.03, 0.5, 1))
        yield bytes(0 if r.random() < zeros else r.randrange(1, 256) for _ in range(n))


@pytest.mark.toolchain
def test_c_and_python_encode_the_same_bytes(frames):
    items = list(payloads())
    assert len(items) > 2500
    assert frames("e", items) == [frame.encode(item) for item in items]


def decoded(encoded):
    """What Python's COBS makes of it."""
    try:
        return bytes(cobs.decode(encoded))
    except cobs.DecodeError:
        return None


def encodings():
    """Good frames, frames with a byte changed, lost or added, and rubbish; never a zero, which ends one."""
    r = random.Random(12)  # noqa: S311
    for payload in payloads():
        encoded = frame.encode(payload)[:-1]
        yield encoded
        for _ in range(3):
            broken, at = bytearray(encoded), r.randrange(len(encoded))
            kind = r.randrange(4)
            if kind == 0:
                broken[at] = r.randrange(1, 256)
            elif kind == 1:
                del broken[at]
            elif kind == 2:
                broken.insert(at, r.randrange(1, 256))
            else:
                del broken[at:]
            yield bytes(broken)
    for _ in range(3000):
        yield bytes(r.randrange(1, r.choice((4, 256))) for _ in range(r.randrange(1, 20)))
    for n in (1, 2, 254, 255):
        yield bytes([255]) + b"x" * (n - 1)
        yield bytes([255]) + b"x" * 254 + bytes([n]) + b"y" * (n - 1)


@pytest.mark.toolchain
def test_c_and_python_decode_the_same_bytes(frames):
    items = list(encodings())
    expected = [decoded(item) for item in items]
    assert frames("d", items) == expected
    assert expected.count(None) > 2000


@pytest.mark.toolchain
def test_the_board_takes_the_frames_that_python_takes(frames):
    """Those with a request's header; text and the ends of its lines are the runner's, and no frame."""
    items = [i for i in encodings() if 0 < len(i) <= 4096 and not re.match(rb"[\r\n]|[ -~]*%", i)]
    payloads_of = [frame.decode(item) for item in items]
    expected = [b"\1" if p is not None and len(p) >= 8 else b"\0" for p in payloads_of]
    assert frames("a", items) == expected
    assert 1500 < expected.count(b"\1") < len(items) - 1500
