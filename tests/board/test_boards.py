"""Each emulated board trains over its serial line to the host's bits."""

import re
import shutil
import subprocess
from itertools import pairwise

import pytest
from conftest import Host
from machine import Machine

from edgehff.core import Net
from edgehff.geometry import ConvLayer
from edgehff.model.encoding import Encoding
from edgehff.model.network import Network
from edgehff.recipe import Recipe
from firmware_bridge.boards import board, boards
from firmware_bridge.build import build, factory_blob, options_for
from firmware_bridge.client import Device
from firmware_bridge.emulator import emulated
from firmware_bridge.protocol import Has, Which

EMULATED = sorted(name for name, machine in boards().items() if machine.toolchain)
SKIPS = {"sbrs", "sbrc", "cpse", "sbis", "sbic"}
JUMPS = {"ret", "reti", "icall", "ijmp", "eicall", "eijmp"}


def test_there_are_six():
    six = {"microbit", "netduinoplus2", "mps2-an386", "mps3-an547", "sifive_e", "mega2560"}
    assert set(EMULATED) == six


@pytest.mark.qemu
@pytest.mark.parametrize("name", EMULATED)
def test_a_board_trains_to_the_hosts_bits(name, firmware, data):
    host, pairs = data.host(), data.pairs(150)
    tests = data.pairs(20, start=1000)
    with Device(emulated(board(name), firmware(name)), patience=20, deadline=60) as device:
        hello = device.connect(30)
        assert hello.name == f"edgehff-{name}"
        assert Has.MODEL | Has.FACTORY in hello.has
        assert (Has.STORAGE in hello.has) == (name == "microbit")
        assert device.crc() == host.crc  # what the firmware was built with
        assert list(device.train(pairs)) == host.train(pairs)
        assert device.crc() == host.crc
        assert device.steps() == 150
        assert list(device.predict(raw for raw, _ in tests)) == host.predict(tests)
        assert device.pull() == host.saved()
        stats = device.stats(0)
        assert (stats.n_in, stats.n_out, stats.raw_bytes) == (64, 16, 64)
        assert stats.updates == host.net.layer_stats(0)["updates"]
        device.init(7)
        host.net.reset(7)
        device.set_rates(5000, 300, 65535, 0)
        host.net.set_rates(5000, 300)
        host.net.set_gate(65535)
        assert list(device.train(pairs[:10])) == host.train(pairs[:10])
        device.push(data.blob)
        assert device.crc() == data.host().crc
        session = device.line.session
        again = device.line.begin(30)  # HELLO tells how deep the stack was
        assert hello.stack_used < again.stack_used <= again.stack_bytes
        assert again.session_before == session
        assert device.line.counts.restored == 0


@pytest.mark.qemu
@pytest.mark.parametrize("name", ["microbit", "mega2560", "sifive_e"])
def test_a_whole_epoch(name, firmware, data):
    host, pairs = data.host(), data.pairs(len(data.x))
    with Device(emulated(board(name), firmware(name)), patience=20, deadline=60) as device:
        device.connect(30)
        assert list(device.train(pairs)) == host.train(pairs)
        assert device.crc() == host.crc
        assert device.steps() == len(pairs) == 1437
        hello = device.line.begin(30)
        assert 0 < hello.stack_used <= hello.stack_bytes


@pytest.mark.parametrize("lean", [False, True], ids=["whole", "lean"])
def test_a_process_trains_a_network_of_convolutions(data, tmp_path, lean):
    conv = (ConvLayer(4, pool="max", pool_size=(2, 2), grid=(2, 2)), ConvLayer(4, "depthwise", grid=(3, 3)))
    recipe = Recipe(layers=(8,), conv=conv, input_shape=(8, 8, 1))
    net = Net(recipe.core_config(64, 10))
    network = Network.from_core(net, recipe, data.network.class_names, Encoding("uint8", (64, 1)))
    process, blob = board("host_pty"), factory_blob(network)
    elf = build(process, options_for(process, network, lean=lean), tmp_path / "firmware")
    host, pairs, tests = Host(network, blob), data.pairs(40), data.pairs(10, start=1000)
    with Device(emulated(process, elf), patience=20, deadline=60) as device:
        device.connect(30)
        device.push(blob)
        assert device.crc() == host.crc
        assert list(device.train(pairs)) == host.train(pairs)
        assert device.crc() == host.crc
        assert list(device.predict(raw for raw, _ in tests)) == host.predict(tests)
        assert device.pull() == host.saved()


def test_the_process_saves_and_goes_back(firmware, data, tmp_path):
    saves_and_goes_back(lambda: emulated(board("host_pty"), firmware("host_pty"), tmp_path / "flash"), data)


def saves_and_goes_back(line, data):
    """Saves survive a power cycle; the one before and the factory's are there, too."""
    host, pairs = data.host(), data.pairs(30)
    with Device(line(), patience=20, deadline=60) as device:
        device.connect(30)
        list(device.train(pairs[:10]))
        host.train(pairs[:10])
        assert device.save() == 1
        first = host.crc
        list(device.train(pairs[10:20]))
        host.train(pairs[10:20])
        assert device.save() == 2
        second = host.crc
        list(device.train(pairs[20:]))
        host.train(pairs[20:])
        third = host.crc
        assert device.load(Which.BEFORE) == 1
        assert device.crc() == first
        assert device.load(Which.FACTORY) == 0
        assert device.crc() == data.host().crc
        assert device.load() == 2
        assert device.crc() == second
        assert device.save() == 3
        assert device.load(Which.BEFORE) == 2
        assert len({first, second, third}) == 3
    return second


RUNNER = [
    ("name%", ["m-name-dut-[edgehff-microbit]"]),
    ("profile%", [r"m-profile-\[ULPMark for tinyML Firmware V0.0.1\]", r"m-model-\[edgehff\]"]),
    ("timestamp%", [r"m-lap-us-\d+"]),
    ("results%", [r"e-\[no inference yet\]"]),
    ("infer 1%", [r"e-\[load a sample first.*\]"]),
    ("db load 63%", [r"e-\[a sample has 64 bytes\]"]),
    ("db load 64%", [r"m-\[Expecting 64 bytes\]"]),
    ("nonsense%", [r"e-\[Unknown command\]"]),
]


class Runner:
    """As much of the MLPerf Tiny runner as sends a command and reads lines until m-ready."""

    def __init__(self, line):
        self._line = line

    def ask(self, command):
        self._line.write(command.encode(), 5)
        said = b""
        while not said.endswith(b"m-ready\r\n"):
            came = self._line.read(20)
            assert came, (command, said)
            said += came
        return said.decode().split("\r\n")[:-2]


@pytest.mark.qemu
def test_the_runners_commands(firmware, data):
    raw = data.pairs(1)[0][0]
    with Machine("microbit", firmware("microbit")) as machine:
        line = machine.transport()
        line.open()
        runner = Runner(line)
        for command, want in RUNNER:
            said = runner.ask(command)
            assert len(said) == len(want), command
            for text, pattern in zip(said, want, strict=True):
                assert re.fullmatch(pattern.replace("[edgehff-", r"\[edgehff-").replace("]]", "]"), text) or (
                    text == pattern
                )
        half = len(raw) // 2
        assert runner.ask(f"\r\ndb {raw[:half].tobytes().hex()}%") == []
        assert runner.ask(f"db {raw[half:].tobytes().hex()}%") == ["m-load-done"]
        said = runner.ask("infer 3 2%")
        assert said[:2] == ["m-warmup-start-2", "m-warmup-done"]
        assert said[2] == "m-infer-start-3"
        first, second = (int(text.removeprefix("m-lap-us-")) for text in said[3:5])
        assert second > first
        assert said[5] == "m-infer-done"
        shares = [float(v) for v in re.fullmatch(r"m-results-\[(.*)\]", said[6])[1].split(",")]
        host = data.host()
        scores = host.net.scores(host.encoder.encode(raw[None]))[0] / 65536
        want = 2.0 ** (scores - scores.max())
        assert shares == pytest.approx(want / want.sum(), abs=2e-3)
        assert runner.ask("results%") == [said[6]]
        line.close()
        with Device(line, patience=20) as device:  # and frames are understood as before
            device.connect(30)
            assert device.crc() == host.crc


def test_no_skip_stands_before_a_return_on_avr(firmware):
    """QEMU 7.2 loses the skip where the skipped instruction leaves the block."""
    if shutil.which("avr-objdump") is None or shutil.which("avr-gcc") is None:
        pytest.skip("avr-objdump and avr-gcc are not installed")
    text = subprocess.run(
        ["avr-objdump", "-d", firmware("mega2560")], check=True, capture_output=True, text=True
    ).stdout
    code = re.findall(r"^\s*[0-9a-f]+:\t(?:[0-9a-f]{2} )+\s*\t(\w+)", text, re.MULTILINE)
    assert len(code) > 3000
    assert SKIPS & set(code)
    found = [pair for pair in pairwise(code) if pair[0] in SKIPS and pair[1] in JUMPS]
    assert found == []
