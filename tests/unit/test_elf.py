import subprocess

import pytest

from edgehff.errors import InputError, MissingToolError
from firmware_bridge import elf as module
from firmware_bridge.boards import board
from firmware_bridge.elf import Elf, Section, Symbol

READELF = {
    "-SW": """
  [Nr] Name              Type            Addr     Off    Size   ES Flg Lk Inf Al
  [ 0]                   NULL            00000000 000000 000000 00      0   0  0
  [ 1] .text             PROGBITS        00000000 010000 000040 00  AX  0   0  4
  [ 2] .ARM.exidx        ARM_EXIDX       00000040 010040 000008 00  AL  1   0  4
  [ 3] .data             PROGBITS        20000000 020000 000006 00  WA  0   0  4
  [ 4] .bss              NOBITS          20000008 020006 000021 00  WA  0   0  4
  [ 5] .debug_info       PROGBITS        00000000 020006 00f00d 00      0   0  1
  [12] .comment          PROGBITS        00000000 02f013 000026 01  MS  0   0  1
""",
    "-sW": """
   Num:    Value  Size Type    Bind   Vis      Ndx Name
     1: 00000000     0 SECTION LOCAL  DEFAULT    1
     2: 00000008     0 NOTYPE  LOCAL  DEFAULT    1 $t
     3: 00000000     8 OBJECT  GLOBAL DEFAULT    1 vectors
     4: 00000009     6 FUNC    GLOBAL DEFAULT    1 main
     5: 00000009     0 NOTYPE  LOCAL  DEFAULT    1 also_main
     6: 00000011     0 FUNC    GLOBAL HIDDEN     1 __helper
     7: 20000000     4 OBJECT  LOCAL  DEFAULT    3 table
     8: 20000008    32 OBJECT  LOCAL  DEFAULT    4 link
     9: 00000000     0 NOTYPE  GLOBAL DEFAULT  UND elsewhere
    10: 00000000     0 FILE    LOCAL  DEFAULT  ABS main.c
    11: 00010000 0x12000 OBJECT  LOCAL  DEFAULT    4 large
""",
}
OBJDUMP = """
00000000 <vectors>:
       0:\t.@. !>...
       4:\tbl\t10 <__helper>

00000008 <main>:
       8:\tpush\t{r3, lr}
       a:\tbl\t10 <__helper>
       e:\t.short\t0x0004

00000010 <__helper>:
      10:\tldr\tr0, [pc, #16]\t@ (14 <__helper+0x4>)
      12:\tbx\tlr
"""
DUMP = """
Contents of section .text:
 0000 00400020 093e0000 10b50000 00f001f8  .@. .>..........
 0010 70477047                             pGpG
"""


@pytest.fixture
def elf(monkeypatch, tmp_path):
    def tool(self, name, *arguments):
        if name == "readelf":
            return READELF[arguments[0]]
        return OBJDUMP if "-d" in arguments else DUMP

    monkeypatch.setattr(Elf, "_tool", tool)
    return Elf(board("microbit"), tmp_path / "firmware.elf")


def test_sections_are_those_that_are_there_at_run_time(elf):
    assert list(elf.sections) == [".text", ".ARM.exidx", ".data", ".bss"]
    assert elf.sections[".bss"] == Section(".bss", 0x20000008, 33, writable=True, stored=False)
    assert elf.ram_bytes == 6 + 33
    assert elf.flash_bytes == 64 + 8 + 6


def test_symbols_have_sizes_kinds_and_even_addresses(elf):
    names = {symbol.name: symbol for symbol in elf.symbols}
    assert names["main"] == Symbol("main", 8, 6, "FUNC")
    assert set(names) == {"vectors", "main", "also_main", "__helper", "table", "link", "large"}
    assert elf.size_of("link") == 32
    assert elf.size_of("large") == 0x12000
    assert elf.size_of("main") == elf.size_of("nothing") == 0
    assert [symbol.name for symbol in elf.data_symbols()] == ["table"]


def test_code_leaves_data_out_and_knows_targets(elf):
    assert list(elf.code) == [8, 10, 16, 18]
    assert (elf.code[10].mnemonic, elf.code[10].target, elf.code[10].after) == ("bl", 16, 14)
    assert (elf.code[8].target, elf.code[18].after) == (None, -1)


def test_functions_by_address_and_name(elf):
    assert {address: symbol.name for address, symbol in elf.functions.items()} == {8: "main", 16: "__helper"}
    assert elf.function("main").address == 8
    with pytest.raises(InputError, match="no function ehff_model_train"):
        elf.function("ehff_model_train")


def test_words_are_little_endian_and_end_with_the_section(elf):
    assert elf.words(0, 5) == (0x20004000, 0x00003E09, 0x0000B510, 0xF801F000, 0x47704770)
    assert elf.words(0x9000, 2) == ()


def test_a_missing_tool_names_the_package(monkeypatch, tmp_path):
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(MissingToolError, match="arm-none-eabi-readelf") as caught:
        _ = Elf(board("microbit"), tmp_path / "a.elf").sections
    assert caught.value.hint == "apt install gcc-arm-none-eabi"


def test_a_file_that_is_no_elf(monkeypatch, tmp_path):
    done = subprocess.CompletedProcess([], 1, "", "readelf: Error: Not an ELF file")
    monkeypatch.setattr(module.subprocess, "run", lambda *_, **__: done)
    monkeypatch.setattr("shutil.which", str)
    with pytest.raises(InputError, match=r"a\.elf is no firmware of microbit: .*Not an ELF"):
        _ = Elf(board("microbit"), tmp_path / "a.elf").symbols
