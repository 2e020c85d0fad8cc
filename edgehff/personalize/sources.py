"""Where samples come from: bytes of a file, a pipe or a serial line, and files that are put into a folder.

Everything here is bounded and none of it stops at what it cannot read: that is a Refusal, and the stream goes
on. None stands for a pause: nothing has come for a second.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from edgehff.data.stream import Item, parse_line
from edgehff.errors import DataError, InputError, NoDeviceError

MAX_LINE = 4 << 20
"""Bytes of a line."""
PAUSE_S = 1.0
NO_LABEL = 0xFFFF
"""In a binary record, where the label stands: none is known."""
DONE = "done"
"""The folder beside a folder's files that those that were read are moved to."""
_CHUNK = 1 << 16
_SUFFIXES = {".csv": "text", ".jsonl": "text", ".txt": "text", ".bin": "binary"}


@dataclass(frozen=True)
class Refusal:
    """What could not be read.  where: line or record.  reason: why."""

    where: str
    reason: str


Came = Item | Refusal | None
Parse = Callable[["ByteSource"], Iterator[Came]]


class ByteSource(Protocol):
    """Bytes as they come."""

    def read(self, seconds: float) -> bytes | None:
        """What has come, at most seconds later; b"" where nothing has, None where nothing more will."""

    def close(self) -> None:
        """Let go of it."""


class Descriptor:
    """A file, a pipe, a terminal or standard input."""

    def __init__(self, descriptor: int) -> None:
        """Read from an open descriptor; close() closes it."""
        self._descriptor = descriptor

    @classmethod
    def open(cls, path: Path) -> Descriptor:
        """The bytes of a file. InputError where it cannot be read."""
        try:
            return cls(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror}", hint="check the path") from error

    def read(self, seconds: float) -> bytes | None:
        """As ByteSource."""
        try:
            if not select.select([self._descriptor], [], [], seconds)[0]:
                return b""
            return os.read(self._descriptor, _CHUNK) or None
        except OSError as error:
            raise InputError(f"the stream cannot be read: {error.strerror}", hint="start again") from error

    def close(self) -> None:
        """As ByteSource."""
        os.close(self._descriptor)


class SerialPort:
    """A board, or anything else on a serial line, that writes samples by itself."""

    def __init__(self, url: str, baud: int) -> None:
        """Open a port or a URL of pyserial. NoDeviceError where nothing is there."""
        import serial  # noqa: PLC0415 (base of one source alone)

        self._url = url
        try:
            self._port = serial.serial_for_url(url, baud, timeout=0)
        except (serial.SerialException, ValueError, OSError) as error:
            raise NoDeviceError(f"cannot open {url}: {error}", hint="edgehff device list") from error
        self._error = serial.SerialException

    def read(self, seconds: float) -> bytes | None:
        """As ByteSource."""
        try:
            self._port.timeout = seconds
            first: bytes = self._port.read(1)
            if not first:
                return b""
            self._port.timeout = 0
            return first + bytes(self._port.read(_CHUNK))
        except (self._error, OSError) as error:
            raise NoDeviceError(
                f"{self._url} is gone: {error}", hint="plug it in, and start again"
            ) from error

    def close(self) -> None:
        """As ByteSource."""
        self._port.close()


def lines(source: ByteSource, width: int) -> Iterator[Came]:
    """The items of lines of text; empty lines are passed over."""
    waiting, too_long, n = bytearray(), False, 1
    while (chunk := source.read(PAUSE_S)) is not None:
        if not chunk:
            yield None
            continue
        *ended, rest = chunk.split(b"\n")
        for part in ended:
            waiting += part
            yield from _line(waiting, too_long, n, width)
            waiting, too_long, n = bytearray(), False, n + 1
        waiting += rest
        if len(waiting) > MAX_LINE:
            waiting, too_long = bytearray(), True
    if waiting.strip() and not waiting.lstrip().startswith(b"{"):
        yield Refusal(f"line {n}", "the stream ends in the middle of it")
    elif waiting or too_long:
        yield from _line(waiting, too_long, n, width)


def _line(line: bytearray, too_long: bool, n: int, width: int) -> Iterator[Came]:
    where = f"line {n}"
    if too_long or len(line) > MAX_LINE:
        yield Refusal(where, f"longer than {MAX_LINE} bytes")
        return
    try:
        text = line.decode("utf-8")
        if text.strip():
            yield parse_line(text, width)
    except UnicodeDecodeError as error:
        yield Refusal(where, f"not text: {error.reason}")
    except DataError as error:
        yield Refusal(where, error.message)


def records(source: ByteSource, width: int, dtype: np.dtype[np.generic]) -> Iterator[Came]:
    """The items of binary records: a label as uint16, NO_LABEL for none, and width values; little-endian."""
    size, n, waiting = 2 + width * dtype.itemsize, 1, bytearray()
    while (chunk := source.read(PAUSE_S)) is not None:
        if not chunk:
            yield None
        waiting += chunk
        start = 0
        while len(waiting) - start >= size:
            record = bytes(waiting[start : start + size])
            label = int.from_bytes(record[:2], "little")
            values = np.frombuffer(record, dtype.newbyteorder("<"), offset=2).astype(dtype)
            if np.isfinite(values).all():
                yield Item(values, None if label == NO_LABEL else label)
            else:
                yield Refusal(f"record {n}", "a value is NaN or infinite")
            start, n = start + size, n + 1
        del waiting[:start]
    if waiting:
        yield Refusal(f"record {n}", f"the stream ends in the middle of it: {len(waiting)} of {size} bytes")


def folder(
    path: Path, parse: dict[str, Parse], pause: Callable[[float], None] = time.sleep
) -> Iterator[Came]:
    """The items of the files that are put into a folder, in the order of their names, for ever.

    A file is read once it has its last name: write it as NAME.tmp and rename it. Then it is moved to the
    folder `done` there. A sample without an id is given FILE:NUMBER: one that was learned is known again.

    parse: how a file is read, by its suffix.

    Raises:
        InputError: the folder cannot be read, or a file cannot be moved.
    """
    try:
        (path / DONE).mkdir(exist_ok=True)
        while True:
            names = sorted(p.name for p in path.iterdir() if p.suffix in parse and p.is_file())
            for name in names:
                yield from _file(path / name, parse[(path / name).suffix])
                os.replace(path / name, path / DONE / name)  # noqa: PTH105
            if not names:
                yield None
                pause(PAUSE_S / 2)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}", hint="check the folder and its rights") from error


def _file(path: Path, parse: Parse) -> Iterator[Came]:
    source = Descriptor.open(path)
    try:
        for n, came in enumerate(parse(source), start=1):
            if isinstance(came, Item) and came.sample_id is None:
                yield replace(came, sample_id=f"{path.name}:{n}")
            elif isinstance(came, Refusal):
                yield Refusal(f"{path.name}, {came.where}", came.reason)
            else:
                yield came
    finally:
        source.close()


def by_suffix(width: int, dtype: np.dtype[np.generic]) -> dict[str, Parse]:
    """How files are read, by the ends of their names."""
    return {suffix: parser(form, width, dtype) for suffix, form in _SUFFIXES.items()}


def parser(form: str, width: int, dtype: np.dtype[np.generic]) -> Parse:
    """How bytes are read: form is "text" or "binary"."""
    if form == "binary":
        return lambda source: records(source, width, dtype)
    return lambda source: lines(source, width)
