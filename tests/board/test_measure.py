"""The measured footprint: built as predicted, no stack deeper than its bound, counts that repeat."""

import json
import subprocess
import time
from shutil import which as shutil_which

import numpy as np
import pytest

from edgehff.cli.main import main
from edgehff.data.sources import load
from edgehff.errors import InputError
from edgehff.model.file import save
from edgehff.recipe import Recipe
from edgehff.train.local import trained
from firmware_bridge.boards import board, boards
from firmware_bridge.build import build, options_for
from firmware_bridge.client import Device
from firmware_bridge.counter import Counter
from firmware_bridge.elf import Elf
from firmware_bridge.emulator import EmulatorTransport
from firmware_bridge.measure import (
    PREDICT,
    TRAIN,
    Measurement,
    measure,
    predicted_ram,
    static_ram,
    train_profile,
)
from firmware_bridge.stack import frames, stack_bound
from firmware_bridge.workload import make_every_text_command, samples_of

EMULATED = [name for name, known in boards().items() if known.toolchain]
STEPS, PREDICTIONS = 12, 4

pytestmark = [pytest.mark.qemu, pytest.mark.toolchain]


@pytest.fixture(scope="session")
def digits():
    whole = load("digits")
    rows = whole.rows(np.flatnonzero(~whole.is_test)[:300])
    return whole, trained(Recipe(layers=(12, 8), arith="int8", data="digits", epochs=1), rows)


@pytest.fixture(scope="session")
def measured(digits):
    """measured(name) is the board's Measurement, made once."""
    made: dict[str, Measurement] = {}

    def of(name):
        if name not in made:
            data, network = digits
            made[name] = measure(board(name), network, data, steps=STEPS, predictions=PREDICTIONS)
        return made[name]

    return of


@pytest.mark.parametrize("name", EMULATED)
def test_static_ram_is_what_was_predicted(measured, name):
    found = measured(name)
    assert found.constants_in_ram == ()
    assert found.static == found.predicted


@pytest.mark.parametrize("name", EMULATED)
@pytest.mark.parametrize(
    "change", [{"window": 8, "runner": False}, {"window": 2, "arena_bytes": 3001, "ring_bytes": 512}]
)
def test_static_ram_is_predicted_for_other_options(digits, tmp_path, name, change):
    known = board(name)
    options = options_for(known, digits[1], **change)
    found = static_ram(Elf(known, build(known, options, tmp_path / "firmware.elf")))
    wanted = predicted_ram(known, options)
    assert {part: found[part] for part in found if part != "port"} == {
        part: wanted[part] for part in wanted if part != "port"
    }


@pytest.mark.parametrize("name", EMULATED)
def test_no_stack_goes_deeper_than_its_bound(measured, name):
    found = measured(name)
    assert found.bound is not None
    # the deepest chain is that of SAVE, which goes to its end only where there are slots
    assert found.painted <= found.bound.bytes <= 1.4 * found.painted
    assert found.bound.chain[0][0] in ("start", "main")
    assert (found.bound.interrupt_bytes > 32) == board(name).ring
    assert found.ram["stack"] == found.bound.bytes


@pytest.mark.parametrize("name", EMULATED)
@pytest.mark.parametrize("optimize", ["size", "speed"])
def test_every_build_has_a_bound(digits, tmp_path, name, optimize):
    known = board(name)
    path = build(known, options_for(known, digits[1], optimize=optimize), tmp_path / "firmware.elf")
    assert 300 < stack_bound(Elf(known, path), frames(tmp_path.glob("*.su"))).bytes < 2000


@pytest.mark.parametrize("name", EMULATED)
def test_steps_and_predictions_are_counted(measured, name):
    found = measured(name)
    assert [len(n.calls) for n in (found.train, found.learn, found.predict)] == [STEPS, STEPS, PREDICTIONS]
    assert 3000 < found.predict.mean < found.learn.mean < found.learn.largest < 3_000_000
    assert found.train.calls[0] <= found.learn.calls[0]
    assert found.flash["factory_model"] > 1000
    assert found.flash["program"] > 5000


@pytest.mark.parametrize("name", EMULATED)
def test_the_same_samples_take_the_same_instructions_again(digits, tmp_path, name):
    data, network = digits
    known = board(name)
    elf = Elf(known, build(known, options_for(known, network), tmp_path / "firmware.elf"))
    pairs, _ = samples_of(network, data, STEPS, 1)

    def counted(**how):
        counter = Counter(elf, (TRAIN, PREDICT), tmp_path, **how)
        with Device(EmulatorTransport(known, elf.path, counter.arguments)) as device:
            device.connect(20)
            for one_by_one in (False, True):
                for chunk in [[pair] for pair in pairs] if one_by_one else [pairs]:
                    assert len(list(device.train(chunk))) == len(chunk)
            assert len(list(device.predict([raw for raw, _ in pairs]))) == STEPS
        return counter.calls(TRAIN), counter.calls(PREDICT)

    first = counted()
    assert [len(calls) for calls in first] == [2 * STEPS, STEPS]
    assert counted() == first
    assert counted(inline=False) == first  # as newer emulators count


def test_a_profile_adds_up(digits):
    data, network = digits
    found = measure(board("microbit"), network, data, steps=STEPS, predictions=PREDICTIONS, profile=True)
    profile = {line.name: line for line in found.profile}
    counted = [n for part in (found.train, found.learn, found.predict) for n in part.calls]
    # every request there is means one more of each
    assert profile[TRAIN].calls == 2 * STEPS + 1
    assert profile[PREDICT].calls == PREDICTIONS + 1
    whole = profile[TRAIN].inclusive + profile[PREDICT].inclusive
    assert sum(counted) < whole < sum(counted) + 2 * max(counted)
    assert 0.95 * whole < sum(line.exclusive for line in found.profile) <= whole
    assert all(0 < line.exclusive <= line.inclusive for line in found.profile)


@pytest.mark.parametrize("name", ["mps2-an386", "mega2560"])
def test_every_text_command_is_understood(digits, tmp_path, name):
    data, network = digits
    known = board(name)
    path = build(known, options_for(known, network), tmp_path / "firmware.elf")
    ((raw, _),), _ = samples_of(network, data, 1, 1)
    with Device(EmulatorTransport(known, path)) as device:
        device.connect(20)
        said = make_every_text_command(device, raw.tobytes())
    for words in ("m-name-dut-[", "m-load-done", "m-results-["):
        assert words in said
    assert "\ne-[" not in said


@pytest.mark.parametrize("name", EMULATED)
def test_what_an_interrupt_executes_is_not_counted(digits, tmp_path, name):
    known = board(name)
    elf = Elf(known, build(known, options_for(known, digits[1]), tmp_path / "firmware.elf"))
    Counter(elf, (TRAIN,), tmp_path)
    lines = [line.split() for line in (tmp_path / "symbols.txt").read_text().splitlines()]
    kinds = {words[3]: words[2] for words in lines}
    assert kinds[TRAIN] == "c"
    assert (kinds.get("uart_interrupt") == "x") == known.ring
    assert "ehff_crc32" not in kinds
    with pytest.raises(InputError, match="no function nothing"):
        Counter(elf, ("nothing",), tmp_path)


ARM = """
    .syntax unified
    .section .vectors, "a"
    .word 0x20004000, main
    .text
    .thumb_func
    .global main
    .type main, %function
main: bl through
1:  b 1b
    .size main, . - main
    .type through, %function
    .thumb_func
through: b counted
    .size through, . - through
    .type counted, %function
    .thumb_func
counted: movs r0, #10
2:  subs r0, #1
    bne 2b
    bx lr
    .size counted, . - counted
"""
AVR = """
    .global main
    .type main, @function
main: call counted
1:  rjmp 1b
    .size main, . - main
    .type counted, @function
counted: ldi r24, 10
2:  sbrs r24, 0
    nop
    dec r24
    brne 2b
    ret
    .size counted, . - counted
"""
# ten rounds: on ARM of 2 instructions; on AVR of 4, as QEMU counts one that is skipped
KNOWN = {"mps2-an386": (ARM, 1 + 10 * 2 + 1), "mega2560": (AVR, 1 + 10 * 4 + 1)}


@pytest.mark.parametrize("name", KNOWN)
def test_a_loop_of_known_length_is_counted_to_the_instruction(tmp_path, name):
    known, (text, wanted) = board(name), KNOWN[name]
    source, path = tmp_path / "loop.s", tmp_path / "loop.elf"
    source.write_text(text)
    extra = ["-nostdlib", "-Ttext=0x100", "-Wl,--section-start=.vectors=0"] if known.script else []
    subprocess.run([known.compiler, *known.flags, *extra, str(source), "-o", str(path)], check=True)
    counter = Counter(Elf(known, path), ("counted",), tmp_path)
    transport = EmulatorTransport(known, path, counter.arguments)
    transport.open()
    try:
        until = time.monotonic() + 20
        while not counter.calls("counted") and time.monotonic() < until:
            time.sleep(0.02)
    finally:
        transport.close()
    assert counter.calls("counted") == (wanted,)


def test_a_whole_training_counts_every_step_and_learns_what_the_host_learns(digits):
    data, network = digits
    rows = data.rows(np.arange(90))
    found, learned = train_profile(board("mps2-an386"), network, rows, 2)
    host = trained(network.recipe.replace(epochs=2), rows)
    assert len(found.calls) == 180
    assert learned.step == 180
    host_net = host.to_core()
    same_encoder = np.array_equal(host.encode(rows.x), network.encode(rows.x))
    assert not same_encoder or learned.weights_crc32 == host_net.weights_crc32
    assert same_encoder


@pytest.fixture
def model(digits, tmp_path):
    path = tmp_path / "digits.safetensors"
    save(digits[1], path)
    return path


def run(capsys, *arguments):
    code = main(["footprint", *map(str, arguments)])
    caught = capsys.readouterr()
    return code, caught.out, caught.err


def test_the_command_prints_one_document(capsys, model):
    code, out, _ = run(capsys, model, "--board", "sifive_e", "--measured", "--json")
    document = json.loads(out)
    assert code == 0
    assert document["format"] == "edgehff.footprint/1"
    assert (document["board"], document["data"], document["passed"]) == ("sifive_e", "digits", True)
    assert document["stack_bytes"] == document["measured"]["stack"]["bound_bytes"]
    assert document["ram_bytes"] == document["measured"]["static_bytes"] + document["stack_bytes"]
    assert document["measured"]["ram"] == document["predicted"]["ram"]
    assert document["flash_bytes"] == sum(document["measured"]["flash"].values())
    assert document["train_instructions"]["calls"] == 200
    assert document["predict_instructions"]["calls"] == 50
    assert document["learn_instructions"]["largest"] >= document["learn_instructions"]["mean"]
    assert "-mabi=ilp32" in document["flags"]
    assert document["budgets"] == {"ram_bytes": 16384, "flash_bytes": 12582912}


def test_tables_and_a_budget_that_only_the_stack_exceeds(capsys, model):
    arguments = [model, "--board", "mega2560", "--measured"]
    document = json.loads(run(capsys, *arguments, "--json")[1])
    budget = document["ram_bytes"] - 1
    assert document["measured"]["static_bytes"] < budget
    code, out, err = run(capsys, *arguments, "--profile", "--budget-ram", budget)
    assert code == 7
    assert f"bytes are 1 over the budget of {budget:,}" in err
    for words in ("RAM on mega2560", "stack: a bound", "training step", "by function", "-mmcu=", "main 3 >"):
        assert words in out
    code, out, _ = run(capsys, *arguments, "--budget-ram", budget + 1, "--markdown")
    assert code == 0
    assert f"| together | - | {budget + 1:,} |" in out


def test_a_process_of_this_machine_has_no_instructions(capsys, model):
    code, out, _ = run(capsys, model, "--board", "host_pty", "--measured", "--json")
    document = json.loads(out)
    assert code == 0
    for key in ("train_instructions", "predict_instructions", "learn_instructions", "stack_bytes"):
        assert document[key] is None
    predicted, found = document["predicted"]["ram"], document["measured"]["ram"]
    for part in ("arena", "frame", "ring", "link"):
        assert predicted[part] == found[part]
    code, out, _ = run(capsys, model, "--board", "host_pty", "--measured")
    assert "no stack and no instructions are measured" in out


@pytest.mark.parametrize(("missing", "package"), [("qemu-system-arm", "qemu-system-arm"), ("gcc", "gcc")])
def test_a_missing_tool_ends_with_4(capsys, model, monkeypatch, missing, package):
    monkeypatch.setattr("shutil.which", lambda name: None if name == missing else shutil_which(name))
    code, out, err = run(capsys, model, "--board", "microbit", "--measured")
    assert (code, out) == (4, "")
    assert f"{missing} is not installed" in err
    assert f"apt install {package}" in err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--measured"], 2, "--measured needs --board"),
        (["--measured", "--board", "microbit", "--layers", "9"], 2, "--measured needs --board and a MODEL"),
        (["--board", "host_pty"], 2, "host_pty goes with --measured"),
        (["--board", "microbit", "--profile"], 2, "--profile goes with --measured"),
        (["--board", "microbit", "--data", "digits"], 2, "--data goes with --measured"),
        (["--board", "uno", "--measured"], 3, "there is no firmware for uno"),
        (["--board", "microbit", "--measured", "--data", "emg-gestures"], 3, "classes"),
    ],
)
def test_wrong_usage(capsys, model, arguments, code, words):
    found, out, err = run(capsys, model, *arguments)
    assert (found, out) == (code, "")
    assert words in err


def test_the_frames_of_a_build_lie_beside_it(digits, tmp_path):
    path = build(board("microbit"), options_for(board("microbit"), digits[1]), tmp_path / "firmware.elf")
    assert path == tmp_path / "firmware.elf"
    assert frames(tmp_path.glob("*.su"))["ehff_model_train"] > 0
