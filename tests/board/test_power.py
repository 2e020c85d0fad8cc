"""Power that fails in a save: the board starts with the old state or the new one, whole."""

import random
import shutil
import subprocess
import time

import pytest
from machine import Machine
from proxy import Faulty
from test_boards import saves_and_goes_back

from firmware_bridge import frame, protocol, recovery
from firmware_bridge.client import Device
from firmware_bridge.emulator import ProcessTransport
from firmware_bridge.line import Line
from firmware_bridge.protocol import Has, Op, Which

SLOTS, BYTES = 0x38000, 0x8000
FUNCTIONS = ("ehff_port_slot_erase", "ehff_port_slot_write")
CALLS = 93
"""Of these in a save of 1,440 bytes: one erase, the head, 90 times 16 bytes, the closing words."""
ERASE_STEPS, WRITE_STEPS = 220, 45
"""Instructions into an erase and into a write that a cut may come after; more than each has."""


def cuts():
    """(hits of erase and write together, single steps after that): 61 places in a save."""
    chance = random.Random(1)  # noqa: S311
    erase = [(1, chance.randrange(ERASE_STEPS)) for _ in range(9)]
    writes = [(n, chance.randrange(WRITE_STEPS)) for n in range(2, 92, 2)]
    end = [(CALLS, steps) for steps in range(0, WRITE_STEPS, 9)]
    return [(1, 0), *erase, *writes, *end, (CALLS + 1, 0)]


@pytest.fixture(scope="module")
def microbit(firmware):
    """Its firmware, and where the flash functions are."""
    elf = firmware("microbit")
    if shutil.which("arm-none-eabi-nm") is None:
        pytest.skip("arm-none-eabi-nm is not installed")
    names = subprocess.run(["arm-none-eabi-nm", elf], check=True, capture_output=True, text=True).stdout
    at = {line.split()[2]: int(line.split()[0], 16) for line in names.splitlines()}
    return elf, [at[name] & ~1 for name in FUNCTIONS]


def contents(machine):
    """The slots of a machine that stands still."""
    return machine.gdb.memory(SLOTS, BYTES)


def stopped(machine):
    machine.gdb.interrupt()
    return contents(machine)


@pytest.fixture(scope="module")
def two_saves(microbit, data):
    """The slots after two saves, and the states of the first, of the second, and three samples later."""
    host, pairs = data.host(), data.pairs(9)
    states = []
    with Machine("microbit", microbit[0], gdb=True) as machine:
        machine.gdb.send("c")
        with Device(machine.transport(), patience=20) as device:
            device.connect(30)
            for n in (0, 3):
                assert list(device.train(pairs[n : n + 3])) == host.train(pairs[n : n + 3])
                states.append(host.crc)
                assert device.save() == len(states)
            memory = stopped(machine)
    host.train(pairs[6:])
    return memory, [*states, host.crc]


def cut_a_save(microbit, memory, pairs, hits, steps):
    """The slots where power fails at this place of a save."""
    elf, functions = microbit
    with Machine("microbit", elf, flash=memory and {SLOTS: memory}, gdb=True) as machine:
        machine.gdb.break_at(*functions)
        machine.gdb.send("c")
        with Device(machine.transport(), patience=20) as device:
            device.connect(30)
            list(device.train(pairs))
            line = device.line
            line.transport.write(frame.encode(protocol.request(Op.SAVE, line._sequence + 1, line.session)), 5)
            for n in range(min(hits, CALLS)):
                if n:
                    machine.gdb.go_on()
                assert machine.gdb.answer().startswith("T05")
            for _ in range(steps):
                machine.gdb.step()
            if hits <= CALLS:
                return contents(machine)
            while line.transport.read(0.2):  # an older request may have been sent, and answered, twice
                pass
            machine.gdb.go_on()
            assert line.transport.read(30)  # the answer: it has saved
            return stopped(machine)


def starts_with(elf, memory, which=None):
    """weights and state that a board with these slots starts with, or loads."""
    with (
        Machine("microbit", elf, flash={SLOTS: memory}) as machine,
        Device(machine.transport(), patience=20) as device,
    ):
        hello = device.connect(30)
        if which is not None:
            device.load(which)
        return hello.has, device.crc()


@pytest.mark.qemu
def test_a_cut_anywhere_in_a_save_leaves_a_whole_state(microbit, two_saves, data):
    memory, (_, second, third) = two_saves
    found = {}
    for hits, steps in cuts():
        slots = cut_a_save(microbit, memory, data.pairs(3, start=6), hits, steps)
        has, found[hits, steps] = starts_with(microbit[0], slots)
        assert Has.SAVED in has
        assert found[hits, steps] in (second, third), (hits, steps)
    assert len(found) >= 50
    states = list(found.values())
    assert states.count(second) >= 50
    assert states[-1] == third  # the save that was not cut
    assert states == sorted(states, key=lambda state: state == third)  # old up to a place, new behind it


test_a_cut_anywhere_in_a_save_leaves_a_whole_state.limit_s = 600


@pytest.mark.qemu
@pytest.mark.parametrize(("hits", "steps"), [(1, 100), (2, 10), (50, 20), (93, 12)])
def test_a_cut_in_the_first_save_leaves_the_factorys_model(hits, steps, microbit, data):
    """An emulated flash starts with zeros, a real one with ones: both are empty."""
    for memory in (None, b"\xff" * BYTES):
        slots = cut_a_save(microbit, memory, data.pairs(2), hits, steps)
        has, state = starts_with(microbit[0], slots)
        assert Has.SAVED not in has
        assert state == data.host().crc


@pytest.mark.qemu
def test_saves_survive_a_power_cycle(microbit, data):
    with Machine("microbit", microbit[0], gdb=True) as machine:
        machine.gdb.send("c")
        second = saves_and_goes_back(machine.transport, data)
        memory = stopped(machine)
    assert starts_with(microbit[0], memory) == (Has.MODEL | Has.STORAGE | Has.FACTORY | Has.SAVED, second)
    assert starts_with(microbit[0], memory, Which.BEFORE)[1] == second  # saved twice
    assert starts_with(microbit[0], memory, Which.FACTORY)[1] == data.host().crc


@pytest.mark.qemu
def test_resets_while_saving(microbit, data, monkeypatch):
    """Each save is there once, whatever came in between; the state is the host's at the end.

    On a slow machine most resets may fall into one recovery, which would give up after twelve.
    """
    monkeypatch.setattr(recovery, "MAX_RESTORES", 100)
    host, pairs = data.host(), data.pairs(40)
    with Machine("microbit", microbit[0]) as machine:
        line = Faulty(machine.transport(), 5, rate=0, breaks=0.03, most_breaks=30, on_break=(machine.reset,))
        with Device(line, patience=20, deadline=200) as device:
            device.connect(30)
            line.is_armed = True
            for n, pair in enumerate(pairs, start=1):
                assert list(device.train([pair])) == host.train([pair])
                assert device.save() == n
            assert device.crc() == host.crc
            assert device.load() == len(pairs)
            assert device.crc() == host.crc
            assert line.counts["broken"] == 30
            assert device.line.counts.restored >= 5  # a reset may come while another one is recovered from


def test_a_process_killed_while_saving(firmware, data, tmp_path):
    host, chance = data.host(), random.Random(3)  # noqa: S311
    transport = ProcessTransport(firmware("host_pty"), tmp_path / "flash")
    kept = new = 0
    with Device(transport) as device:
        for n in range(60):
            device.connect(10)
            assert device.crc() == host.crc
            before = host.net.copy()
            list(device.train(data.pairs(2, start=n)))
            host.train(data.pairs(2, start=n))
            line = device.line
            transport.write(frame.encode(protocol.request(Op.SAVE, line._sequence + 1, line.session)), 5)
            until = time.perf_counter() + chance.random() * 2e-3
            while time.perf_counter() < until:
                pass
            transport.kill()
            device.connect(10)
            if device.crc() == host.crc:
                new += 1
                continue
            host.net = before
            kept += 1
            assert device.crc() == host.crc
    assert kept
    assert new


def test_a_save_that_decays_is_not_taken(firmware, data, tmp_path):
    """One bit of the newest save turns: the board starts with the one before, then with the factory's."""
    flash, host, states = tmp_path / "flash", data.host(), [data.host().crc]
    transport = ProcessTransport(firmware("host_pty"), flash)
    with Device(transport) as device:
        device.connect(10)
        for n in range(2):
            list(device.train(data.pairs(2, start=n)))
            host.train(data.pairs(2, start=n))
            states.append(host.crc)
            assert device.save() == n + 1
        for newest, start in ((1, 0x100000), (0, 0)):
            memory = bytearray(flash.read_bytes())
            memory[start + 700] ^= 4
            flash.write_bytes(memory)
            transport.kill()
            device.connect(10)
            assert device.crc() == states[newest]


def test_a_line_to_no_flash_says_so(firmware):
    line = Line(ProcessTransport(firmware("host_pty")))
    assert Has.STORAGE not in line.connect().has
    assert [reply.status for reply in line.exchange([(Op.SAVE, b""), (Op.LOAD, b"\0")])] == [-39, -40]
    line.close()
