"""The journal: what a session was told, in order, so that its state can be made again and audited.

A segment is one file: a header, then records. Each record carries its sequence number and the first 16 bytes
of SHA-256 over the digest before it and its own bytes: a record that is torn, altered, moved or missing ends
the chain there. docs/reference/store.md is the byte table.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import BinaryIO

from edgehff.errors import StoreError

MAGIC = b"EHFFJNL1"
HEADER = struct.Struct(
    "<8s16sIIQ16s"
)  # magic, store, segment, 0, first sequence number, digest to go on from
HEAD = struct.Struct("<IB3xQ")  # bytes of the body, kind, sequence number
DIGEST_BYTES = 16
HEADER_BYTES = HEADER.size + DIGEST_BYTES
RECORD_BYTES = HEAD.size + DIGEST_BYTES
"""Of a record, besides its body."""
MAX_BODY = 1 << 20
ID_BYTES = 8
NO_ID = bytes(ID_BYTES)
_LEARN = struct.Struct(f"<HxxQ{ID_BYTES}s")


class Kind(IntEnum):
    """What a record tells: the arguments of one call of the session."""

    LEARN = 1
    ADD_CLASS = 2
    FORGET_CLASS = 3
    MARK = 4
    ROLLBACK = 5


@dataclass(frozen=True)
class Record:
    """One event.

    kind: which.  label: LEARN, FORGET_CLASS: the class's number among all names ever given.
    name: ADD_CLASS.  raw: LEARN: the sample's raw bytes.  time_ms: LEARN: wall clock, for people alone.
    sample_id: LEARN: `id_digest` of the sample's id, or NO_ID.
    """

    kind: Kind
    label: int = 0
    name: str = ""
    raw: bytes = b""
    time_ms: int = 0
    sample_id: bytes = NO_ID

    def to_bytes(self) -> bytes:
        """The body."""
        if self.kind is Kind.LEARN:
            return _LEARN.pack(self.label, self.time_ms, self.sample_id) + self.raw
        if self.kind is Kind.FORGET_CLASS:
            return struct.pack("<H", self.label)
        return self.name.encode("utf-8")

    @classmethod
    def from_bytes(cls, kind: int, body: bytes) -> Record:
        """The record of a body. ValueError where it is none."""
        try:
            which = Kind(kind)
            if which is Kind.LEARN:
                label, time_ms, sample_id = _LEARN.unpack(body[: _LEARN.size])
                return cls(which, label, raw=body[_LEARN.size :], time_ms=time_ms, sample_id=sample_id)
            if which is Kind.FORGET_CLASS:
                return cls(which, *struct.unpack("<H", body))
            return cls(which, name=body.decode("utf-8"))
        except struct.error as error:
            raise ValueError(str(error)) from error


def id_digest(sample_id: str) -> bytes:
    """What stands for a sample's id in the journal and among those that were learned."""
    return hashlib.sha256(sample_id.encode("utf-8", "surrogatepass")).digest()[:ID_BYTES]


@dataclass(frozen=True)
class Place:
    """Between two records: the segment, the bytes into it, the next sequence number, the digest so far."""

    segment: int
    offset: int
    sequence: int
    digest: bytes


def start_of(store_id: bytes, before: Place) -> tuple[bytes, Place]:
    """The header of the segment that follows before, and the place behind it."""
    fields = HEADER.pack(MAGIC, store_id, before.segment + 1, 0, before.sequence, before.digest)
    digest = _digest(b"", fields)
    return fields + digest, Place(before.segment + 1, HEADER_BYTES, before.sequence, digest)


def encode(record: Record, at: Place) -> tuple[bytes, Place]:
    """The record's bytes at that place, and the place behind it."""
    body = record.to_bytes()
    if len(body) > MAX_BODY:
        raise StoreError(
            f"a record of {len(body)} bytes; {MAX_BODY} are possible", hint="store smaller samples"
        )
    data = HEAD.pack(len(body), record.kind, at.sequence) + body
    digest = _digest(at.digest, data)
    return data + digest, Place(at.segment, at.offset + len(data) + DIGEST_BYTES, at.sequence + 1, digest)


def read(path: Path, store_id: bytes, after: Place) -> Iterator[tuple[Record, Place]]:
    """The records behind a place of a segment, each with the place behind it, up to the first torn one.

    Raises:
        StoreError: the file cannot be read, or its header is not that of this segment of this store.
    """
    try:
        with path.open("rb") as file:
            _check_header(file.read(HEADER_BYTES), store_id, after, path)
            file.seek(after.offset)
            at = after
            while (found := _next(file, at)) is not None:
                record, at = found
                yield record, at
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}", hint="check the disk") from error


def _check_header(header: bytes, store_id: bytes, at: Place, path: Path) -> None:
    fields = header[: HEADER.size]
    if len(header) < HEADER_BYTES or _digest(b"", fields) != header[HEADER.size :]:
        raise StoreError(
            f"{path}: its header is torn or altered", hint="edgehff replay FOLDER says what is whole"
        )
    magic, owner, segment, _, _, _ = HEADER.unpack(fields)
    begins = at.offset != HEADER_BYTES or header[HEADER.size :] == at.digest
    if magic != MAGIC or owner != store_id or segment != at.segment or not begins:
        raise StoreError(
            f"{path} belongs to another store, or another place of it", hint="take it out of the folder"
        )


def _next(file: BinaryIO, at: Place) -> tuple[Record, Place] | None:
    head = file.read(HEAD.size)
    if len(head) < HEAD.size:
        return None
    length, kind, sequence = HEAD.unpack(head)
    if length > MAX_BODY or sequence != at.sequence:
        return None
    rest = file.read(length + DIGEST_BYTES)
    body, digest = rest[:length], rest[length:]
    if len(digest) < DIGEST_BYTES or _digest(at.digest, head + body) != digest:
        return None
    try:
        record = Record.from_bytes(kind, body)
    except ValueError:
        return None
    return record, Place(at.segment, at.offset + RECORD_BYTES + length, sequence + 1, digest)


def _digest(before: bytes, data: bytes) -> bytes:
    return hashlib.sha256(before + data).digest()[:DIGEST_BYTES]


class Writer:
    """Appends records to one segment. What `sync` has returned for is there after a power loss.

    place: behind the last record written.
    """

    def __init__(self, path: Path, place: Place) -> None:
        """Go on behind place; what stands there is cut off. StoreError where the file cannot be written."""
        self.path, self.place = path, place
        self._broken = False
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
            if os.fstat(self._file).st_size != place.offset:
                os.ftruncate(self._file, place.offset)
                os.fsync(self._file)
            os.lseek(self._file, place.offset, os.SEEK_SET)
        except OSError as error:
            raise _refused(path, error) from error

    def append(self, record: Record) -> None:
        """Write one record. StoreError: nothing of it is in the file, and the session goes on without it."""
        if self._broken:
            raise StoreError(f"{self.path} failed before", hint="open the store again")
        data, place = encode(record, self.place)
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self._file, rest) :]
        except OSError as error:
            self._undo()
            raise _refused(self.path, error) from error
        self.place = place

    def sync(self) -> int:
        """Bring all records to the disk; returns the sequence number up to which they are there.

        Raises:
            StoreError: the disk failed; what is on it is not known, and the store has to be opened again.
        """
        try:
            os.fsync(self._file)
        except OSError as error:
            self._broken = True
            raise _refused(self.path, error) from error
        return self.place.sequence

    def close(self) -> None:
        """Let go of the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _undo(self) -> None:
        try:
            os.ftruncate(self._file, self.place.offset)
            os.lseek(self._file, self.place.offset, os.SEEK_SET)
        except OSError:
            self._broken = True


def _refused(path: Path, error: OSError) -> StoreError:
    return StoreError(
        f"cannot write {path}: {error.strerror}", hint="free some space, or check the disk's rights"
    )
