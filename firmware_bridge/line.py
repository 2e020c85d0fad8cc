"""Requests over a line that may drop, flip and repeat bytes: each is carried out once, in order, or an error ends it.

Go-back-N with the board's window: what is unanswered for longer than measured round trips explain is sent again;
the board answers what it knows from its cache. PROTOCOL.md says why no sample is ever trained twice.
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
from firmware_bridge.transport import LineLost, Transport

FIRST_TIMEOUT_S = 1.0
MIN_TIMEOUT_S = 0.05
MAX_TIMEOUT_S = 4.0
MAX_SENDS = 60
"""Times that one frame is sent before the line is given up: at two bytes in a thousand damaged, one in 10^30."""

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


class RoundTrip:
    """How long to wait for an answer: smoothed round trips and their deviation (RFC 6298)."""

    def __init__(self) -> None:
        self._mean: float | None = None
        self._deviation = 0.0
        self._backoff = 1.0

    def add(self, seconds: float) -> None:
        """Take in the round trip of a frame that was sent once."""
        if self._mean is None:
            self._mean, self._deviation = seconds, seconds / 2
        else:
            self._deviation += (abs(seconds - self._mean) - self._deviation) / 4
            self._mean += (seconds - self._mean) / 8
        self._backoff = 1.0

    def back_off(self) -> None:
        """No answer came in time: wait twice as long for the next."""
        self._backoff = min(self._backoff * 2, 64.0)

    @property
    def timeout(self) -> float:
        """Seconds to wait for an answer."""
        base = FIRST_TIMEOUT_S if self._mean is None else self._mean + 4 * self._deviation
        return min(max(base, MIN_TIMEOUT_S) * self._backoff, MAX_TIMEOUT_S)


@dataclass
class _Sent:
    op: Op
    body: bytes
    sequence: int
    data: bytes
    at: float = 0.0
    times: int = 0
    reply: Reply | None = field(default=None, repr=False)


class Line:
    """A session with a board over a transport.

    hello: what the board said of itself.  counts: what went over the line.
    patience: seconds without any answer after which the line is opened anew, and after twice that given up.
    """

    def __init__(self, transport: Transport, *, patience: float = 10.0) -> None:
        self.transport, self.patience = transport, patience
        self.counts = Counts()
        self.hello: Hello
        self.session = 0
        self._sequence = 0
        self._reader = frame.FrameReader()
        self._round_trip = RoundTrip()
        self._in_flight: deque[_Sent] = deque()

    def connect(self, timeout: float = 5.0) -> Hello:
        """Open the line and begin a session.

        Raises:
            NoDeviceError: nobody answers within timeout seconds, or not as an edgehff board does.
        """
        self.transport.open()
        try:
            return self.begin(timeout)
        except LineLost as error:
            raise NoDeviceError(error.message, hint=error.hint) from error

    def begin(self, timeout: float) -> Hello:
        """Begin a new session on the open line."""
        self.session = secrets.randbelow(2**32 - 1) + 1
        self._sequence = secrets.randbelow(2**16)
        self._in_flight.clear()
        self._reader.clear()
        deadline, noise = time.monotonic() + timeout, 0
        data = frame.encode(protocol.request(Op.HELLO, self._sequence, self.session))
        while (now := time.monotonic()) < deadline:
            self._send(b"\0" + data, resent=noise > 0)
            for reply in self._replies(until=min(deadline, now + 0.5), ops={Op.HELLO}):
                hello = protocol.parse_hello(reply)
                if hello is None or reply.session != self.session:
                    continue
                if hello.version != protocol.VERSION:
                    raise NoDeviceError(
                        f"{self.transport.name} speaks version {hello.version} of the link, "
                        f"this edgehff {protocol.VERSION}",
                        hint="build its firmware again: edgehff firmware build",
                    )
                self.hello = hello
                return hello
            noise = max(noise, self._reader.noise)
        self._nobody(timeout, noise)

    def _nobody(self, timeout: float, noise: int) -> NoReturn:
        name = self.transport.name
        if noise:
            raise NoDeviceError(
                f"{name}: {noise} bytes came in {timeout:g} s, but no frame: another program, or a wrong baud rate",
                hint="give the firmware's baud rate: --baud 115200",
            )
        raise NoDeviceError(
            f"{name}: nothing answered in {timeout:g} s",
            hint="is edgehff firmware on the board? edgehff firmware build, then flash it",
        )

    def close(self) -> None:
        """End the session; the board keeps what it learned."""
        self.transport.close()

    def exchange(self, requests: Iterable[tuple[Op, bytes]]) -> Iterator[Reply]:
        """Send the requests in order, several at a time where the board has room; their replies in order.

        Requests that change something and others are never under way together, so that repeating one that
        changes nothing gives what it gave.

        Raises:
            SessionLost: the board was reset.
            LineLost: the line broke, or was silent for patience seconds; resume() goes on.
        """
        source = iter(requests)
        waiting: tuple[Op, bytes] | None = next(source, None)
        while waiting is not None or self._in_flight:
            while waiting is not None and self._has_room(waiting):
                self._post(*waiting)
                waiting = next(source, None)
            self._await_one()
            while self._in_flight and self._in_flight[0].reply is not None:
                reply = self._in_flight.popleft().reply
                assert reply is not None
                yield reply

    def resume(self) -> None:
        """Open a broken line anew and send again what is unanswered. SessionLost: the board has forgotten it."""
        self.counts.reopened += 1
        self.transport.open()
        self._reader.clear()
        if not self._in_flight:
            self._post(Op.CRC, b"")
            self._await_one()
            if self._in_flight[0].reply is None:
                raise LineLost(f"{self.transport.name}: nothing answers")
            self._in_flight.popleft()
            return
        self._resend()

    def unanswered(self) -> list[tuple[Op, bytes]]:
        """What was sent and not answered, oldest first; it is forgotten here."""
        left = [(sent.op, sent.body) for sent in self._in_flight if sent.reply is None]
        self._in_flight.clear()
        return left

    def _has_room(self, request: tuple[Op, bytes]) -> bool:
        if not self._in_flight:
            return True
        if self.hello.ring_bytes == 0 or len(self._in_flight) >= self.hello.window:
            return False
        op = request[0]
        if (op in protocol.CHANGING) != (self._in_flight[0].op in protocol.CHANGING):
            return False
        behind = sum(len(sent.data) for sent in list(self._in_flight)[1:])
        return behind + len(request[1]) + 24 <= self.hello.ring_bytes

    def _post(self, op: Op, body: bytes) -> None:
        self._sequence = (self._sequence + 1) % 2**16
        data = frame.encode(protocol.request(op, self._sequence, self.session, body))
        sent = _Sent(op, body, self._sequence, data)
        self._in_flight.append(sent)
        self._transmit(sent)

    def _transmit(self, sent: _Sent) -> None:
        if sent.times == MAX_SENDS:
            raise DeviceError(
                f"{self.transport.name}: {sent.op.name} was sent {MAX_SENDS} times, and refused or lost each time",
                hint="a shorter cable or a lower baud rate; edgehff device hello shows how many frames arrive broken",
            )
        sent.at = time.monotonic()
        self._send(sent.data, resent=sent.times > 0)
        sent.times += 1

    def _send(self, data: bytes, *, resent: bool = False) -> None:
        self.counts.frames += 1
        self.counts.resent += resent
        self.counts.bytes_out += len(data)
        self.transport.write(data, self.patience)

    def _resend(self) -> None:
        """All that is unanswered, oldest first. The zero ends whatever the board may have of a broken frame."""
        first = True
        for sent in self._in_flight:
            if sent.reply is None:
                if first:
                    self.transport.write(b"\0", self.patience)
                self._transmit(sent)
                if self.hello.ring_bytes == 0:
                    return
                first = False

    def _await_one(self) -> None:
        """Until the oldest request is answered. What is not answered in time is sent again."""
        oldest, silent_since = self._in_flight[0], time.monotonic()
        answered_resend = False
        while oldest.reply is None:
            allowed = self._round_trip.timeout + SLOW.get(oldest.op, 0.0)
            until = oldest.at + allowed
            heard = False
            for reply in self._replies(until=until):
                heard = True
                silent_since = time.monotonic()
                if self._take(reply):
                    answered_resend = False
                elif not answered_resend:
                    answered_resend = True
                    self._resend()
                if oldest.reply is not None:
                    return
            if oldest.reply is None and not heard:
                if time.monotonic() - silent_since > self.patience:
                    raise LineLost(
                        f"{self.transport.name}: no answer for {self.patience:g} s",
                        hint="reset the board, or look at its cable and power",
                    )
                self._round_trip.back_off()
                answered_resend = False
                self._resend()

    def _take(self, reply: Reply) -> bool:
        """Whether the reply answers something. False: the board missed a frame, and asks for it."""
        if reply.op == Op.BAD_FRAME or reply.status == Status.SEQUENCE:
            return False
        lost = reply.status == Status.SESSION
        for sent in self._in_flight:
            if sent.sequence == reply.sequence and sent.op == reply.op:
                if lost == (reply.session == self.session):
                    continue  # a late answer to another session
                if lost:
                    raise SessionLost(
                        f"{self.transport.name}: the board was reset, or another host spoke to it"
                    )
                if sent.reply is None and sent.times == 1:
                    self._round_trip.add(time.monotonic() - sent.at)
                sent.reply = sent.reply or reply
                return True
        return True  # an answer that came twice

    def _replies(self, until: float, ops: set[Op] | None = None) -> Iterator[Reply]:
        """Replies as they come, until one batch came or the time is over."""
        while True:
            left = until - time.monotonic()
            data = self.transport.read(max(0.0, left))
            if data:
                self.counts.bytes_in += len(data)
                bad = self._reader.bad
                found = [protocol.parse_reply(payload) for payload in self._reader.feed(data)]
                self.counts.bad_replies += self._reader.bad - bad
                good = [r for r in found if r is not None and (ops is None or r.op in ops)]
                self.counts.replies += len(good)
                yield from good
                if good:
                    return
            if left <= 0:
                return
