"""A disk whose power fails: real calls of os are logged, and what a cut may leave of them is laid out again.

What counts as safe is what POSIX promises: the bytes of a file after fsync of the file, its name after fsync
of its folder. All else may be there or not: unsynced writes in part and out of order, by blocks of 512 bytes;
names in the order in which they were given.
"""

from __future__ import annotations

import copy
import os
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BLOCK = 512


@dataclass
class Inode:
    """A file: what is safe of it, and what was done to it since."""

    safe: bytes = b""
    undone: list[tuple[str, int, bytes]] = field(default_factory=list)


@dataclass
class Disk:
    """Names and files as they are, and what is safe of the names."""

    names: dict[str, int] = field(default_factory=dict)
    safe_names: dict[str, int] = field(default_factory=dict)
    undone_names: list[tuple[str, str, int]] = field(default_factory=list)
    inodes: dict[int, Inode] = field(default_factory=dict)


def _whole(inode: Inode) -> bytes:
    data = bytearray(inode.safe)
    for what, at, chunk in inode.undone:
        _do(data, what, at, chunk)
    return bytes(data)


def _do(data: bytearray, what: str, at: int, chunk: bytes) -> None:
    if what == "truncate":
        del data[at:]
        data.extend(bytes(at - len(data)))
    else:
        data.extend(bytes(max(0, at + len(chunk) - len(data))))
        data[at : at + len(chunk)] = chunk


class Log:
    """What a program does to the files of one folder, as os sees it."""

    def __init__(self, monkeypatch: Any, folder: Path) -> None:
        """Log until the monkeypatch ends."""
        self.calls: list[tuple[Any, ...]] = []
        self._folder, self._open = str(folder), dict[int, tuple[str, int]]()
        self._real = {
            n: getattr(os, n)
            for n in ("open", "write", "fsync", "replace", "rename", "unlink", "ftruncate", "close", "lseek")
        }
        for name in ("open", "write", "fsync", "replace", "unlink", "ftruncate", "close"):
            monkeypatch.setattr(os, name, getattr(self, f"_{name}_"))
        self._numbers = 0

    def ack(self, events: int, state: int) -> None:
        """Note that the program was told that so many events are safe."""
        self.calls.append(("ack", events, state))

    def _mine(self, path: Any) -> str | None:
        folder, name = os.path.split(os.fspath(path))
        return name if folder == self._folder else None

    def _open_(self, path: Any, flags: int, mode: int = 0o777, **other: Any) -> int:
        descriptor: int = self._real["open"](path, flags, mode, **other)
        name = self._mine(path) if isinstance(path, (str, os.PathLike)) else None
        if name is not None:
            self._open[descriptor] = (name, -1)
            self.calls.append(("open", name, bool(flags & os.O_CREAT), bool(flags & os.O_TRUNC)))
        elif os.fspath(path) == self._folder:
            self._open[descriptor] = ("", -1)
        return descriptor

    def _write_(self, descriptor: int, data: Any) -> int:
        at = self._real["lseek"](descriptor, 0, os.SEEK_CUR) if descriptor in self._open else 0
        n: int = self._real["write"](descriptor, data)
        if descriptor in self._open:
            self.calls.append(("write", self._open[descriptor][0], at, bytes(data[:n])))
        return n

    def _fsync_(self, descriptor: int) -> None:
        self._real["fsync"](descriptor)
        if descriptor in self._open:
            name = self._open[descriptor][0]
            self.calls.append(("fsync", name) if name else ("fsync_names",))

    def _replace_(self, source: Any, target: Any) -> None:
        self._real["replace"](source, target)
        if self._mine(target) is not None:
            self.calls.append(("replace", self._mine(source), self._mine(target)))

    def _unlink_(self, path: Any, **other: Any) -> None:
        self._real["unlink"](path, **other)
        if self._mine(path) is not None:
            self.calls.append(("unlink", self._mine(path)))

    def _ftruncate_(self, descriptor: int, length: int) -> None:
        self._real["ftruncate"](descriptor, length)
        if descriptor in self._open:
            self.calls.append(("truncate", self._open[descriptor][0], length))

    def _close_(self, descriptor: int) -> None:
        self._open.pop(descriptor, None)
        self._real["close"](descriptor)


def play(disk: Disk, call: tuple[Any, ...]) -> None:
    """Do one call of a log to a disk."""
    what = call[0]
    if what == "open":
        _, name, creates, truncates = call
        if name not in disk.names and creates:
            number = len(disk.inodes)
            disk.inodes[number] = Inode()
            disk.names[name] = number
            disk.undone_names.append(("add", name, number))
        if truncates:
            disk.inodes[disk.names[name]].undone.append(("truncate", 0, b""))
    elif what == "write":
        disk.inodes[disk.names[call[1]]].undone.append(("write", call[2], call[3]))
    elif what == "truncate":
        disk.inodes[disk.names[call[1]]].undone.append(("truncate", call[2], b""))
    elif what == "fsync":
        inode = disk.inodes[disk.names[call[1]]]
        inode.safe, inode.undone = _whole(inode), []
    elif what == "replace":
        number = disk.names.pop(call[1])
        disk.names[call[2]] = number
        disk.undone_names += [("move", call[1] + "\0" + call[2], number)]
    elif what == "unlink":
        disk.names.pop(call[1])
        disk.undone_names.append(("remove", call[1], 0))
    elif what == "fsync_names":
        disk.safe_names, disk.undone_names = dict(disk.names), []


def left(disk: Disk, random_bits: random.Random) -> dict[str, bytes]:
    """What a power cut may leave of a disk: its files by name."""
    names = dict(disk.safe_names)
    for what, name, number in disk.undone_names[: random_bits.randint(0, len(disk.undone_names))]:
        if what == "add":
            names[name] = number
        elif what == "remove":
            names.pop(name, None)
        else:
            source, target = name.split("\0")
            names.pop(source, None)
            names[target] = number
    return {name: _torn(disk.inodes[number], random_bits) for name, number in names.items()}


def _torn(inode: Inode, random_bits: random.Random) -> bytes:
    """The safe bytes, and of what was done since: all, nothing, a beginning, or blocks out of order."""
    data = bytearray(inode.safe)
    way = random_bits.choice(["all", "none", "beginning", "blocks"])
    undone = copy.copy(inode.undone)
    if way == "none":
        undone = []
    elif way == "beginning" and undone:
        undone = undone[: random_bits.randint(0, len(undone))]
        if undone and undone[-1][0] == "write":
            what, at, chunk = undone[-1]
            undone[-1] = (what, at, chunk[: random_bits.randint(0, len(chunk))])
    elif way == "blocks":
        undone = [u for u in undone if u[0] == "truncate" or random_bits.random() < 0.5]
        cut = []
        for what, at, chunk in undone:
            start = 0
            while start < len(chunk):
                n = BLOCK - (at + start) % BLOCK
                if random_bits.random() < 0.7:
                    cut.append((what, at + start, chunk[start : start + n]))
                start += n
        undone = [u for u in undone if u[0] == "truncate"] + cut
    for what, at, chunk in undone:
        _do(data, what, at, chunk)
    return bytes(data)
