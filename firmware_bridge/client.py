"""A board that trains: push a model, stream samples, pull what it learned; exact whatever the line does."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from itertools import chain, islice

import numpy as np
from numpy.typing import NDArray

from edgehff.errors import DeviceError, ShapeError
from firmware_bridge import protocol
from firmware_bridge.line import Line
from firmware_bridge.protocol import Hello, Op, Reply, Stats, Status, Which
from firmware_bridge.recovery import WINDOW, Checkpoint, Interrupted, Recovery
from firmware_bridge.transport import Transport

CHECKPOINT_EVERY = 1000


class Device:
    """A board behind a transport.

    transport: the line to it.
    patience: seconds of silence that are borne before the line is opened anew.
    deadline: seconds without an answer, the line broken or not, after which DeviceError is raised.
    checkpoint_every: training steps between two reads of the board's state; so many samples are kept here.

    Every method raises:
        DeviceError: the board refused, or answered no more; connect() then begins anew.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        patience: float = 5.0,
        deadline: float = 30.0,
        checkpoint_every: int = CHECKPOINT_EVERY,
    ) -> None:
        self.line = Line(transport, patience=patience)
        self._recovery = Recovery(self.line, deadline)
        self._every = max(1, checkpoint_every)

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def connect(self, timeout: float = 5.0) -> Hello:
        """Open the line and begin a session. NoDeviceError where no edgehff board answers in time."""
        self._recovery.start()
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
            ModelFileError: the bytes are no model; or the board refuses it, and has none then.
        """
        for _ in protocol.pieces(blob, self.hello.frame_bytes):
            pass  # before anything is sent: whether they can be made
        if self._recovery.is_clear:
            self._recovery.forget()
        else:
            self._recovery.drop()
        for _ in self._recovery.tries():
            pieces = protocol.pieces(blob, self.hello.frame_bytes)
            try:
                for _ in self._recovery.replies(pieces, retry=False, know=False):
                    pass
            except Interrupted:
                continue
            self._recovery.forget(Checkpoint(blob))
            return

    def pull(self) -> bytes:
        """The board's model as it is now, as a blob."""
        return _whole(self._recovery.in_one_session(self._pull))

    def train(self, samples: Iterable[tuple[NDArray[np.generic], int]]) -> Iterator[int]:
        """Train on (raw sample, label) pairs, each once and in order; yields the class answered before each.

        Where this is left before its end, or samples raises, what was sent is learned and nothing else is.

        Raises:
            ShapeError: a sample or label does not fit the model on the board; those before it are learned.
        """
        source = iter(samples)
        for first in source:
            state = self._kept()
            raw_bytes, n_classes = state.raw_bytes, state.n_classes
            frame_bytes = self.hello.frame_bytes
            some = chain([first], islice(source, self._every - len(state.done) - 1))
            requests = (
                (Op.TRAIN, protocol.sample(_label(label, n_classes), raw, raw_bytes, frame_bytes))
                for raw, label in some
            )
            # Without an encoder the board may refuse a sample for its values: none may be behind it by then.
            window = WINDOW if state.has_encoder else 1
            for reply in self._recovery.replies(requests, window=window):
                yield int.from_bytes(reply.body[:2], "little")

    def predict(self, samples: Iterable[NDArray[np.generic]]) -> Iterator[int]:
        """The class of each raw sample. ShapeError for one of another size."""
        for reply in self._ask(samples, 0):
            yield int.from_bytes(reply.body[:2], "little")

    def scores(self, samples: Iterable[NDArray[np.generic]]) -> Iterator[NDArray[np.int32]]:
        """The joined log2-probabilities of each raw sample, Q16. ShapeError for one of another size."""
        for reply in self._ask(samples, 1):
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
        self._kept()
        state = self.crc()[1]
        for _ in self._recovery.tries():
            try:
                return int.from_bytes(self._one(Op.SAVE, retry=False).body[:4], "little")
            except Interrupted:  # perhaps after the board had saved
                number, found = self._recovery.in_one_session(self._newest_save)
            if found == state:
                return number
            self._recovery.put_back_here()
        raise AssertionError  # pragma: no cover

    def load(self, which: Which = Which.SAVED) -> int:
        """Go back to what was saved, or to the factory's model; the number of that save."""
        self._recovery.untouched = None
        self._recovery.settle()

        def loaded() -> tuple[Reply, bytes]:
            reply = self._recovery.answer(Op.LOAD, bytes([which]))
            return reply, self._pull(know=False) if reply.status == Status.OK else b""

        reply, blob = self._recovery.in_one_session(loaded)
        if reply.status not in (Status.OK, Status.EMPTY) and self._recovery.checkpoint is not None:
            self._recovery.put_back_here()
        protocol.check(Op.LOAD, reply)
        self._recovery.forget(Checkpoint(_whole(blob)))
        return int.from_bytes(reply.body[:4], "little")

    def _newest_save(self) -> tuple[int, int | None]:
        """Load the newest save; its number and state_crc32, or None where there is none."""
        reply = self._recovery.answer(Op.LOAD, bytes([Which.SAVED]))
        if reply.status != Status.OK:
            return 0, None
        return int.from_bytes(reply.body[:4], "little"), self.crc()[1]

    def _ask(self, samples: Iterable[NDArray[np.generic]], flags: int) -> Iterator[Reply]:
        source = iter(samples)
        for first in source:  # the rest goes in the same stream
            state = self._recovery.checkpoint
            raw_bytes = None if state is None else state.raw_bytes
            frame_bytes = self.hello.frame_bytes
            yield from self._recovery.replies(
                (Op.PREDICT, protocol.sample(flags, raw, raw_bytes, frame_bytes))
                for raw in chain([first], source)
            )

    def _pull(self, *, know: bool = True) -> bytes:
        piece = self.hello.frame_bytes - 24
        first = self._one(Op.PULL, struct.pack("<IH", 0, piece), know=know)
        whole, out = int.from_bytes(first.body[:4], "little"), bytearray(first.body[4:])
        offsets = range(len(out), whole, piece)
        rest = ((Op.PULL, struct.pack("<IH", at, piece)) for at in offsets)
        for reply in self._recovery.replies(rest, know=know):
            out += reply.body[4:]
        return bytes(out)

    def _kept(self) -> Checkpoint:
        """A checkpoint with room for another step."""
        self._recovery.settle()
        state = self._recovery.checkpoint
        if state is None or len(state.done) >= self._every:
            state = Checkpoint(self.pull())
            self._recovery.forget(state)
        return state

    def _change(self, op: Op, body: bytes = b"") -> Reply:
        self._kept()
        return self._one(op, body)

    def _one(self, op: Op, body: bytes = b"", *, retry: bool = True, know: bool = True) -> Reply:
        (reply,) = self._recovery.replies([(op, body)], retry=retry, know=know)
        return reply


def _label(label: int, n_classes: int) -> int:
    if not 0 <= label < n_classes:
        raise ShapeError(
            f"label {label}; the model on the board has classes 0 to {n_classes - 1}",
            hint="compare the data set with the model on the board",
        )
    return label


def _whole(blob: bytes) -> bytes:
    if zlib.crc32(blob[:-4]) != int.from_bytes(blob[-4:], "little"):
        raise DeviceError("what the board sent is no whole model", hint="pull it again")
    return blob
