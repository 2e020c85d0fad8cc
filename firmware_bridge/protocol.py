"""Requests and replies as bytes: the host's side of PROTOCOL.md; the board's is link/src/requests.c."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum, IntFlag

import numpy as np
from numpy.typing import NDArray

from edgehff import core
from edgehff.errors import DeviceError, ModelFileError, ShapeError
from firmware_bridge.frame import encoded_bytes

VERSION = 1
REPLY = 0x80
_REQUEST_HEAD = struct.Struct("<BBHI")
_REPLY_HEAD = struct.Struct("<BbHII")
_HELLO = struct.Struct("<BBHHBBIIII")
_STATS = struct.Struct("<9I")
REQUEST_BYTES = _REQUEST_HEAD.size
"""Of a request, before its body."""
_PUSH_BYTES = 17  # header, offset, CRC and the first byte of COBS
_BLOB_FIRST = 60
_BLOB_LENGTH_AT = 40
_NO_ARENA = -4
_LAYER = 16
_CONV = 36
_CONV_VERSION = 2
_DEPTHWISE = 2


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


def pieces(blob: bytes, frame_bytes: int) -> Iterator[tuple[Op, bytes]]:
    """The requests that push a blob; the first holds the head and the table of layers.

    Raises:
        ModelFileError: it is none, or its table does not fit the board's frame.
    """
    if len(blob) < _BLOB_FIRST + _LAYER:
        raise ModelFileError(f"{len(blob)} bytes are no model", hint="edgehff train makes one")
    if (whole := int.from_bytes(blob[_BLOB_LENGTH_AT : _BLOB_LENGTH_AT + 4], "little")) != len(blob):
        raise ModelFileError(
            f"a model of {whole} bytes, of which there are {len(blob)}",
            hint="take the file from its source again",
        )
    room = frame_bytes - _PUSH_BYTES - frame_bytes // 254
    first = _arrays_at(blob)
    if first > room:
        raise ModelFileError(
            f"the table of {blob[6]} layers takes a frame of {first + _PUSH_BYTES} bytes, "
            f"the board has {frame_bytes}",
            hint="build its firmware for this model: edgehff firmware build MODEL",
        )
    for offset in range(0, len(blob), room):
        yield Op.PUSH, struct.pack("<I", offset) + blob[offset : offset + room]


def raw_bytes(blob: bytes) -> int:
    """Bytes of one sample of the blob's model: MODEL_FORMAT.md."""
    arith, proto_bits = blob[7], blob[10]
    n_classes, n_per_class = struct.unpack_from("<HH", blob, 12)
    if blob[30:32] == bytes(2):
        return 2 * int.from_bytes(blob[44:48], "little")
    at, prototypes = _arrays_at(blob), n_classes * n_per_class
    for n_out, n_in, head in _matrices(blob):
        at += n_out * n_in * (1 + arith)
        at += prototypes * (2 * head if proto_bits == 16 else head + 2)
    n_time, n_channels = struct.unpack_from("<HH", blob, at + 8)
    return int(n_time) * int(n_channels) * (2 if blob[at] == 2 else 1)


def _has_conv(blob: bytes) -> bool:
    return blob[4] == _CONV_VERSION


def _arrays_at(blob: bytes) -> int:
    """Where the tables of a blob end."""
    return _BLOB_FIRST + (_LAYER + (_CONV if _has_conv(blob) else 0)) * blob[6]


def _matrices(blob: bytes) -> Iterator[tuple[int, int, int]]:
    """Rows and columns of each layer's weights, and elements of its prototypes."""
    n_layers, (elements,) = blob[6], struct.unpack_from("<I", blob, 44)
    for layer in range(n_layers):
        (n_out,) = struct.unpack_from("<I", blob, _BLOB_FIRST + _LAYER * layer)
        n_in, head, given = elements, n_out, n_out
        if _has_conv(blob):
            fields = struct.unpack_from("<18H", blob, _BLOB_FIRST + _LAYER * n_layers + _CONV * layer)
            channels, kind, grid, size = (
                fields[2],
                fields[3],
                fields[13] * fields[14],
                fields[15] * fields[16],
            )
            if kind:
                n_in = fields[4] * fields[5] * (1 if kind == _DEPTHWISE else channels)
                head, given = n_out * grid, n_out * size
        yield n_out, n_in, head
        elements = given


def sample(word: int, raw: NDArray[np.generic], wanted: int | None, frame_bytes: int) -> bytes:
    """The body of TRAIN (word: the label) or PREDICT (word: flags).

    wanted: bytes of a sample, where they are known.

    Raises:
        ShapeError: the sample has another size, or does not fit the board's frame.
    """
    little = np.ascontiguousarray(raw, raw.dtype.newbyteorder("<"))
    found = f"a sample of {little.nbytes} bytes ({little.dtype}, shape {little.shape})"
    if wanted is not None and little.nbytes != wanted:
        raise ShapeError(
            f"{found}; the model on the board takes {wanted}",
            hint="compare the sample with the model on the board",
        )
    body = struct.pack("<HH", word, 0) + little.tobytes()
    if encoded_bytes(REQUEST_BYTES + len(body)) > frame_bytes + 1:
        raise ShapeError(
            f"{found} does not fit a frame of the board, {frame_bytes} bytes",
            hint="build its firmware for this model: edgehff firmware build MODEL",
        )
    return body


def check(op: Op, reply: Reply) -> None:
    """The error that a refusal means."""
    status = reply.status
    if status == Status.OK:
        return
    text = STATUS_TEXT[Status(status)] if status in STATUS_TEXT else core.status_text(status)
    text = "it does not fit the arena of the firmware" if status == _NO_ARENA else text
    message = f"the board refused {op.name}: {text} ({status})"
    if op == Op.PUSH:
        raise ModelFileError(message, hint="build its firmware for this model: edgehff firmware build MODEL")
    if op in (Op.TRAIN, Op.PREDICT) and status in (-2, -3, -6, Status.LENGTH):
        raise ShapeError(message, hint="compare the sample and its label with the model on the board")
    hints = {
        Status.MODEL: "edgehff device push MODEL",
        Status.OP: "build its firmware again: edgehff firmware build",
        Status.STORAGE: "edgehff device hello shows whether the board can save",
        Status.EMPTY: "edgehff device save",
    }
    raise DeviceError(message, hint=next((hint for known, hint in hints.items() if known == status), ""))
