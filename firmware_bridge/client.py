"""A board that trains: push a model, stream samples, read back what it learned; exact whatever the line does.

What the board learned since the last checkpoint is kept here as requests. Where the board was reset, the
checkpoint is pushed again and the requests replayed: the same steps in the same order give the same bits.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgehff import core
from edgehff.errors import DeviceError, ModelFileError, NoDeviceError, ShapeError
from firmware_bridge import protocol
from firmware_bridge.line import Line, SessionLost
from firmware_bridge.protocol import Hello, Op, Reply, Stats, Status, Which
from firmware_bridge.transport import LineLost, Transport

CHECKPOINT_EVERY = 1000
REOPEN_PAUSE_S = 0.2
_BLOB_FIRST = 60
_LAYER = 16


@dataclass
class _Checkpoint:
    """A state that can be put back: the blob, and what was done since."""

    blob: bytes
    done: list[tuple[Op, bytes]]


class Device:
    """A board behind a transport.

    transport: the line to it.  patience: seconds of silence that are borne before the line is opened anew; after
    deadline seconds without a board the error is raised.

    Every method raises:
        DeviceError: the board refused, or answered no more.
        NoDeviceError: it did not come back.
    """

    def __init__(self, transport: Transport, *, patience: float = 5.0, deadline: float = 30.0) -> None:
        self.line = Line(transport, patience=patience)
        self._deadline = deadline
        self._checkpoint: _Checkpoint | None = None

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def connect(self, timeout: float = 5.0) -> Hello:
        """Open the line and begin a session. NoDeviceError where no edgehff board answers in time."""
        return self.line.connect(timeout)

    def close(self) -> None:
        """Close the line; the board keeps what it learned until it loses power."""
        self.line.close()

    @property
    def hello(self) -> Hello:
        """What the board said of itself when the session began."""
        return self.line.hello

    def push(self, blob: bytes) -> None:
        """Put a model on the board, in place of the one there.

        Raises:
            ModelFileError: the board refuses it: another format, or larger than its arena.
        """
        self._checkpoint = _Checkpoint(blob, [])
        for _ in self._guarded(self._pieces(blob)):
            pass

    def pull(self) -> bytes:
        """The board's model as it is now, as a blob."""
        piece = self.hello.frame_bytes - 24
        out = bytearray()
        whole = 1
        while len(out) < whole:
            body = struct.pack("<IH", len(out), min(piece, 0xFFFF))
            reply = self._one(Op.PULL, body)
            whole = int.from_bytes(reply.body[:4], "little")
            if not reply.body[4:]:
                break
            out += reply.body[4:]
        return bytes(out)

    def train(self, samples: Iterable[tuple[NDArray[np.generic], int]]) -> Iterator[int]:
        """Train on (raw sample, label) pairs, each once and in order; yields the class answered before each step.

        Raises:
            ShapeError: a sample or label does not fit the model on the board; those before it are learned.
        """
        self._need_checkpoint()
        for reply in self._guarded((Op.TRAIN, _sample(label, raw)) for raw, label in samples):
            yield int.from_bytes(reply.body[:2], "little")

    def predict(self, samples: Iterable[NDArray[np.generic]]) -> Iterator[int]:
        """The class of each raw sample."""
        for reply in self._guarded((Op.PREDICT, _sample(0, raw)) for raw in samples):
            yield int.from_bytes(reply.body[:2], "little")

    def scores(self, samples: Iterable[NDArray[np.generic]]) -> Iterator[NDArray[np.int32]]:
        """The joined log2-probabilities of each raw sample, Q16."""
        for reply in self._guarded((Op.PREDICT, _sample(1, raw)) for raw in samples):
            yield np.frombuffer(reply.body, "<i4", offset=4).astype(np.int32)

    def crc(self) -> tuple[int, int]:
        """weights_crc32 and state_crc32 of the model on the board."""
        body = self._one(Op.CRC).body
        return int.from_bytes(body[:4], "little"), int.from_bytes(body[4:8], "little")

    def steps(self) -> int:
        """Training steps that the board's model has taken."""
        return self._one(Op.CRC).steps

    def stats(self, layer: int = 0) -> Stats:
        """One layer's state, and the link's."""
        return protocol.parse_stats(self._one(Op.STATS, bytes([layer])))

    def init(self, seed: int) -> None:
        """Start the board's model again, drawn from this seed."""
        self._change(Op.INIT, struct.pack("<I", seed))

    def set_rates(self, lr_w: int, lr_p: int, gate: int, first_layer: int = 0) -> None:
        """Rates, gate and first learning layer, as the core counts them (ehff.h)."""
        self._change(Op.RATES, struct.pack("<IHHB", lr_w, lr_p, gate, first_layer))

    def add_class(self) -> int:
        """One class more; their number now."""
        return int.from_bytes(self._change(Op.ADD_CLASS).body[:2], "little")

    def save(self) -> int:
        """Keep what was learned in the board's persistent memory; the number of this save."""
        return int.from_bytes(self._one(Op.SAVE).body, "little")

    def load(self, which: Which = Which.SAVED) -> int:
        """Go back to what was saved, or to the factory's model; the number of that save."""
        reply = self._one(Op.LOAD, bytes([which]))
        self._checkpoint = None
        return int.from_bytes(reply.body, "little")

    def _need_checkpoint(self) -> None:
        if self._checkpoint is None or len(self._checkpoint.done) >= CHECKPOINT_EVERY:
            self._checkpoint = _Checkpoint(self.pull(), [])

    def _change(self, op: Op, body: bytes = b"") -> Reply:
        self._need_checkpoint()
        return self._one(op, body)

    def _one(self, op: Op, body: bytes = b"") -> Reply:
        (reply,) = self._guarded([(op, body)])
        return reply

    def _guarded(self, requests: Iterable[tuple[Op, bytes]]) -> Iterator[Reply]:
        """The replies in order, through broken lines and resets; a refusal is an error."""
        source: Iterator[tuple[Op, bytes]] = iter(requests)
        sent: list[tuple[Op, bytes]] = []

        def noting() -> Iterator[tuple[Op, bytes]]:
            for request in source:
                sent.append(request)
                yield request

        pending: Iterable[tuple[Op, bytes]] = noting()
        while True:
            try:
                for reply in self.line.exchange(pending):
                    request = sent.pop(0)
                    _check(request[0], reply)
                    self._note(request)
                    yield reply
            except LineLost as error:
                pending = self._recover(error, sent, noting())
            except SessionLost:
                self._restore()
                pending = _chain(list(sent), noting())
                self.line.unanswered()
            else:
                return

    def _note(self, request: tuple[Op, bytes]) -> None:
        op = request[0]
        if self._checkpoint is not None and op in (Op.TRAIN, Op.INIT, Op.RATES, Op.ADD_CLASS):
            self._checkpoint.done.append(request)

    def _recover(
        self, error: LineLost, sent: list[tuple[Op, bytes]], rest: Iterator[tuple[Op, bytes]]
    ) -> Iterable[tuple[Op, bytes]]:
        """Open the line until the board answers in the old session, or a new one is begun and its state put back."""
        deadline = time.monotonic() + self._deadline
        while True:
            try:
                self.line.resume()
                return rest
            except SessionLost:
                self._restore()
                self.line.unanswered()
                return _chain(list(sent), rest)
            except (LineLost, NoDeviceError) as again:
                if time.monotonic() > deadline:
                    raise DeviceError(
                        f"{error.message}; it did not come back in {self._deadline:g} s", hint=error.hint
                    ) from again
                time.sleep(REOPEN_PAUSE_S)

    def _restore(self) -> None:
        """Put the last known state back on a board that was reset, and replay what was learned since."""
        self.line.begin(self._deadline)
        self.line.counts.restored += 1
        state = self._checkpoint
        if state is None:
            return  # nothing was changed by this host
        for op, reply in zip(
            _ops(state, self._pieces), self.line.exchange(_requests(state, self._pieces)), strict=True
        ):
            _check(op, reply)

    def _pieces(self, blob: bytes) -> Iterator[tuple[Op, bytes]]:
        """The blob in pieces that fit the board's frame; the first holds the head and the table of layers."""
        if len(blob) < _BLOB_FIRST + _LAYER:
            raise ModelFileError(f"{len(blob)} bytes are no model", hint="edgehff train makes one")
        room = self.hello.frame_bytes - 17 - self.hello.frame_bytes // 254  # header, offset, CRC, COBS
        first = _BLOB_FIRST + _LAYER * blob[6]
        if first > room:
            raise ModelFileError(
                f"the table of {blob[6]} layers takes a frame of {first + 17} bytes, "
                f"the board has {self.hello.frame_bytes}",
                hint="build its firmware for this model: edgehff firmware build MODEL",
            )
        for offset in range(0, len(blob), room):
            yield Op.PUSH, struct.pack("<I", offset) + blob[offset : offset + room]


def _requests(state: _Checkpoint, pieces: object) -> Iterator[tuple[Op, bytes]]:
    yield from pieces(state.blob)  # type: ignore[operator]
    yield from state.done


def _ops(state: _Checkpoint, pieces: object) -> Iterator[Op]:
    for op, _ in _requests(state, pieces):
        yield op


def _chain(first: list[tuple[Op, bytes]], rest: Iterator[tuple[Op, bytes]]) -> Iterator[tuple[Op, bytes]]:
    yield from first
    yield from rest


def _sample(word: int, raw: NDArray[np.generic]) -> bytes:
    little = raw.dtype.newbyteorder("<")
    return struct.pack("<HH", word, 0) + np.ascontiguousarray(raw, little).tobytes()


def _check(op: Op, reply: Reply) -> None:
    status = reply.status
    if status == Status.OK:
        return
    if status in protocol.STATUS_TEXT:
        text = protocol.STATUS_TEXT[Status(status)]
    else:
        text = core.status_text(status)
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
    raise DeviceError(message, hint=hints.get(Status(status), "") if status <= -32 else "")
