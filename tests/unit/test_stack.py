import re
from dataclasses import replace
from types import SimpleNamespace

import pytest

from edgehff.errors import CheckFailed
from firmware_bridge.boards import board
from firmware_bridge.callgraph import CallGraph, handlers
from firmware_bridge.elf import Instruction, Symbol
from firmware_bridge.instructions import Flow, Step, arm, avr, riscv
from firmware_bridge.stack import frames, stack_bound

LINE = re.compile(r"(?:0x)?([0-9a-f]+) <")


def line(text, address=0x100, width=2):
    mnemonic, _, operands = text.partition(" ")
    target = LINE.search(operands)
    return Instruction(address, address + width, mnemonic, operands, int(target[1], 16) if target else None)


class Image(SimpleNamespace):
    """An ELF file as the analysis sees it: "name:" begins a function, "name?" a label of assembly.

    A target is written as <name>. words: 32-bit words by address; where there is one at 0, a vector table.
    """

    def __init__(self, name, text, words=()):
        words, places, lines = dict(words), {}, []
        for part in map(str.strip, text.strip().splitlines()):
            if part[-1] in ":?":
                places[part[:-1]] = 0x1000 + 2 * len(lines)
            else:
                lines.append(part)
        ends = [*list(places.values())[1:], 0x1000 + 2 * len(lines)]
        symbols = [
            Symbol(label, start, end - start, "FUNC")
            if f"{label}:" in text
            else Symbol(label, start, 0, "NOTYPE")
            for (label, start), end in zip(places.items(), ends, strict=True)
        ]
        code = {}
        for at, part in enumerate(lines):
            shown = re.sub(r"<(\w+)>", lambda m: f"{places[m[1]]:x} <{m[1]}>", part)
            code[0x1000 + 2 * at] = line(shown, 0x1000 + 2 * at)
        super().__init__(
            board=board(name),
            code=code,
            places=places,
            symbols=(*([Symbol("vectors", 0, 16, "OBJECT")] if 0 in words else []), *symbols),
            functions={symbol.address: symbol for symbol in symbols},
            function=lambda wanted: next(s for s in symbols if s.name == wanted),
            words=lambda at, n: tuple(words[a] for a in range(at, at + 4 * n, 4) if a in words),
        )


@pytest.mark.parametrize(
    ("text", "step"),
    [
        ("push {r4, r5, lr}", Step(pushed=12)),
        ("pop {r4, r5}", Step(pushed=-8)),
        ("pop {r4, pc}", Step(Flow.RETURN)),
        ("popne {r4, pc}", Step(Flow.RETURN, conditional=True)),
        ("popne {r4, r5}", Step()),
        ("stmdb sp!, {r4, r5, r6, lr}", Step(pushed=16)),
        ("ldmia.w sp!, {r4, pc}", Step(Flow.RETURN)),
        ("str.w lr, [sp, #-4]!", Step(pushed=4)),
        ("strd r4, r5, [sp, #-16]!", Step(pushed=16)),
        ("ldr.w pc, [sp], #4", Step(Flow.RETURN)),
        ("ldr.w r4, [sp], #8", Step(pushed=-8)),
        ("ldr r4, [sp, #8]", Step()),
        ("vpush {d8-d9}", Step(pushed=16)),
        ("sub sp, #20", Step(pushed=20)),
        ("sub.w sp, sp, #264 @ 0x108", Step(pushed=264)),
        ("add sp, #20", Step(pushed=-20)),
        ("add sp, r3", Step(pushed=None)),
        ("mov sp, r7", Step(pushed=None)),
        ("add r7, sp, #0", Step()),
        ("bl 3ea4 <f>", Step(Flow.CALL)),
        ("blx r3", Step(Flow.INDIRECT)),
        ("bx lr", Step(Flow.RETURN)),
        ("bxeq lr", Step(Flow.RETURN, conditional=True)),
        ("bx r3", Step(Flow.INDIRECT)),
        ("b.n 10 <f>", Step(Flow.JUMP)),
        ("bls.w 10 <f>", Step(Flow.BRANCH)),
        ("cbz r0, 10 <f>", Step(Flow.BRANCH)),
        ("le lr, 10 <f>", Step(Flow.BRANCH)),
        ("tbh [pc, r1, lsl #1]", Step(Flow.SWITCH)),
        ("mov pc, r3", Step(Flow.SWITCH)),
        ("ldr.w pc, [r3, r2, lsl #2]", Step(Flow.SWITCH)),
        ("ldr.w pc, [r3]", Step(Flow.INDIRECT)),
        ("bics r0, r1", Step()),
    ],
)
def test_what_thumb_does(text, step):
    assert arm(line(text)) == step


@pytest.mark.parametrize(
    ("text", "step"),
    [
        ("add sp,sp,-48", Step(pushed=48)),
        ("addi sp,sp,48", Step(pushed=-48)),
        ("c.addi16sp sp,sp,-64", Step(pushed=64)),
        ("sub sp,sp,t0", Step(pushed=None)),
        ("add s0,sp,16", Step()),
        ("sw ra,12(sp)", Step()),
        ("jal 10 <f>", Step(Flow.CALL)),
        ("jalr -12(ra) # 10 <f>", Step(Flow.CALL)),
        ("jalr a5", Step(Flow.INDIRECT)),
        ("j 10 <f>", Step(Flow.JUMP)),
        ("jr 8(t1) # 10 <f>", Step(Flow.JUMP)),
        ("jr a5", Step(Flow.SWITCH)),
        ("ret", Step(Flow.RETURN)),
        ("bltu a5,a1,10 <f>", Step(Flow.BRANCH)),
    ],
)
def test_what_risc_v_does(text, step):
    assert riscv(line(text)) == step


@pytest.mark.parametrize(
    ("text", "step"),
    [
        ("push r28", Step(pushed=1)),
        ("pop r28", Step(pushed=-1)),
        ("call 0x10 ; 0x10 <f>", Step(Flow.CALL)),
        ("rjmp .+12 ; 0x10 <f>", Step(Flow.JUMP)),
        ("brne .-4 ; 0x10 <f>", Step(Flow.BRANCH)),
        ("break", Step()),
        ("sbrc r25, 7", Step(Flow.SKIP)),
        ("icall", Step(Flow.INDIRECT)),
        ("eijmp", Step(Flow.INDIRECT)),
        ("out 0x3d, r28", Step(pushed=None)),
        ("out 0x3b, r24", Step()),
        ("ret", Step(Flow.RETURN)),
    ],
)
def test_what_avr_does(text, step):
    assert avr(line(text)) == step


def test_frames_are_read_and_those_of_one_name_are_the_largest(tmp_path):
    (tmp_path / "a.su").write_text("a.c:1:5:reply\t40\tstatic\nC:\\b.c:7:1:main\t3\tdynamic,bounded\n")
    (tmp_path / "b.su").write_text("b.c:1:5:reply\t16\tstatic\n")
    assert frames(sorted(tmp_path.glob("*.su"))) == {"reply": 40, "main": 3}
    (tmp_path / "c.su").write_text("b.c:1:5:worse\t16\tdynamic\n")
    with pytest.raises(CheckFailed, match="worse has no fixed size"):
        frames(tmp_path.glob("*.su"))


CALLS = """
main:
    push {r4, lr}
    bl <first>
    bl <second>
first:
    bl <leaf>
    bx lr
second:
    pop {r4, lr}
    b.w <leaf>
leaf:
    bx lr
"""


def test_the_deepest_chain_counts_calls_whole_and_jumps_without_who_jumps():
    own = {"main": 8, "first": 16, "second": 100, "leaf": 90}
    found = stack_bound(Image("microbit", CALLS), own)
    assert found.chain == (("main", 8), ("first", 16), ("leaf", 90))
    assert (found.bytes, found.interrupt, found.floor) == (114, (), 0)
    own["second"] = 120
    assert stack_bound(Image("microbit", CALLS), own).chain == (("main", 8), ("second", 120))


def test_an_interrupt_comes_on_top_with_what_the_processor_pushes():
    text = CALLS + "uart_interrupt:\n bl <leaf>\nfault:\n b.n <fault>\n"
    image = Image("microbit", text)
    places = image.places
    tables = [
        (0, 0x20004000),
        (4, places["main"]),
        (8, places["fault"] | 1),
        (12, places["uart_interrupt"] | 1),
    ]
    image = Image("microbit", text, tables)
    assert handlers(image) == [places["uart_interrupt"], places["fault"]]
    own = {"main": 8, "first": 16, "second": 0, "leaf": 4, "uart_interrupt": 24, "fault": 0}
    found = stack_bound(image, own)
    assert found.interrupt == (("uart_interrupt", 24), ("leaf", 4))
    assert found.interrupt_bytes == 28 + 32 + 4
    assert found.bytes == 28 + 28 + 36


def test_what_start_leaves_unpainted_is_the_least():
    image = Image("microbit", "start:\n bl <main>\nmain:\n bx lr")
    assert stack_bound(image, {"start": 16, "main": 8}).bytes == 48
    assert stack_bound(image, {"start": 16, "main": 80}).bytes == 96


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("main:\n bl <a>\na:\n bl <b>\nb:\n bl <a>", "a calls b calls a: recursion"),
        ("main:\n bl <a>\na:\n b.n <b>\nb:\n b.n <a>", "recursion"),
        ("main:\n blx r3", "main goes through a pointer"),
        ("main:\n ldr.w pc, [r3]", "main goes through a pointer"),
        ("main:\n bl <asm>\nasm?\n mov sp, r4\n bx lr", "asm: nobody knows what mov sp, r4"),
        ("main:\n bl <asm>\nasm?\n push {r0}\n b.n <asm>", "asm has no bound"),
        ("main:\n bl <asm>\nasm?\n push {r0}", "asm has no bound"),
        ("main:\n bl <asm>\nasm?\n bx r3", "asm: nobody knows what bx r3"),
    ],
)
def test_what_has_no_bound(text, words):
    with pytest.raises(CheckFailed, match=re.escape(words)) as caught:
        stack_bound(Image("microbit", text), {"main": 8, "a": 8, "b": 8})
    assert caught.value.hint


def test_assembly_is_walked_along_every_path():
    text = """
    main:
        bl <asm>
    asm?
        push {r0, r1}
        cbz r0, <rest>
        push {r2, r3, r4}
        bl <leaf>
        pop {r2, r3, r4}
    rest?
        sub sp, #4
        popne {r4, pc}
        add sp, #4
        pop {r0, r1, pc}
    leaf:
        bx lr
    """
    image = Image("microbit", text)
    assert stack_bound(image, {"main": 8, "leaf": 40}).chain == (("main", 8), ("asm", 20), ("leaf", 40))
    assert stack_bound(image, {"main": 8, "leaf": 0}).bytes == 8 + 20


def test_avr_calls_push_three_bytes_or_two_and_skips_go_both_ways():
    text = """
    main:
        rcall .+0
        call <asm>
    asm?
        sbrc r25, 7
        ret
        push r28
        rjmp <tail>
    tail?
        push r29
        call <leaf>
        pop r29
        pop r28
        ret
    leaf:
        ret
    """
    mega = Image("mega2560", text)
    mega.code[0x1000] = line("rcall .+0 ; 0x1002 <main+0x2>", 0x1000)
    own = {"main": 6, "leaf": 3}
    assert stack_bound(mega, own).chain == (("main", 6), ("asm", 5), ("leaf", 3))
    mega.board = replace(mega.board, flash_bytes=32768)
    assert stack_bound(mega, own).bytes == 6 + 4 + 3


def test_a_table_is_jumped_through_with_the_frame_in_place():
    text = """
    main:
        jmp <__tablejump2__>
    __tablejump2__?
        push r0
        eijmp
    """
    assert stack_bound(Image("mega2560", text), {"main": 20}).bytes == 20 + 4


def test_a_switch_of_risc_v_has_a_table_inside_the_function():
    text = "main:\n add a5,a5,1244 # 9000\n sll a1,a1,0x2\n lw a5,0(a1)\n jr a5\n ret"
    inside = [(0x9000, 0x1002), (0x9004, 0x1008)]
    assert stack_bound(Image("sifive_e", text, inside), {"main": 16}).bytes == 16
    for tables in ([], [(0x9000, 0x1002), (0x9004, 0x2000)]):
        with pytest.raises(CheckFailed, match="through a pointer"):
            stack_bound(Image("sifive_e", text, tables), {"main": 16})
    with pytest.raises(CheckFailed, match="through a pointer"):
        stack_bound(Image("sifive_e", "main:\n jr a5"), {"main": 16})


def test_copies_that_the_compiler_makes_have_the_frame_of_the_function():
    image = Image("microbit", "main:\n bl <raw>\nraw:\n bx lr")
    at = image.places["raw"]
    for name, frame in (("raw.isra.0", 24), ("raw.part.1", 32), ("raw", 40)):
        image.functions[at] = Symbol(name, at, 2, "FUNC")
        own = {"main": 8, "raw": 40, "raw.isra": 24, "raw.part": 32}
        assert stack_bound(image, own).bytes == 8 + frame


def test_a_graph_says_what_is_reached_and_how_far_code_goes():
    image = Image("microbit", CALLS + "alone:\n bl <leaf>\nasm?\n push {r0}\n bx lr")
    graph, places = CallGraph(image), image.places
    assert graph.reached(places["main"]) == {places[name] for name in ("main", "first", "second", "leaf")}
    assert graph.reached(places["alone"]) == {places["alone"], places["leaf"]}
    assert graph.extent(places["asm"]) == 4
    assert [graph.is_call(i) for i, _ in graph.edges(places["second"])] == [False]
    assert graph.name(0x42) == "0x42"
