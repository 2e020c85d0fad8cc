"""What is on a line, and what is not an edgehff board; models and samples that do not fit."""

import contextlib
import os
import pty
import socket
import threading
import tty

import numpy as np
import pytest
from conftest import network_of
from machine import Machine

from edgehff.core import Net
from edgehff.data.sources import load
from edgehff.errors import DeviceError, ModelFileError, NoDeviceError
from edgehff.recipe import CoreConfig
from firmware_bridge import frame, protocol, transport
from firmware_bridge.boards import board
from firmware_bridge.build import factory_blob
from firmware_bridge.client import Device
from firmware_bridge.connect import device_at, probe
from firmware_bridge.emulator import EmulatorTransport, ProcessTransport
from firmware_bridge.line import Line
from firmware_bridge.protocol import Has, Op
from firmware_bridge.transport import LineLost, Port, SerialTransport


@contextlib.contextmanager
def terminal(answer):
    """The path of a pseudoterminal; answer(bytes) is what comes back for what was sent, b"" at first."""
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    ending = threading.Event()
    os.set_blocking(ours, False)

    def run():
        came = b""
        while not ending.wait(0.005):
            said = answer(came)
            with contextlib.suppress(BlockingIOError):
                os.write(ours, said)
            try:
                came = os.read(ours, 4096)
            except BlockingIOError:
                came = b""

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield os.ttyname(theirs)
    finally:
        ending.set()
        thread.join()
        os.close(ours)
        os.close(theirs)


def answers(make):
    """A board that answers each whole request with make(op, sequence, session)."""
    reader = frame.FrameReader()

    def answer(came):
        return b"".join(
            make(payload[0], payload[2:4], payload[4:8]) for payload in reader.feed(came) if len(payload) >= 8
        )

    return answer


def say_hello(version, more=24):
    def make(op, sequence, session):
        return frame.encode(
            bytes([op | 0x80, 0]) + sequence + session + bytes(4) + bytes([version]) + bytes(more)
        )

    return make


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda _: b"", "nothing answered in 1 s"),
        (lambda _: b"boot: hello, world\r\n", r"\d+ bytes came in 1 s, but no answer: another program, or a"),
        (lambda _: os.urandom(40), r"\d+ bytes came in 1 s, but no answer.*wrong baud rate"),
        (lambda _: bytes(50), r"\d+ bytes came"),
        (lambda came: came, r"\d+ bytes came"),  # an echo
        (answers(say_hello(2)), "speaks version 2 of the link, this edgehff 1"),
        (answers(say_hello(9, more=0)), "speaks version 9"),
        (
            answers(lambda op, sequence, _: say_hello(1)(op, sequence, b"abcd")),
            "bytes came",
        ),  # to another host
        (answers(lambda _, sequence, session: say_hello(1)(Op.CRC, sequence, session)), "bytes came"),
    ],
    ids=["nothing", "text", "noise", "zeros", "echo", "version", "short", "session", "op"],
)
def test_what_is_no_board_is_said(answer, says):
    with terminal(answer) as path, Device(SerialTransport(path)) as device:
        with pytest.raises(NoDeviceError, match=says) as raised:
            device.connect(1)
        assert raised.value.hint
        assert path in raised.value.message
        found = probe(Port(path, "", "", ()), timeout=0.2)
        assert found.hello is None
        assert path in found.problem


def test_a_busy_port_is_said(firmware):
    with Device(ProcessTransport(firmware("host_pty"))) as first:
        first.connect()
        path = first.line.transport.name
        with pytest.raises(NoDeviceError, match=r"is busy: another program has it open"):
            Device(SerialTransport(path)).connect(1)
        with pytest.raises(NoDeviceError, match="busy"), device_at(path):
            pass
        assert first.crc()  # and the first one is not disturbed


def test_a_port_that_is_closed_after_a_failure_is_free(firmware):
    with terminal(lambda _: b"") as path:
        kept = Device(SerialTransport(path))
        with pytest.raises(NoDeviceError, match="nothing answered"):
            kept.connect(0.1)
        with pytest.raises(NoDeviceError, match="nothing answered"):
            Device(SerialTransport(path)).connect(0.1)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("/dev/edgehff-has-no-such-port", "cannot be opened"),
        ("unknown://x", "cannot be opened"),
        ("socket://127.0.0.1", "cannot be opened"),
    ],
)
def test_a_line_that_cannot_be_opened(url, says):
    with pytest.raises(NoDeviceError, match=says) as raised:
        Device(SerialTransport(url)).connect(1)
    assert raised.value.hint


def test_a_socket_that_nobody_serves():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(NoDeviceError, match="cannot be opened"):
        Device(SerialTransport(f"socket://127.0.0.1:{port}")).connect(1)


def test_a_port_without_permission(monkeypatch):
    def refuse(*_args, **_kwargs):
        raise transport.serial.SerialException(13, "Permission denied")

    monkeypatch.setattr(transport.serial, "serial_for_url", refuse)
    with pytest.raises(NoDeviceError, match="may not be opened by this user") as raised:
        SerialTransport("/dev/ttyACM0").open()
    assert "dialout" in raised.value.hint


# -- every transport keeps the same promises


@pytest.fixture(params=["serial", "process", pytest.param("socket", marks=pytest.mark.qemu),
                        pytest.param("emulator", marks=pytest.mark.qemu)])  # fmt: skip
def kind(request, firmware):
    """A transport to a board, and a function that gives the process which is that board."""
    if request.param == "emulator":
        line = EmulatorTransport(board("microbit"), firmware("microbit"))
        yield line, lambda: line.process
        line.close()
    elif request.param == "socket":
        with Machine("microbit", firmware("microbit")) as machine:
            line = machine.transport()
            yield line, lambda: machine.process
            line.close()
    else:
        process = ProcessTransport(firmware("host_pty"))
        process.open()
        SerialTransport.close(process)
        line = process if request.param == "process" else SerialTransport(process.name)
        yield line, lambda: process.process
        line.close()
        process.close()


def ask_hello(line):
    line.write(b"\0" + frame.encode(protocol.request(Op.HELLO, 3, 77)), 5)
    reader = frame.FrameReader()
    while True:
        for payload in reader.feed(line.read(20)):
            return protocol.parse_hello(protocol.parse_reply(payload))


def test_a_transport_reads_and_writes_and_opens_again(kind):
    line, _ = kind
    with pytest.raises(LineLost):
        line.read(0)
    with pytest.raises(LineLost):
        line.write(b"x", 0.1)
    line.close()
    for _ in range(2):
        line.open()
        assert line.read(0.01) == b""
        assert line.read(0) == b""
        hello = ask_hello(line)
        assert hello.version == 1
        assert hello.has == hello.has | Has.MODEL | Has.FACTORY
    line.open()  # without closing it
    assert ask_hello(line).name.startswith("edgehff-")
    line.close()
    line.close()
    with pytest.raises(LineLost):
        line.read(0)


def use(line):
    while True:
        line.write(b"\0", 0.5)
        line.read(0.05)


def test_a_transport_says_that_the_board_is_gone(kind):
    line, process = kind
    line.open()
    ask_hello(line)
    process().kill()
    with pytest.raises(LineLost) as raised:
        use(line)
    assert line.name in raised.value.message


def test_a_line_that_takes_no_more_is_lost():
    with terminal(lambda _: b"") as path:
        ours, theirs = pty.openpty()  # one that nobody reads
        line = SerialTransport(os.ttyname(theirs))
        line.open()
        with pytest.raises(LineLost, match="cannot send"):
            line.write(bytes(200_000), 0.2)
        line.close()
        os.close(ours)
        os.close(theirs)
        assert path


# -- models


def test_a_model_that_is_too_large_is_refused(firmware, data):
    large = network_of(load("digits"), layers=(64,))
    with Device(ProcessTransport(firmware("host_pty"))) as device:
        device.connect()
        with pytest.raises(ModelFileError, match=r"refused PUSH.*arena"):
            device.push(factory_blob(large))
        with pytest.raises(DeviceError, match="no model on the board"):
            device.crc()
        with pytest.raises(DeviceError, match="no model on the board"):
            list(device.train(data.pairs(1)))
        with pytest.raises(DeviceError, match="no model on the board"):
            list(device.predict([data.pairs(1)[0][0]]))
        device.line.transport.kill()
        device.connect()
        device.push(data.blob)
        assert device.crc() == data.host().crc


def test_a_model_of_another_shape_takes_its_place(firmware, data):
    other = network_of(load("digits"), layers=(6, 5), arith="int16")
    with Device(ProcessTransport(firmware("host_pty", frame_bytes=512))) as device:
        device.connect()
        device.push(factory_blob(other))
        twin = other.to_core()
        twin.load_blob(factory_blob(other))
        pairs, encoder = data.pairs(30), other.encoding.to_core()
        x = encoder.encode(np.stack([raw for raw, _ in pairs]))
        want = twin.train(x, np.array([y for _, y in pairs], np.uint16)).tolist()
        assert list(device.train(pairs)) == want
        assert device.crc() == (twin.weights_crc32, twin.state_crc32)
        assert device.pull() == twin.save_blob(encoder)
        assert device.stats(1).n_in == 6
        scores = np.stack(list(device.scores(raw for raw, _ in pairs)))
        assert (scores == twin.scores(x)).all()


def test_bytes_that_are_no_model(firmware, data):
    with Device(ProcessTransport(firmware("host_pty"))) as device:
        device.connect()
        before = device.crc()
        with pytest.raises(ModelFileError, match="3 bytes are no model"):
            device.push(b"abc")
        assert device.crc() == before  # it was not asked
        for broken in (data.blob[:-1], data.blob + b"more"):
            with pytest.raises(ModelFileError, match=r"a model of 1440 bytes, of which there are"):
                device.push(broken)
        assert device.crc() == before
        for broken in (b"X" + data.blob[1:], data.blob[:-1] + b"x", data.blob[:99] + b"x" + data.blob[100:]):
            with pytest.raises(ModelFileError, match="refused PUSH"):
                device.push(broken)
            with pytest.raises(DeviceError, match="no model on the board"):
                device.crc()
        device.push(data.blob)
        assert device.crc() == data.host().crc


def test_a_table_of_layers_larger_than_the_frame(firmware):
    config = CoreConfig(dims=(4,) + (2,) * 8, n_classes=2)
    with Device(ProcessTransport(firmware("host_pty"))) as device:
        device.connect()
        with pytest.raises(
            ModelFileError, match="table of 8 layers takes a frame of 205 bytes, the board has"
        ):
            device.push(Net(config).save_blob())


def test_a_board_that_spoke_once_and_then_nonsense(data, quick):
    """Every request is answered by something that is no answer: an error, in bounded time."""
    hello = protocol._HELLO.pack(1, 1, 96, 0, 1, 1, 0, 4096, 0, 0)

    def make(op, sequence, session):
        body = hello if op == Op.HELLO else b"\0\0"
        status = 0 if op == Op.HELLO else -34
        head = bytes([op | 0x80, status & 0xFF]) + sequence + session + bytes(4)
        return frame.encode(head + body)

    with terminal(answers(make)) as path, Device(SerialTransport(path), patience=0.3, deadline=1) as device:
        device.connect(2)
        with pytest.raises(DeviceError):
            device.push(data.blob)


def test_a_line_counts_what_went_over_it(firmware):
    line = Line(ProcessTransport(firmware("host_pty")))
    line.connect()
    before = line.counts.frames
    assert [reply.op for reply in line.exchange([(Op.CRC, b""), (Op.STATS, b"\0")])] == [Op.CRC, Op.STATS]
    assert line.counts.frames == before + 2
    assert line.counts.resent == 0
    assert line.counts.bytes_in > 0
    line.close()
