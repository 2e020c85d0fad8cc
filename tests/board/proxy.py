"""A line that damages what passes, from a seed: bytes, whole frames, and the line itself."""

import random
from collections import deque
from collections.abc import Callable

from firmware_bridge.transport import LineLost, Transport

HELLO = 1


class Faulty:
    """A Transport around another one.

    rate: faults a byte, in both directions: lost, flipped, doubled, bursts of both kinds, noise in between.
    repeats: chance that an older whole frame comes again behind a frame; HELLOs of old sessions among them.
    breaks: chance that a read or write breaks the line, most_breaks times at most; one of on_break is called
    then, to do what it likes.
    is_armed: whether repeats and breaks happen; not until somebody says so.
    """

    def __init__(
        self,
        inner: Transport,
        seed: int,
        *,
        rate: float = 2e-3,
        repeats: float = 0.0,
        breaks: float = 0.0,
        most_breaks: int = 1000,
        on_break: tuple[Callable[[], None], ...] = (),
    ) -> None:
        self.inner, self.rate, self.repeats, self.breaks, self.on_break = (
            inner,
            rate,
            repeats,
            breaks,
            on_break,
        )
        self.most_breaks = most_breaks
        self.name = inner.name
        self.counts = dict.fromkeys(("lost", "flipped", "doubled", "burst", "garbled", "noise"), 0)
        self.counts |= {"repeated": 0, "broken": 0}
        self._random = {side: random.Random(f"{seed} {side}") for side in ("out", "in", "line")}  # noqa: S311
        self._skip = dict.fromkeys(("out", "in"), 0)
        self._frames: deque[bytes] = deque(maxlen=24)
        self._hellos: list[bytes] = []
        self._replies: deque[bytes] = deque(maxlen=24)
        self._reply = bytearray()
        self._is_broken = False
        self.is_armed = False

    def open(self) -> None:
        self.inner.open()
        self.name = self.inner.name
        self._is_broken = False

    def close(self) -> None:
        self.inner.close()

    def read(self, timeout: float) -> bytes:
        self._may_break()
        data = self.inner.read(timeout)
        for byte in data:
            self._reply.append(byte)
            if byte == 0:
                self._replies.append(bytes(self._reply))
                self._reply.clear()
        if data and self._replies and self._chance(self.repeats):
            data += self._random["line"].choice(self._replies)
        return self._damaged(data, "in")

    def write(self, data: bytes, timeout: float) -> None:
        self._may_break()
        self._remember(data)
        self.inner.write(self._damaged(data, "out"), timeout)
        if self._chance(self.repeats):
            again = self._random["line"].choice([*self._frames, *self._hellos])
            self.inner.write(self._damaged(again, "out"), timeout)

    def _remember(self, data: bytes) -> None:
        if len(data) < 8:
            return
        self._frames.append(data)
        if data[:3] == bytes([0, 2, HELLO]):
            self._hellos.append(data)

    def _chance(self, share: float) -> bool:
        happens = self.is_armed and self._random["line"].random() < share
        self.counts["repeated"] += happens
        return happens

    def _may_break(self) -> None:
        may = self.is_armed and not self._is_broken and self.counts["broken"] < self.most_breaks
        if may and self._random["line"].random() < self.breaks:
            self._is_broken = True
            self.counts["broken"] += 1
            if self.on_break:
                self._random["line"].choice(self.on_break)()
        if self._is_broken:
            raise LineLost(f"{self.name}: broken by the test")

    def _damaged(self, data: bytes, side: str) -> bytes:
        chance, out, counts = self._random[side], bytearray(), self.counts
        for byte in data:
            if self._skip[side]:
                self._skip[side] -= 1
                continue
            if chance.random() >= self.rate:
                out.append(byte)
                continue
            kind = chance.choice(("lost", "flipped", "doubled", "burst", "garbled", "noise"))
            counts[kind] += 1
            if kind == "flipped":
                out.append(byte ^ 1 << chance.randrange(8))
            elif kind == "doubled":
                out += bytes([byte, byte])
            elif kind == "burst":
                self._skip[side] = chance.randrange(2, 40)
            elif kind == "garbled":
                out += chance.randbytes(chance.randrange(2, 12))
            elif kind == "noise":
                out += bytes([byte]) + chance.randbytes(chance.randrange(1, 6))
        return bytes(out)
