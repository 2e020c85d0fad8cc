"""A board that is reset anywhere: nothing is learned twice, nothing acknowledged is lost, every wait ends."""

import os
import signal
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import numpy as np
import pytest
from proxy import Faulty

from edgehff.errors import DeviceError, ShapeError
from firmware_bridge import frame, line, protocol
from firmware_bridge.build import model_arena_bytes
from firmware_bridge.client import Device
from firmware_bridge.emulator import ProcessTransport
from firmware_bridge.protocol import Op, Which

WINDOWED = {"ring_bytes": 2048, "window": 4}
NARROW = {"ring_bytes": 128, "window": 4}  # one frame behind another, a third does not fit
WINDOWS = {1: {}, 4: WINDOWED, 16: WINDOWED | {"window": 16}}
FOREIGN = frame.encode(protocol.request(Op.HELLO, 7, 0xBADC0DE))


class Cut:
    """A line to a process; something happens at one of its writes, counted from 1.

    kind: "before" or "after": the board is reset before it gets the frame, or after it answered; "foreign":
    another host says HELLO before it; "lost": the answer is lost and the line breaks.
    """

    def __init__(self, inner, at=0, kind=""):
        self.inner, self.at, self.kind, self.name = inner, at, kind, inner.name
        self.writes = 0

    def open(self):
        self.inner.open()

    def close(self):
        self.inner.close()

    def read(self, timeout):
        return self.inner.read(timeout)

    def write(self, data, timeout):
        self.writes += len(data) > 1
        if self.writes != self.at or len(data) == 1:
            self.inner.write(data, timeout)
            return
        if self.kind == "before":
            self.inner.kill()
        elif self.kind == "foreign":
            self.inner.write(b"\0" + FOREIGN, timeout)
        self.inner.write(data, timeout)
        if self.kind in ("after", "lost"):
            deadline = time.monotonic() + timeout
            while not self.inner.read(0.1).endswith(b"\0"):
                assert time.monotonic() < deadline
            if self.kind == "after":
                self.inner.kill()
            self.inner.read(0)
            if self.kind == "lost":
                raise line.LineLost("broken by the test")


def roomy(firmware, data, options):
    """With large frames, and room for a class more."""
    room = {"frame_bytes": 512, "arena_bytes": model_arena_bytes(data.network) + 128}
    return firmware("host_pty", **(room | options))


@pytest.fixture
def open_board(firmware, data):
    """open_board(...) is a Device on a process with a pushed model; all are closed at the end."""
    devices = []

    def opened(transport=None, push=True, patience=2.0, deadline=20.0, checkpoint_every=1000, **options):
        transport = transport or ProcessTransport(roomy(firmware, data, options))
        device = Device(transport, patience=patience, deadline=deadline, checkpoint_every=checkpoint_every)
        devices.append(device)
        device.connect(10)
        if push:
            device.push(data.blob)
        return device

    yield opened
    for device in devices:
        device.close()


def everything(device, data):
    """Each request that changes something, against the host's copy of the model."""
    host, pairs = data.host(), data.pairs(60)
    taken = iter(range(0, 60, 3))

    def learn(label=None):
        start = next(taken)
        some = [(raw, y if label is None else label) for raw, y in pairs[start : start + 3]]
        assert list(device.train(some)) == host.train(some)
        assert device.crc() == host.crc

    device.push(data.blob)
    learn()
    learn()
    device.set_rates(9000, 700, 5000, 0)
    host.net.set_rates(9000, 700)
    host.net.set_gate(5000)
    learn()
    assert device.add_class() == 11
    host.net.add_class()
    learn(10)
    assert device.save() == 1
    first = host.net.copy()
    learn()
    assert device.save() == 2
    second = host.net.copy()
    learn()
    assert device.load(Which.BEFORE) == 1
    host.net = first
    learn()
    assert device.load() == 2
    host.net = second
    learn()
    assert device.load(Which.FACTORY) == 0
    host = data.host()
    learn()
    device.init(5)
    host.net.reset(5)
    learn()
    with pytest.raises(DeviceError, match="RATES"):
        device.set_rates(123, 77, 40000, 0)
    learn()
    assert list(device.predict(raw for raw, _ in pairs[:3])) == host.predict(pairs[:3])
    assert device.pull() == host.saved()
    assert device.steps() == host.net.step


def run_cut(elf, flash, data, at, kind, every):
    cut = Cut(ProcessTransport(elf, flash), at, kind)
    with Device(cut, patience=2.0, deadline=20.0, checkpoint_every=every) as device:
        device.connect(10)
        everything(device, data)
        return cut.writes


@pytest.mark.parametrize("windowed", [False, True], ids=["one", "window"])
@pytest.mark.parametrize("kind", ["before", "after", "foreign", "lost"])
def test_a_reset_at_any_request_leaves_the_hosts_bits(kind, windowed, firmware, data, tmp_path, quick):
    elf = roomy(firmware, data, WINDOWED if windowed else {})
    total = run_cut(elf, tmp_path / "none", data, 0, "", 4)
    points = range(2 + windowed, total, 2)  # the first is HELLO
    with ThreadPoolExecutor(8) as pool:
        runs = {
            n: pool.submit(run_cut, elf, tmp_path / f"{n}", data, n, kind, (1000, 4, 1)[n % 3])
            for n in points
        }
    assert {n: run.exception() for n, run in runs.items() if run.exception()} == {}
    assert len(points) >= 40


@pytest.mark.parametrize(
    ("options", "behind"), [({}, 0), (WINDOWED, 3), (NARROW, 1)], ids=["one", "window", "narrow"]
)
@pytest.mark.parametrize("answers", [1, 2, 5])
def test_a_training_that_is_left_has_learned_what_was_sent(answers, options, behind, open_board, data):
    device, host, pairs = open_board(**options), data.host(), data.pairs(60)
    running = device.train(pairs[:40])
    got = [next(running) for _ in range(answers)]
    running.close()
    learned = device.steps()
    assert answers <= learned <= answers + behind
    assert got == host.train(pairs[:learned])[:answers]
    assert device.crc() == host.crc
    device.line.transport.kill()
    assert list(device.train(pairs[40:])) == host.train(pairs[40:])
    assert device.crc() == host.crc


@pytest.mark.parametrize("options", [{}, WINDOWED], ids=["one", "window"])
def test_a_training_is_left_and_the_board_reset(options, open_board, data):
    device, host, pairs = open_board(**options), data.host(), data.pairs(60)
    running = device.train(pairs)
    next(running)
    running.close()
    device.line.transport.kill()
    learned = device.steps()
    host.train(pairs[:learned])
    assert 1 <= learned <= 4
    assert device.crc() == host.crc


@pytest.mark.parametrize("options", [{}, WINDOWED], ids=["one", "window"])
def test_samples_that_raise_end_a_training_in_order(options, open_board, data):
    device, host, pairs = open_board(**options), data.host(), data.pairs(30)

    def samples():
        yield from pairs[:11]
        raise OSError("the sensor is gone")

    running = device.train(samples())
    got = [next(running) for _ in range(11)]
    with pytest.raises(OSError, match="sensor"):
        next(running)
    assert got == host.train(pairs[:11])
    assert device.steps() == 11
    assert device.crc() == host.crc


@pytest.mark.parametrize("options", [{}, WINDOWED], ids=["one", "window"])
@pytest.mark.parametrize(
    ("raw", "label", "says"),
    [
        (np.zeros(63, np.uint8), 0, "63 bytes.*64"),
        (np.zeros(64, np.int16), 0, "128 bytes.*64"),
        (np.zeros(5000, np.uint8), 0, "5000 bytes"),
        (np.zeros(0, np.uint8), 0, "0 bytes"),
        (np.zeros(64, np.uint8), 10, "label 10.*0 to 9"),
        (np.zeros(64, np.uint8), -1, "label -1"),
        (np.zeros(64, np.uint8), 70000, "label 70000"),
    ],
)
def test_a_wrong_sample_stops_before_itself(raw, label, says, options, open_board, data):
    device, host, pairs = open_board(**options), data.host(), data.pairs(20)
    running = device.train([*pairs[:7], (raw, label), *pairs[7:]])
    got = [next(running) for _ in range(7)]
    with pytest.raises(ShapeError, match=says):
        next(running)
    assert got == host.train(pairs[:7])
    assert device.steps() == 7
    assert device.crc() == host.crc
    if label == 0:
        answers = device.predict([pairs[0][0], raw])
        assert next(answers) == host.predict(pairs[:1])[0]
        with pytest.raises(ShapeError, match=says):
            next(answers)
    assert list(device.train(pairs[7:])) == host.train(pairs[7:])


@pytest.mark.parametrize("options", [{}, WINDOWED], ids=["one", "window"])
def test_a_sample_that_the_board_refuses_without_an_encoder(options, firmware, data, tmp_path):
    """Its values are not a unit vector: only the core finds that, and what follows it is not learned."""
    blob = data.host().net.save_blob()
    host = data.host()
    pairs = [(host.encoder.encode(raw[None])[0], label) for raw, label in data.pairs(20)]
    bad = np.full(64, 16384, np.int16)
    with Device(ProcessTransport(roomy(firmware, data, options))) as device:
        device.connect()
        device.push(blob)
        running = device.train([*pairs[:5], (bad, 0), *pairs[5:]])
        got = [next(running) for _ in range(5)]
        with pytest.raises(ShapeError, match="refused TRAIN"):
            next(running)
        assert got == [int(host.net.train(x[None], np.array([y], np.uint16))[0]) for x, y in pairs[:5]]
        assert device.steps() == 5
        device.line.transport.kill()  # the refusal is replayed, too
        assert device.crc() == host.crc


def test_an_empty_stream_sends_nothing(open_board):
    device = open_board()
    frames = device.line.counts.frames
    assert list(device.train([])) == list(device.predict([])) == list(device.scores([])) == []
    assert device.line.counts.frames == frames


@pytest.mark.parametrize("options", [{}, WINDOWED], ids=["one", "window"])
def test_a_long_training_keeps_few_samples(options, open_board, data):
    device, host, pairs = open_board(checkpoint_every=10, **options), data.host(), data.pairs(150)
    kept = []
    for n, answer in enumerate(device.train(iter(pairs))):
        assert answer == host.train([pairs[n]])[0]
        kept.append(len(device._recovery.checkpoint.done))
        if n == 77:
            device.line.transport.kill()
    assert max(kept) == 10
    assert device.crc() == host.crc


@pytest.mark.parametrize("window", [1, 4, 16])
def test_the_sequence_wraps(window, open_board, data, monkeypatch):
    monkeypatch.setattr(line.secrets, "randbelow", lambda n: 65500 if n == 2**16 else 12345)
    options = WINDOWS[window]
    device, host, pairs = open_board(**options), data.host(), data.pairs(60)
    assert list(device.train(pairs)) == host.train(pairs)
    assert device.line._sequence < 1000
    assert device.line.counts.restored == 0
    assert device.crc() == host.crc


@pytest.mark.parametrize("options", [{}, {"ring_bytes": 1024, "window": 4}], ids=["one", "window"])
def test_the_sequence_wraps_on_a_damaged_line(options, firmware, data, monkeypatch):
    monkeypatch.setattr(line.secrets, "randbelow", lambda n: 65500 if n == 2**16 else 12345)
    proxy = Faulty(ProcessTransport(firmware("host_pty", **options)), 3, rate=4e-3)
    host, pairs = data.host(), data.pairs(60)
    with Device(proxy, patience=2) as device:
        device.connect(10)
        device.push(data.blob)
        assert list(device.train(pairs)) == host.train(pairs)
        assert device.line._sequence < 1000
        assert device.line.counts.resent > 0
        assert device.line.counts.restored == 0
        assert device.crc() == host.crc


class Recorder(Cut):
    """Keeps every frame that was written."""

    def __init__(self, inner):
        super().__init__(inner)
        self.frames = []

    def write(self, data, timeout):
        self.frames.append(data)
        super().write(data, timeout)


@pytest.mark.parametrize("options", [{}, WINDOWED], ids=["one", "window"])
def test_old_frames_that_come_again_change_nothing(options, open_board, firmware, data):
    recorder = Recorder(ProcessTransport(roomy(firmware, data, options)))
    device, host, pairs = open_board(recorder), data.host(), data.pairs(40)
    list(device.train(pairs[:20]))
    host.train(pairs[:20])
    ours = list(recorder.frames)
    for old in ours:
        recorder.inner.write(old, 5)
    assert device.crc() == host.crc
    assert device.line.counts.restored == 0
    device.connect()  # another session; the board keeps its model
    assert device.crc() == host.crc
    for old in ours[:-8]:  # HELLO of the session before, and most of its requests: the board does them
        recorder.inner.write(old, 5)
    with pytest.raises(DeviceError, match="is lost"):
        list(device.train(pairs[20:]))
    device.push(host.saved())
    list(device.train(pairs[20:30]))
    host.train(pairs[20:30])
    for old in ours:
        recorder.inner.write(old, 5)
    assert list(device.train(pairs[30:])) == host.train(pairs[30:])
    assert device.crc() == host.crc
    assert device.line.counts.restored >= 1


def test_a_board_that_lost_count_is_restored(open_board, firmware, data):
    """Another host says HELLO, then our own HELLO comes again: our session, but counted from its start."""
    recorder = Recorder(ProcessTransport(roomy(firmware, data, WINDOWED)))
    device, host, pairs = open_board(recorder), data.host(), data.pairs(40)
    assert list(device.train(pairs[:20])) == host.train(pairs[:20])
    recorder.inner.write(b"\0" + FOREIGN + recorder.frames[0], 5)
    assert list(device.train(pairs[20:])) == host.train(pairs[20:])
    assert device.crc() == host.crc
    assert device.line.counts.restored == 1


def test_a_sample_that_no_frame_holds(open_board):
    """Nothing is known of the model on the board; still it is not sent."""
    device = open_board(push=False)
    with pytest.raises(ShapeError, match=r"5000 bytes.*does not fit a frame of the board, 512 bytes"):
        list(device.predict([np.zeros(5000, np.uint8)]))
    with pytest.raises(ShapeError, match="refused PREDICT"):
        list(device.predict([np.zeros(63, np.uint8)]))


def test_a_board_that_was_not_changed_here_goes_on_only_in_the_same_state(open_board, data):
    device, host, pairs = open_board(push=False), data.host(), data.pairs(20)
    raws = [raw for raw, _ in pairs]
    answers = device.predict(raws)
    got = [next(answers)]
    device.line.transport.kill()
    assert got + list(answers) == host.predict(pairs)  # its factory model again
    list(device.train(pairs))
    host.train(pairs)
    device.connect()  # as a host that comes later
    answers = device.predict(raws)
    got = [next(answers)]
    device.line.transport.kill()
    with pytest.raises(DeviceError, match="had learned before this session is lost"):
        list(answers)
    with pytest.raises(DeviceError, match="is lost"):
        device.crc()
    device.push(host.saved())
    assert device.crc() == host.crc


def test_a_hung_board_goes_on(open_board, data):
    device, host, pairs = open_board(patience=0.3), data.host(), data.pairs(40)
    running = device.train(pairs)
    got = [next(running) for _ in range(10)]
    process = device.line.transport.process
    os.kill(process.pid, signal.SIGSTOP)
    with ThreadPoolExecutor(1) as pool:
        rest = pool.submit(list, running)
        while device.line.counts.reopened == 0:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGCONT)
        assert got + rest.result() == host.train(pairs)
    assert device.crc() == host.crc
    assert device.line.counts.restored == 0


def hang_at(device, pairs):
    running = device.train(pairs)
    next(running)
    os.kill(device.line.transport.process.pid, signal.SIGSTOP)
    list(running)


def test_a_board_that_hangs_for_ever_is_an_error(open_board, data):
    device = open_board(patience=0.2, deadline=1.0)
    with pytest.raises(DeviceError, match=r"no answer for .* no answer in 1 s"):
        hang_at(device, data.pairs(10))
    with pytest.raises(DeviceError, match="no answer in 1 s"):
        device.crc()


def test_after_an_error_the_board_is_taken_up_again(open_board, data):
    device, host, pairs = open_board(patience=0.2, deadline=1.0), data.host(), data.pairs(30)
    with pytest.raises(DeviceError):
        hang_at(device, pairs[:10])
    os.kill(device.line.transport.process.pid, signal.SIGCONT)
    learned = device.steps()
    assert learned == 2  # the second was on its way
    host.train(pairs[:2])
    assert list(device.train(pairs[2:])) == host.train(pairs[2:])
    assert device.crc() == host.crc


def test_a_request_that_always_resets_the_board_is_an_error(open_board, firmware, data):
    inner = ProcessTransport(roomy(firmware, data, {}))

    class Fatal(Cut):
        def write(self, packet, timeout):
            if len(packet) > 8 and packet[1] == Op.STATS:
                self.inner.kill()
            self.inner.write(packet, timeout)

    device = open_board(Fatal(inner), deadline=2)
    with pytest.raises(DeviceError, match="no answer in 2 s"):
        device.stats()


def test_a_reset_during_a_restore(open_board, firmware, data):
    inner = ProcessTransport(roomy(firmware, data, {}))

    class Often(Cut):
        def write(self, packet, timeout):
            self.writes += 1
            if self.writes in self.cuts:
                self.inner.kill()
            self.inner.write(packet, timeout)

    often = Often(inner)
    often.cuts = set()
    device, host, pairs = open_board(often), data.host(), data.pairs(30)
    running = device.train(pairs)
    got = [next(running) for _ in range(15)]
    often.cuts = {often.writes + n for n in (1, 2, 4, 9, 20, 31, 60)}
    assert got + list(running) == host.train(pairs)
    assert device.crc() == host.crc
    assert device.line.counts.restored >= 1


def grow(device, host):
    for n_classes in range(11, 20):
        assert device.add_class() == n_classes
        host.net.add_class()


def test_refusals_are_said_and_leave_the_state(open_board, data):
    device, host = open_board(), data.host()
    with pytest.raises(DeviceError, match="no room to save"):
        device.save()
    with pytest.raises(DeviceError, match="nothing is saved"):
        device.load()
    with pytest.raises(DeviceError, match=r"ADD_CLASS.*arena"):
        grow(device, host)
    assert host.net.config.n_classes > 10
    with pytest.raises(DeviceError, match="STATS"):
        device.stats(9)
    device.line.transport.kill()
    assert device.crc() == host.crc


def test_steps_beyond_the_arena_of_requests(open_board, data):
    """Large numbers go over the line as they are."""
    device = open_board()
    with pytest.raises(struct.error):
        device.set_rates(2**32, 0, 0)
    numbers = count(device.steps())
    assert next(numbers) == 0
