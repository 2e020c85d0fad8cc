"""The core compiled for small machines: no warning, heap, float, 64-bit division or writable data."""

import re
import shutil

import pytest
from builds import ROOT, run

CORE = ROOT / "firmware_bridge" / "core"

# Name: compiler, flags, and the only symbols that may be asked of others: moving bytes, shifts and products
# of 64 bits, divisions of at most 32 bits. No malloc, printf, float (__addsf3) or __udivdi3 is among them.
TARGETS = {
    "x86-64": ("gcc", "-O2", r"mem(cpy|set)|_GLOBAL_OFFSET_TABLE_"),
    "cortex-m0-small": ("arm-none-eabi-gcc", "-mcpu=cortex-m0 -mthumb -ffreestanding -Os",
                        r"__aeabi_(lmul|ll?sl|ll?sr|lasr|u?idiv(mod)?|memcpy4?)|__gnu_thumb1_case_\w+|mem(cpy|set)"),
    "cortex-m0-fast": ("arm-none-eabi-gcc", "-mcpu=cortex-m0 -mthumb -ffreestanding -O3",
                       r"__aeabi_(lmul|ll?sl|ll?sr|lasr|u?idiv(mod)?|memcpy4?)|__gnu_thumb1_case_\w+|mem(cpy|set)"),
    "rv32imac": ("riscv64-unknown-elf-gcc", "-march=rv32imac -mabi=ilp32 -misa-spec=2.2 -ffreestanding -Os",
                 r"__(ashl|ashr|lshr)di3|mem(cpy|set)"),
    "atmega2560": ("avr-gcc", "-mmcu=atmega2560 -ffreestanding -Os",
                   r"__(add|sub|mul|cmp|ashl|ashr|lshr)di[23](_s8)?|__\w*mul\w*[hs]i[34]|__u?mulsidi3|__u?divmod[hs]i4"
                   r"|__do_copy_data|__do_clear_bss|mem(cpy|set)"),
}  # fmt: skip

BARE = ("-DCMAKE_SYSTEM_NAME=Generic", "-DCMAKE_TRY_COMPILE_TARGET_TYPE=STATIC_LIBRARY")


@pytest.fixture(scope="session")
def archive(configure):
    """archive(target) is the core as CMake builds it, warnings being errors, and its binutils' prefix."""
    made = {}

    def build(name):
        if name not in made:
            compiler, flags, _ = TARGETS[name]
            folder = configure("firmware_bridge/core", compiler, flags, *(() if name == "x86-64" else BARE))
            made[name] = folder / "libehff_core.a", compiler[:-3]
        return made[name]

    return build


@pytest.mark.toolchain
@pytest.mark.parametrize("target", TARGETS)
def test_the_core_asks_for_integer_routines_only(archive, target):
    path, prefix = archive(target)
    undefined = {line.split()[-1] for line in run(f"{prefix}nm", path).splitlines() if " U " in line}
    foreign = {s for s in undefined if not s.startswith("ehff_") and not re.fullmatch(TARGETS[target][2], s)}
    assert foreign == set()
    assert "ehff_unit" in undefined  # the list was read


@pytest.mark.toolchain
@pytest.mark.parametrize("target", TARGETS)
def test_the_core_has_no_writable_data(archive, target):
    path, prefix = archive(target)
    symbols = run(f"{prefix}nm", path).splitlines()
    assert [s for s in symbols if re.search(r" [bBdDcCsS] ", s) and "__tmp_reg__" not in s] == []
    total = run(f"{prefix}size", "-t", path).splitlines()[-1].split()
    assert total[1:3] == ["0", "0"], "data, bss"
    assert 4000 < int(total[0]) < 60000


@pytest.mark.toolchain
def test_no_product_is_computed_in_16_bits():
    """On AVR int has 16 bits: a product of two int16 overflows there, silently, where none is int32 first."""
    if shutil.which("clang") is None:
        pytest.skip("clang is not installed")
    if "avr" not in run("clang", "--print-targets"):
        pytest.skip("this clang knows no AVR")
    flags = ["-std=c99", "-ffreestanding", "-O0", "-Werror", "-S", "-emit-llvm"]
    flags += [f"-I{CORE / 'include'}", f"-I{CORE / 'src'}"]
    for source in sorted((CORE / "src").glob("*.c")):
        code = run("clang", "--target=avr", "-mmcu=atmega2560", *flags, source, "-o", "-")
        assert re.findall(r"^.* = (?:mul nsw|shl) i16 .*$", code, re.MULTILINE) == [], source.name
        assert "define " in code


def test_the_core_includes_integer_headers_only():
    found = set()
    for path in [*(CORE / "src").iterdir(), *(CORE / "include").rglob("*.h")]:
        found |= set(re.findall(r"#include\s*([<\"][^>\"]+)", path.read_text()))
    own = {
        '"ehff/ehff.h',
        '"ehff/ehff_build.h',
        '"ehff/ehff_status.h',
        '"math.h',
        '"net.h',
        '"dot.h',
        '"step.h',
        '"blob.h',
    }
    assert found <= own | {"<stdint.h", "<stddef.h", "<limits.h"}
    assert "<stdint.h" in found


def test_no_floating_point_word_stands_in_the_core():
    for path in [*(CORE / "src").iterdir(), *(CORE / "include").rglob("*.h")]:
        code = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)
        assert re.findall(r"\b(float|double|malloc|calloc|free|printf|goto|alloca)\b", code) == [], path.name


def test_every_source_is_in_the_list():
    listed = re.findall(r"src/(\w+\.c)", (CORE / "CMakeLists.txt").read_text())
    assert sorted(listed) == sorted(p.name for p in (CORE / "src").glob("*.c"))
