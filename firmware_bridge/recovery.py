"""Requests to a board that may be reset at any time: its state is put back, nothing is learned twice or lost.

What was learned since the last checkpoint is kept as requests, with their statuses. On a board that was reset
the checkpoint is pushed again and they are replayed: the same steps in the same order give the same bits.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import TypeVar

from edgehff.errors import DeviceError, NoDeviceError
from firmware_bridge import protocol
from firmware_bridge.line import Line, SessionLost
from firmware_bridge.protocol import Op, Reply, Status
from firmware_bridge.transport import LineLost

REOPEN_PAUSE_S = 0.2
MAX_RESTORES = 12
"""Resets that are borne while one request gets no answer: it may be what resets the board."""

NOTED = frozenset({Op.TRAIN, Op.INIT, Op.RATES, Op.ADD_CLASS})
WINDOW = 16
Request = tuple[Op, bytes]
T = TypeVar("T")


class Interrupted(Exception):  # noqa: N818 (what happened)
    """A reset came while a request that is not simply repeated was under way; the last state is put back."""


@dataclass
class Checkpoint:
    """A state that can be put back: the blob, and what was answered since, with its statuses."""

    blob: bytes
    done: list[tuple[Op, bytes, int]] = field(default_factory=list)

    @property
    def n_classes(self) -> int:
        """Classes of the model by now."""
        added = sum(op == Op.ADD_CLASS and status == Status.OK for op, _, status in self.done)
        return int.from_bytes(self.blob[12:14], "little") + added

    @property
    def raw_bytes(self) -> int:
        """Of one sample."""
        return protocol.raw_bytes(self.blob)

    @property
    def has_encoder(self) -> bool:
        """Whether samples are encoded on the board."""
        return int.from_bytes(self.blob[30:32], "little") != 0


class Recovery:
    """A line whose board comes back in the state that it should have.

    deadline: seconds without an answer, the line broken or not, after which DeviceError is raised.
    checkpoint: what is put back; None where this host did not change the board.
    untouched: CRC's answer in that case, once it was asked for: a reset may not change it unseen.
    """

    def __init__(self, line: Line, deadline: float) -> None:
        self.line = line
        self.checkpoint: Checkpoint | None = None
        self.untouched: tuple[int, bytes] | None = None
        self._deadline = deadline
        self._sent: deque[Request] = deque()  # taken, and not answered yet
        self._trouble: float | None = None  # since when there is no answer
        self._restores = 0
        self._adrift = False  # the line and what was sent do not belong together

    @property
    def is_clear(self) -> bool:
        """Whether nothing is under way, and the session goes on."""
        return not self._sent and not self._adrift

    def forget(self, checkpoint: Checkpoint | None = None) -> None:
        """The board has another state now: this one, or an unknown one."""
        self.checkpoint, self.untouched = checkpoint, None

    def start(self) -> None:
        """A session begins; nothing is known of the board, and nothing under way."""
        self.forget()
        self._sent.clear()
        self._adrift = False

    def replies(
        self, requests: Iterable[Request], *, retry: bool = True, know: bool = True, window: int = WINDOW
    ) -> Iterator[Reply]:
        """The replies in order, through broken lines and resets; a refusal is an error.

        retry: False for Interrupted where a reset comes in between.
        know: False where another state after a reset does not matter.
        """
        self.settle()
        if know and self.checkpoint is None and self.untouched is None:
            reply = self.answer(Op.CRC)
            self.untouched = reply.status, reply.body
        for request, reply in self._run(iter(requests), retry=retry, window=window):
            protocol.check(request[0], reply)
            yield reply

    def answer(self, op: Op, body: bytes = b"") -> Reply:
        """The reply to one request, a refusal too."""
        self.settle()
        ((_, reply),) = self._run(iter([(op, body)]))
        return reply

    def settle(self) -> None:
        """What a call that was left had sent is answered first: the board carries it out in any case."""
        if self._sent:
            if self.line.withdraw():
                self._sent.pop()
            for _ in self._run(iter(())):
                pass

    def drop(self) -> None:
        """Nothing that was sent or learned matters any more: the next request begins a session."""
        self.forget()
        self._sent.clear()
        self._adrift = True

    def in_one_session(self, action: Callable[[], T]) -> T:
        """What action gives when no reset came in between; it is done again where one did."""
        for session in self.tries():
            result = action()
            if self.line.session == session:
                return result
        raise AssertionError  # pragma: no cover

    def tries(self) -> Iterator[int]:
        """The session before each try; an error after too many."""
        for _ in range(MAX_RESTORES):
            yield self.line.session
        raise DeviceError(
            f"{self.line.transport.name}: the board was reset {MAX_RESTORES} times in the same place",
            hint="look at its power supply",
        )

    def put_back_here(self) -> None:
        """Put the last known state back in the session that goes on."""
        try:
            self._put_back()
        except (LineLost, SessionLost) as error:
            self._recovered(error, anew=True)

    def _run(
        self, source: Iterator[Request], *, retry: bool = True, window: int = WINDOW
    ) -> Iterator[tuple[Request, Reply]]:
        """Each request with its reply, through broken lines and resets. What source raises comes last."""
        failure: Exception | None = None
        lost: DeviceError | None = SessionLost("a restore was broken off") if self._adrift else None
        self._trouble, self._restores = None, 0

        def taken() -> Iterator[Request]:
            nonlocal failure
            try:
                for request in source:
                    self._sent.append(request)
                    yield request
            except Exception as error:
                failure = error

        while True:
            if lost is not None and not self._recovered(lost, anew=isinstance(lost, SessionLost)):
                source = chain(tuple(self._sent), source)
                self._sent.clear()
                if not retry:
                    raise Interrupted
            try:
                for reply in self.line.exchange(taken(), window):
                    request = self._sent.popleft()
                    if self.checkpoint is not None and request[0] in NOTED:
                        self.checkpoint.done.append((*request, reply.status))
                    self._trouble, self._restores = None, 0
                    yield request, reply
                break
            except (LineLost, SessionLost) as error:
                lost = error
        if failure is not None:
            raise failure

    def _recovered(self, error: DeviceError, *, anew: bool) -> bool:
        """Whether the old session goes on, on a line opened anew; else one was begun, the state put back."""
        self._trouble = self._trouble or time.monotonic()
        reopen = isinstance(error, LineLost)
        while True:
            over = time.monotonic() - self._trouble > self._deadline
            if over or self._restores >= MAX_RESTORES:
                waited = f"in {self._deadline:g} s" if over else f"after {self._restores} resets"
                raise DeviceError(f"{error.message}; no answer {waited}", hint=error.hint) from error
            try:
                if not anew:
                    self.line.resume()
                    return True
                if reopen:
                    self.line.reopen()
                self._restore()
            except SessionLost:
                anew, reopen = True, False
            except (LineLost, NoDeviceError):
                reopen = True
                time.sleep(REOPEN_PAUSE_S)
            else:
                return False

    def _restore(self) -> None:
        """Begin a session, and put back the last known state and what was learned since."""
        now = time.monotonic()
        self._restores += 1
        self._adrift = True
        self.line.begin(max(1.0, self._deadline - (now - (self._trouble or now))))
        self.line.counts.restored += 1
        self._put_back()
        self._trouble = time.monotonic()

    def _put_back(self) -> None:
        self._adrift = True
        if self.checkpoint is None:
            self._compare()
        else:
            self._replay(self.checkpoint)
        self._adrift = False

    def _replay(self, state: Checkpoint) -> None:
        pieces = protocol.pieces(state.blob, self.line.hello.frame_bytes)
        again = [*((*piece, int(Status.OK)) for piece in pieces), *state.done]
        window = WINDOW if state.has_encoder else 1
        replies = self.line.exchange(((op, body) for op, body, _ in again), window)
        for (op, _, status), reply in zip(again, replies, strict=True):
            if reply.status != status:
                protocol.check(op, reply)
                raise DeviceError(f"the board took {op.name}, which it refused before it was reset")

    def _compare(self) -> None:
        """A board that this host did not change: whether it still is what it was."""
        if self.untouched is None:
            return
        (reply,) = self.line.exchange([(Op.CRC, b"")])
        if (reply.status, reply.body) != self.untouched:
            raise DeviceError(
                "the board was reset, and what it had learned before this session is lost",
                hint="edgehff device push MODEL; edgehff device save keeps what is learned",
            )
