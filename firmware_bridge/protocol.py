"""Requests and replies as bytes: the host's side of PROTOCOL.md; the board's is link/src/requests.c."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum, IntFlag

VERSION = 1
REPLY = 0x80
_REQUEST_HEAD = struct.Struct("<BBHI")
_REPLY_HEAD = struct.Struct("<BbHII")
_HELLO = struct.Struct("<BBHHBBIIII")
_STATS = struct.Struct("<9I")


class Op(IntEnum):
    """The requests."""

    HELLO = 1
    INIT = 2
    PUSH = 3
    PULL = 4
    TRAIN = 5
    PREDICT = 6
    STATS = 7
    CRC = 8
    SAVE = 9
    LOAD = 10
    ADD_CLASS = 11
    RATES = 12
    BAD_FRAME = 0x7F  # a reply only: what came was no frame


CHANGING = frozenset({Op.INIT, Op.PUSH, Op.TRAIN, Op.SAVE, Op.LOAD, Op.ADD_CLASS, Op.RATES})
"""Requests that change what the board holds: it keeps their answers and carries none out twice."""


class Status(IntEnum):
    """The statuses of a reply that the link itself gives; others are the core's."""

    OK = 0
    FRAME = -32
    SESSION = -33
    SEQUENCE = -34
    OP = -35
    LENGTH = -36
    MODEL = -37
    OFFSET = -38
    STORAGE = -39
    EMPTY = -40


STATUS_TEXT = {
    Status.OP: "the firmware does not know this request",
    Status.LENGTH: "the request is longer or shorter than the firmware takes, or its reply would be",
    Status.MODEL: "there is no model on the board",
    Status.OFFSET: "a piece of the model does not follow the one before",
    Status.STORAGE: "the board has no room to save in, or writing it failed",
    Status.EMPTY: "nothing is saved there",
}


class Has(IntFlag):
    """What a board says that it has."""

    MODEL = 1
    STORAGE = 2
    FACTORY = 4
    SAVED = 8


class Which(IntEnum):
    """What LOAD takes."""

    SAVED = 0
    FACTORY = 1
    BEFORE = 2


@dataclass(frozen=True)
class Reply:
    """A reply. steps: training steps that the board's model has taken by now."""

    op: int
    status: int
    sequence: int
    session: int
    steps: int
    body: bytes


@dataclass(frozen=True)
class Hello:
    """What a board says of itself.

    frame_bytes: its memory for one frame, encoded.  ring_bytes: received bytes that wait while it works.
    window: requests whose answers it keeps.  session_before: the last host's session, 0 after a reset.
    stack_bytes, stack_used: room for the stack, and the most that it took so far.
    """

    version: int
    blob_version: int
    frame_bytes: int
    ring_bytes: int
    window: int
    has: Has
    session_before: int
    arena_bytes: int
    stack_bytes: int
    stack_used: int
    name: str
    steps: int


@dataclass(frozen=True)
class Stats:
    """One layer's state, and the link's.

    model_bytes: of the arena in use.  raw_bytes: of one sample.  bad_frames: what came and was no frame.
    repeats: requests that came again.  norm: running mean of |y|, Q8.
    """

    model_bytes: int
    raw_bytes: int
    bad_frames: int
    repeats: int
    n_in: int
    n_out: int
    updates: int
    saturated: int
    norm: int


def request(op: Op, sequence: int, session: int, body: bytes = b"") -> bytes:
    """A request's payload."""
    return _REQUEST_HEAD.pack(op, 0, sequence, session) + body


def parse_reply(payload: bytes) -> Reply | None:
    """The reply in a payload; None where it is none."""
    if len(payload) < _REPLY_HEAD.size or not payload[0] & REPLY:
        return None
    op, status, sequence, session, steps = _REPLY_HEAD.unpack_from(payload)
    return Reply(op & ~REPLY, status, sequence, session, steps, payload[_REPLY_HEAD.size :])


def parse_hello(reply: Reply) -> Hello | None:
    """A HELLO's reply in full; None where it is too short."""
    if len(reply.body) < _HELLO.size:
        return None
    version, blob, frame, ring, window, has, before, arena, stack, used = _HELLO.unpack_from(reply.body)
    name = reply.body[_HELLO.size :].decode("ascii", "replace")
    return Hello(version, blob, frame, ring, window, Has(has), before, arena, stack, used, name, reply.steps)


def parse_stats(reply: Reply) -> Stats:
    """A STATS' reply."""
    return Stats(*_STATS.unpack_from(reply.body))
