"""Training through damaged lines, broken lines and boards that are reset: the host's bits, always."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from machine import Machine
from proxy import Faulty

from edgehff.errors import DeviceError
from firmware_bridge.boards import board
from firmware_bridge.client import Device
from firmware_bridge.emulator import EmulatorTransport, ProcessTransport

ROWS = 120
RUNS = 200
BATCH = 25
QEMU = ("microbit", "sifive_e", "mega2560", "mps2-an386")


def nothing():
    """The line broke; the board goes on."""


def train_through(line, data, seed, rows=ROWS, patience=2.0):
    """Push, train, grow and answer over this line, as the host does."""
    host, pairs = data.host(), data.pairs(rows, start=seed * 7)
    half = rows // 2
    with Device(line, patience=patience, deadline=60, checkpoint_every=(1000, 40, 9)[seed % 3]) as device:
        device.connect(20)
        line.is_armed = True
        device.push(data.blob)
        assert list(device.train(pairs[:half])) == host.train(pairs[:half])
        assert list(device.predict(raw for raw, _ in pairs[:10])) == host.predict(pairs[:10])
        assert list(device.train(pairs[half:])) == host.train(pairs[half:])
        assert device.steps() == rows
        assert device.crc() == host.crc
        assert device.pull() == host.saved()
        return device.line.counts


def run_on_a_process(seed, elf, data):
    inner = ProcessTransport(elf)

    def reset():
        inner.kill()
        inner.open()

    faults = (
        {"repeats": 0.005, "breaks": 0.004, "on_break": (nothing, inner.kill, reset), "most_breaks": 8}
        if seed % 4 > 1
        else {}
    )
    line = Faulty(inner, seed, **faults)
    counts = train_through(line, data, seed)
    return counts, line.counts


@pytest.mark.parametrize("first", range(0, RUNS, BATCH))
def test_damaged_lines_leave_the_hosts_bits(first, firmware, data):
    """Even seeds: one request at a time; odd ones: four. Half of them break, repeat frames, and reset."""
    elfs = firmware("host_pty"), firmware("host_pty", ring_bytes=1024, window=4)
    with ThreadPoolExecutor(8) as pool:
        runs = {s: pool.submit(run_on_a_process, s, elfs[s % 2], data) for s in range(first, first + BATCH)}
    assert {seed: run.exception() for seed, run in runs.items() if run.exception()} == {}
    done = [run.result() for run in runs.values()]
    assert sum(counts.resent for counts, _ in done) > BATCH
    assert sum(counts.restored for counts, _ in done) > 0
    faults = [
        sum(line[kind] for _, line in done) for kind in ("lost", "flipped", "doubled", "burst", "noise")
    ]
    assert min(faults) > BATCH  # the proxy did its work
    assert sum(line["broken"] for _, line in done) > BATCH // 5


@pytest.mark.qemu
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", QEMU)
def test_damaged_lines_to_emulated_boards(name, seed, firmware, data):
    """The last seed's board is reset under way, the line left open or broken."""
    elf, faults = firmware(name), {"breaks": 0.01, "most_breaks": 4, "repeats": 0.01} if seed == 2 else {}
    if name == "mega2560":  # QEMU's AVR resets its devices, but not its processor: a power cycle instead
        line = Faulty(EmulatorTransport(board(name), elf), seed, **faults)
        counts = train_through(line, data, seed, rows=40, patience=5.0)
    else:
        with Machine(name, elf) as machine:
            line = Faulty(machine.transport(), seed, **faults, on_break=(nothing, machine.reset))
            counts = train_through(line, data, seed, rows=40, patience=5.0)
    assert counts.resent > 0


def test_a_line_that_only_garbles_is_given_up_in_bounded_time(firmware, data):
    inner = ProcessTransport(firmware("host_pty"))
    line = Faulty(inner, 1, rate=0)
    with Device(line, patience=0.5, deadline=2) as device:
        device.connect()
        device.push(data.blob)
        line.rate = 1.0
        started = time.monotonic()
        with pytest.raises(DeviceError):
            list(device.train(data.pairs(5)))
        assert time.monotonic() - started < 60
