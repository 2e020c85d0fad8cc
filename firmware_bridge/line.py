"""Requests over a line that may drop, flip and repeat bytes: each is carried out once and in order, or fails.

Go-back-N with the board's window: what is unanswered for longer than measured round trips explain is sent
again; the board answers what it knows from its cache. PROTOCOL.md says why no sample is ever trained twice.
"""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NoReturn

from edgehff.errors import DeviceError, NoDeviceError
from firmware_bridge import frame, protocol
from firmware_bridge.protocol import Hello, Op, Reply, Status
from firmware_bridge.timing import RoundTrip
from firmware_bridge.transport import LineLost, Transport

HELLO_EVERY_S = 0.5
MAX_SENDS = 60
"""Times that a frame is sent before the line is given up: at 2 damaged bytes in 1,000, one in 10^30."""
MAX_STRAYS = 3
"""Refusals without progress that no frame sent explains, after which the session counts as lost."""

SLOW = {Op.SAVE: 3.0, Op.LOAD: 2.0, Op.INIT: 2.0, Op.CRC: 2.0, Op.STATS: 2.0, Op.PULL: 2.0, Op.PUSH: 2.0}
"""Seconds that a board may work on a request beside what the line takes."""


class SessionLost(DeviceError):  # noqa: N818 (what happened)
    """The board does not know this session: it was reset, or another host spoke to it."""


@dataclass
class Counts:
    """What went over the line. resent: frames sent again.  bad_replies: what came and was no frame."""

    frames: int = 0
    resent: int = 0
    replies: int = 0
    bad_replies: int = 0
    bytes_out: int = 0
    bytes_in: int = 0
    reopened: int = 0
    restored: int = 0


@dataclass
class _Sent:
    op: Op
    sequence: int
    data: bytes
    at: float = 0.0
    times: int = 0
    reply: Reply | None = field(default=None, repr=False)


class Line:
    """A session with a board over a transport.

    hello: what the board said of itself.  counts: what went over the line.  session: its number.
    patience: seconds without an answer, beside what a request may take, after which the line is broken.
    """

    def __init__(self, transport: Transport, *, patience: float = 10.0) -> None:
        self.transport, self.patience = transport, patience
        self.counts = Counts()
        self.hello: Hello
        self.session = 0
        self._sequence = 0
        self._reader = frame.FrameReader()
        self._round_trips = {op: RoundTrip(SLOW.get(op, 0.0)) for op in Op}
        self._in_flight: deque[_Sent] = deque()
        self._waiting: tuple[Op, bytes] | None = None
        self._strays = 0

    def connect(self, timeout: float = 5.0) -> Hello:
        """Open the line and begin a session.

        Raises:
            NoDeviceError: nobody answers within timeout seconds, or not as an edgehff board does.
        """
        self.transport.open()
        try:
            return self.begin(timeout)
        except (LineLost, NoDeviceError) as error:
            self.transport.close()
            raise NoDeviceError(error.message, hint=error.hint) from error

    def begin(self, timeout: float) -> Hello:
        """Begin a new session on the open line; what was under way in the old one is forgotten."""
        self.session = secrets.randbelow(2**32 - 1) + 1
        self._sequence = secrets.randbelow(2**16)
        self._in_flight.clear()
        self._waiting, self._strays = None, 0
        self._reader.clear()
        start = time.monotonic()
        came, sent = self.counts.bytes_in, False
        data = frame.encode(protocol.request(Op.HELLO, self._sequence, self.session))
        while (now := time.monotonic()) < start + timeout or not sent:
            self._send(b"\0" + data, resent=sent)
            sent = True
            until = min(start + timeout, now + HELLO_EVERY_S)
            while time.monotonic() < until:
                for reply in self._replies(until):
                    if reply is None or reply.op != Op.HELLO or reply.session != self.session:
                        continue
                    self.hello = self._checked(reply)
                    return self.hello
        raise self._nobody(timeout, self.counts.bytes_in - came)

    def _checked(self, reply: Reply) -> Hello:
        hello = protocol.parse_hello(reply)
        version = hello.version if hello is not None else int.from_bytes(reply.body[:1], "little")
        if hello is None or version != protocol.VERSION:
            raise NoDeviceError(
                f"{self.transport.name} speaks version {version} of the link, "
                f"this edgehff {protocol.VERSION}",
                hint="build its firmware again: edgehff firmware build",
            )
        return hello

    def _nobody(self, timeout: float, noise: int) -> NoDeviceError:
        name = self.transport.name
        if noise:
            return NoDeviceError(
                f"{name}: {noise} bytes came in {timeout:g} s, but no answer: "
                "another program, or a wrong baud rate",
                hint="give the firmware's baud rate: --baud 115200",
            )
        return NoDeviceError(
            f"{name}: nothing answered in {timeout:g} s",
            hint="is edgehff firmware on the board? edgehff firmware build, then flash it",
        )

    def close(self) -> None:
        """Close the line; the board keeps what it learned."""
        self.transport.close()

    def exchange(self, requests: Iterable[tuple[Op, bytes]], window: int = 16) -> Iterator[Reply]:
        """Send the requests in order, several at a time where the board has room; their replies in order.

        A request is taken from requests when there is room for it. Where this was left before its end, the
        next call goes on with what was under way: its replies come first. window: at most so many at a time.
        Requests that change something and others are never under way together, so that repeating one that
        changes nothing gives what it gave.

        Raises:
            SessionLost: the board was reset; begin() forgets what was under way.
            LineLost: the line broke, or was silent for patience seconds; resume() keeps what was under way.
        """
        source, window = iter(requests), max(1, min(window, self.hello.window))
        while True:
            while not self._in_flight or (self.hello.ring_bytes and len(self._in_flight) < window):
                if self._waiting is None:
                    self._waiting = next(source, None)
                if self._waiting is None or not self._has_room(*self._waiting):
                    break
                request, self._waiting = self._waiting, None
                self._post(*request)
            if not self._in_flight:
                return
            self._await_oldest()
            while self._in_flight and (reply := self._in_flight[0].reply) is not None:
                self._in_flight.popleft()
                yield reply

    def withdraw(self) -> bool:
        """Whether a request had been taken and not been sent; it never will be."""
        taken, self._waiting = self._waiting is not None, None
        return taken

    def resume(self) -> None:
        """Open a broken line anew and send again what is unanswered, in the old session."""
        self.reopen()
        for round_trip in self._round_trips.values():
            round_trip.answered()
        self._resend()

    def reopen(self) -> None:
        """Open a broken line anew."""
        self.counts.reopened += 1
        self.transport.open()
        self._reader.clear()

    def _has_room(self, op: Op, body: bytes) -> bool:
        if not self._in_flight:
            return True
        if (op in protocol.CHANGING) != (self._in_flight[0].op in protocol.CHANGING):
            return False
        behind = sum(len(sent.data) for sent in list(self._in_flight)[1:])
        return behind + frame.encoded_bytes(protocol.REQUEST_BYTES + len(body)) <= self.hello.ring_bytes

    def _post(self, op: Op, body: bytes) -> None:
        self._sequence = (self._sequence + 1) % 2**16
        data = frame.encode(protocol.request(op, self._sequence, self.session, body))
        sent = _Sent(op, self._sequence, data)
        self._in_flight.append(sent)
        self._transmit(sent)

    def _transmit(self, sent: _Sent) -> None:
        if sent.times == MAX_SENDS:
            raise DeviceError(
                f"{self.transport.name}: {sent.op.name} was sent {MAX_SENDS} times, "
                "and refused or lost each time",
                hint="a shorter cable or a lower baud rate; edgehff device stats shows how many frames break",
            )
        sent.at = time.monotonic()
        sent.times += 1
        self._send(sent.data, resent=sent.times > 1)

    def _send(self, data: bytes, *, resent: bool = False) -> None:
        self.counts.frames += 1
        self.counts.resent += resent
        self.counts.bytes_out += len(data)
        self.transport.write(data, self.patience)

    def _resend(self) -> None:
        """All that is unanswered, oldest first. The zero ends what the board may have of a broken frame."""
        missing = [sent for sent in self._in_flight if sent.reply is None]
        if missing:
            self.transport.write(b"\0", self.patience)
        for sent in missing:
            self._transmit(sent)

    def _await_oldest(self) -> None:
        """Until the oldest request is answered. What is broken or not answered in time is sent again."""
        oldest, progress = self._in_flight[0], time.monotonic()
        patience, asked = self.patience + SLOW.get(oldest.op, 0.0), False
        while oldest.reply is None:
            until = min(oldest.at + self._round_trips[oldest.op].timeout, progress + patience)
            for reply in self._replies(until):
                if reply is not None and self._take(reply):
                    progress, asked = time.monotonic(), False
                elif reply is None or reply.op == Op.BAD_FRAME or reply.status == Status.SEQUENCE:
                    if not asked and oldest.reply is None:
                        self._resend()
                    asked = True
            if oldest.reply is None and (now := time.monotonic()) >= until:
                if now >= progress + patience:
                    raise LineLost(
                        f"{self.transport.name}: no answer for {patience:g} s",
                        hint="reset the board, or look at its cable and power",
                    )
                self._round_trips[oldest.op].back_off()
                asked = False
                self._resend()

    def _take(self, reply: Reply) -> bool:
        """Whether the reply is the awaited answer to something under way; others change nothing."""
        if reply.op == Op.BAD_FRAME or (
            reply.status not in (Status.SEQUENCE, Status.SESSION) and reply.session != self.session
        ):
            return False
        for sent in self._in_flight:
            if sent.sequence == reply.sequence and sent.op == reply.op and sent.reply is None:
                break
        else:
            return False
        if reply.status == Status.SESSION:
            if reply.session == self.session:
                return False  # late: said of an older session's request
            self._lose()
        if reply.status == Status.SEQUENCE:
            if reply.session == self.session and not self._explained(sent, reply):
                self._strays += 1
                if self._strays >= MAX_STRAYS:
                    self._lose()
            return False
        if sent.times == 1:
            self._round_trips[sent.op].add(time.monotonic() - sent.at)
        self._round_trips[sent.op].answered()
        self._strays = 0
        sent.reply = reply
        return True

    def _explained(self, refused: _Sent, reply: Reply) -> bool:
        """Whether the board waits for a frame before the refused one that is under way still."""
        wanted = int.from_bytes(reply.body[:2], "little")
        before = [sent.sequence for sent in self._in_flight]
        return wanted in before[: before.index(refused.sequence) + 1]

    def _lose(self) -> NoReturn:
        raise SessionLost(f"{self.transport.name}: the board was reset, or another host spoke to it")

    def _replies(self, until: float) -> Iterator[Reply | None]:
        """What came: replies, and None for what was no frame. One batch, or none when the time is over."""
        data = self.transport.read(max(0.0, until - time.monotonic()))
        self.counts.bytes_in += len(data)
        bad = self._reader.bad
        found = [protocol.parse_reply(payload) for payload in self._reader.feed(data)]
        bad = self._reader.bad - bad
        self.counts.bad_replies += bad
        self.counts.replies += len(found)
        yield from (reply for reply in found if reply is not None)
        if bad:
            yield None
