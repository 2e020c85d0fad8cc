"""Frames of the link: COBS, closed by CRC-32 and one zero. The board's side is link/src/frame.c."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from cobs import cobs

MAX_ENCODED = 70_000
CRC_BYTES = 4


def encode(payload: bytes) -> bytes:
    """The bytes that go over the line for payload, with the zero that ends them."""
    return bytes(cobs.encode(payload + zlib.crc32(payload).to_bytes(CRC_BYTES, "little"))) + b"\0"


def encoded_bytes(payload_bytes: int) -> int:
    """The most bytes that a frame of such a payload takes, its zero included."""
    n = payload_bytes + CRC_BYTES
    return n + n // 254 + 2


def decode(encoded: bytes) -> bytes | None:
    """The payload of a frame without its zero; None where it is none or its CRC is wrong."""
    try:
        data = bytes(cobs.decode(encoded))
    except cobs.DecodeError:
        return None
    payload, crc = data[:-CRC_BYTES], data[-CRC_BYTES:]
    if len(crc) < CRC_BYTES or zlib.crc32(payload) != int.from_bytes(crc, "little"):
        return None
    return payload


class FrameReader:
    """Bytes in as they come, payloads out. What is no frame is dropped and counted.

    bad: frames dropped.  noise: bytes seen since the last good frame.
    """

    def __init__(self) -> None:
        self._pending = bytearray()
        self._skipping = False
        self.bad = 0
        self.noise = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The payloads that these bytes complete."""
        self.noise += len(data)
        self._pending += data
        while (end := self._pending.find(0)) >= 0:
            encoded, skipping = bytes(self._pending[:end]), self._skipping
            del self._pending[: end + 1]
            self._skipping = False
            if not encoded and not skipping:
                continue
            payload = None if skipping else decode(encoded)
            if payload is None:
                self.bad += 1
            else:
                self.noise = 0
                yield payload
        if len(self._pending) > MAX_ENCODED:
            self._pending.clear()
            self._skipping = True

    def clear(self) -> None:
        """Forget a frame that has begun: the line was opened anew."""
        self._pending.clear()
        self._skipping = False
