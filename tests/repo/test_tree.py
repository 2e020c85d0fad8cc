"""The tree as a whole: who imports whom, formats, lengths, versions, and nothing of anybody's machine."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import edgehff
from edgehff import core, fixedpoint, recipe

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
LONGEST = 500
LONGER: dict[str, str] = {}  # path: why it may be longer


@pytest.fixture(scope="module")
def tracked():
    """The files that git knows, or would take."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("this is no git checkout")
    files = [ROOT / name for name in done.stdout.split("\0") if name]
    return [path for path in files if path.is_file()]


def test_data_flows_one_way():
    done = subprocess.run([BIN / "lint-imports"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert " 0 broken" in done.stdout


def test_only_core_touches_the_compiled_c():
    pattern = re.compile(r"^\s*(from|import) \S*_ffi", re.MULTILINE)
    users = [p.name for p in (ROOT / "edgehff").rglob("*.py") if pattern.search(p.read_text())]
    assert users == ["core.py"]


def test_c_is_formatted():
    folders = ("firmware_bridge", "tests/c", "tests/fuzz")
    files = [p for folder in folders for p in sorted((ROOT / folder).rglob("*.[ch]"))]
    assert len(files) > 12
    command = [BIN / "clang-format", "--dry-run", "-Werror", *files]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:2000]


def test_no_path_of_a_machine(tracked):
    folders = "|".join(["home", "root", "tmp", "work", "Users", "farm", "mnt"])
    pattern = re.compile(rf"(?<![\w.~])/({folders})/[\w.-]".encode())
    found = [
        f"{path.relative_to(ROOT)}: {line[:100]!r}"
        for path in tracked
        for line in path.read_bytes().splitlines()
        if pattern.search(line)
    ]
    assert found == []
    assert pattern.search(b"see /" + b"home/somebody")


def test_no_file_grows_without_a_reason(tracked):
    lines = {
        str(path.relative_to(ROOT)): len(path.read_bytes().splitlines())
        for path in tracked
        if path.suffix in (".py", ".c", ".h", ".md", ".toml")
    }
    assert {name: n for name, n in lines.items() if n > LONGEST and name not in LONGER} == {}
    assert [name for name in LONGER if lines.get(name, 0) <= LONGEST] == []


def test_versions_agree():
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)[1]
    assert version == edgehff.__version__
    said = subprocess.run([BIN / "edgehff", "--version"], capture_output=True, text=True, check=True).stdout
    assert version in said.split()
    released = re.search(r"^## \[?(\d[\w.]*)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert released is None or released[1] == version


def test_limits_stand_in_python_as_in_c():
    """Constants that both sides write down."""
    header = (ROOT / "firmware_bridge/core/include/ehff/ehff.h").read_text()
    private = (ROOT / "firmware_bridge/core/src/net.h").read_text()
    constants = dict(re.findall(r"#define (EHFF_\w+) (\w+)", header + private))
    pairs = {
        "EHFF_ABI_VERSION": core.ABI_VERSION,
        "EHFF_MAX_DIM": core.MAX_DIM,
        "EHFF_MAX_CLASSES": core.MAX_CLASSES,
        "EHFF_GATE_OFF": recipe.GATE_OFF,
        "EHFF_MAX_KAPPA": recipe.kappa_of(64),
        "EHFF_MAX_LR_W": recipe.lr_w_of(16),
        "EHFF_MAX_LR_P": recipe.lr_p_of(0.5),
        "EHFF_W_RMS": fixedpoint.W_RMS,
        "EHFF_W8_LIMIT": fixedpoint.W_LIMIT["int8"],
        "EHFF_W16_LIMIT": fixedpoint.W_LIMIT["int16"],
        "EHFF_NORM_MAX": fixedpoint.NORM_MAX,
    }
    assert {name: int(constants[name].rstrip("u"), 0) for name in pairs} == pairs
