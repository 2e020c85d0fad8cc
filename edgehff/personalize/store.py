"""Learned state on a disk: whole after power loss at any moment, bounded for ever, and open to audit.

A folder holds the model that left the factory, and apart from it what was learned: a journal in segments, the
state at the start of each, and a checkpoint that makes opening fast. At most two segments are kept, so that
each state can be made again from the one before it.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from edgehff.errors import StoreError
from edgehff.model import file
from edgehff.model.document import from_network
from edgehff.model.network import Network
from edgehff.personalize import journal
from edgehff.personalize.journal import Kind, Place, Record, Writer
from edgehff.personalize.layout import (
    BASE,
    CHECKPOINT,
    LOCK,
    MANIFEST,
    Manifest,
    journal_path,
    read_state,
    start_segment,
    state_path,
    store_errors,
    write_state,
)
from edgehff.personalize.learner import Learner, Settings

JOURNAL_BYTES = 64 << 20
MIN_JOURNAL_BYTES = 64 << 10
CHECKPOINT_BYTES = 4 << 20
"""Of journal at most, after which a checkpoint is written."""
START = Place(0, 0, 0, bytes(journal.DIGEST_BYTES))
"""Before the first segment."""
_NUMBERED = re.compile(r"(state|journal)-(\d{8})\.(safetensors|bin)")


class Store:
    """A folder with what was learned; one process at a time may write it.

    learner: the state, as recovered when the store was opened.  place: behind the last record.
    lost_bytes: bytes behind the last whole record of the journal, cut off when it was opened.
    complaint: why the last checkpoint or segment could not be written; empty where it could.
    """

    def __init__(self, folder: Path, lock: int, manifest: Manifest) -> None:
        """Use `create` or `open`."""
        self.folder, self.manifest, self._lock = folder, manifest, lock
        self.lost_bytes = self._checkpointed = 0
        self._retry_at = 0
        self.complaint = ""
        self._writer: Writer | None = None
        try:
            self.learner, self.place = self._recover()
            self._writer = Writer(journal_path(folder, self.place.segment), self.place)
            self._sweep()
        except BaseException:
            self.close()
            raise

    @classmethod
    def create(
        cls, folder: Path, base: Network, settings: Settings, journal_bytes: int = JOURNAL_BYTES
    ) -> Store:
        """A new store of a model, in a folder that is empty or not there.

        Raises:
            StoreError: the folder holds something, cannot be written, or another process has it.
        """
        if journal_bytes < MIN_JOURNAL_BYTES:
            raise StoreError(
                f"a journal of {journal_bytes} bytes; {MIN_JOURNAL_BYTES} is the least",
                hint=f"{JOURNAL_BYTES} is usual",
            )
        try:
            folder.mkdir(parents=True, exist_ok=True)
            found = sorted(p.name for p in folder.iterdir())
        except OSError as error:
            raise StoreError(f"cannot make {folder}: {error.strerror}", hint="name another folder") from error
        if MANIFEST in found or (found and LOCK not in found):
            raise StoreError(f"{folder} holds {found[0]} already", hint="name a new folder")
        lock = _locked(folder)
        manifest = Manifest(secrets.token_bytes(16), settings, journal_bytes, 1, from_base=True)
        try:
            with store_errors():
                file.save(base, folder / BASE)
                os.chmod(folder / BASE, 0o444)  # noqa: PTH101 (all that is written here goes through os)
                start_segment(folder, manifest, Learner(base, settings), START)
                file.write_atomically(folder / MANIFEST, manifest.to_bytes())
        except BaseException:
            os.close(lock)
            raise
        return cls(folder, lock, manifest)

    @classmethod
    def open(cls, folder: Path) -> Store:
        """A store that is there, recovered to its last whole record.

        Raises:
            StoreError: none is there, another process has it, or neither the checkpoint nor a state is whole.
        """
        if not Store.is_there(folder):
            raise StoreError(
                f"{folder} is no store", hint="edgehff personalize MODEL --store FOLDER makes one"
            )
        lock = _locked(folder)
        try:
            manifest = Manifest.read(folder / MANIFEST)
        except BaseException:
            os.close(lock)
            raise
        return cls(folder, lock, manifest)

    @staticmethod
    def is_there(folder: Path) -> bool:
        """Whether a store stands in the folder."""
        return (folder / MANIFEST).is_file()

    def check(self, base: Network | None, settings: Settings | None, journal_bytes: int | None) -> None:
        """StoreError where the store is of another model, or has other settings, than those given."""
        if base is not None:
            own = file.read_header(self.folder / BASE)["payload_sha256"]
            if from_network(base)[1]["payload_sha256"] != own:
                raise StoreError(
                    f"{self.folder} personalizes another model",
                    hint="name another store, or leave the model out",
                )
        if settings is not None and settings != self.manifest.settings:
            raise StoreError(
                f"{self.folder} learns with {self.manifest.settings.to_dict()}", hint="leave the settings out"
            )
        if journal_bytes is not None and journal_bytes != self.manifest.journal_bytes:
            raise StoreError(
                f"{self.folder} has a journal of {self.manifest.journal_bytes} bytes",
                hint="leave the bound out",
            )

    def append(self, record: Record) -> None:
        """Write one record of what is done next. StoreError: it was not written, and must not be done."""
        if self._writer is None:
            raise StoreError(f"{self.folder} is closed", hint="open it again")
        if self.place.offset > self.manifest.journal_bytes:
            try:
                self._next_segment()
            except StoreError as error:
                raise StoreError(
                    f"{self.folder}: the journal is full, and no segment can be begun: {error.message}",
                    hint=error.hint,
                ) from error
        self._writer.append(record)
        self.place = self._writer.place

    def sync(self) -> int:
        """Bring the journal to the disk; returns the number of events that are safe from now on."""
        if self._writer is None:
            raise StoreError(f"{self.folder} is closed", hint="open it again")
        return self._writer.sync()

    def keep_bounded(self) -> None:
        """Checkpoint or begin a segment where it is time; call it behind each event that was done.

        Raises:
            StoreError: the disk refused. Nothing is lost, it is tried again later; the segment goes on, to at
                most twice its size.
        """
        at, segment_bytes = self.place.offset, self.manifest.journal_bytes // 2
        if at < self._retry_at:
            return
        try:
            if at > segment_bytes:
                self._next_segment()
            elif at - self._checkpointed > min(CHECKPOINT_BYTES, segment_bytes // 4):
                self.checkpoint()
            self._retry_at, self.complaint = 0, ""
        except StoreError:
            self._retry_at = at + segment_bytes // 16
            raise

    def forget_exactly(self, label: int) -> None:
        """Make the state and the journal that would be, had no sample of a class ever come; the old ones go.

        A class that was added is no class any more; one of the factory's is answered no more, but what the
        factory taught of it stays in the weights.

        Raises:
            StoreError: the journal begins after the class's first sample, or the disk refused.
        """
        self.sync()
        first, name = self.manifest.first, self.learner.names[label]
        origin, before = read_state(state_path(self.folder, first), self.manifest)
        if not self.manifest.from_base and name in origin.names and origin.learned[origin.names.index(name)]:
            raise StoreError(
                f"the journal begins after {before.sequence} events, when {name!r} had been learned already",
                hint=f"forget it without --exact, or begin again from {self.folder / BASE}",
            )
        learner, _ = read_state(state_path(self.folder, first), self.manifest)
        header, place = journal.start_of(self.manifest.store_id, replace(before, segment=self.place.segment))
        write_state(state_path(self.folder, place.segment), self.manifest, origin, place)
        path = journal_path(self.folder, place.segment)
        with store_errors():
            file.write_atomically(path, header)
        writer = Writer(path, place)
        for record in without(name, origin.names, self._records(before)):
            learner.apply(record)
            writer.append(record)
        if name in learner.names and label not in learner.gone:
            number = learner.names.index(name)
            learner.forget_class(number)
            writer.append(Record(Kind.FORGET_CLASS, number))
        writer.sync()
        manifest = replace(self.manifest, first=place.segment)
        with store_errors():
            file.write_atomically(self.folder / MANIFEST, manifest.to_bytes())
        assert self._writer is not None
        self._writer.close()
        self.manifest, self.learner, self._writer, self.place = manifest, learner, writer, writer.place
        self._checkpointed = 0
        (self.folder / CHECKPOINT).unlink(missing_ok=True)
        self._sweep()

    def _records(self, place: Place) -> Iterator[Record]:
        """All records that are kept, from the oldest on; place: of the oldest state."""
        for segment in range(place.segment, self.place.segment + 1):
            if segment != place.segment:
                place = journal.start_of(self.manifest.store_id, place)[1]
            for record, at in journal.read(journal_path(self.folder, segment), self.manifest.store_id, place):
                place = at
                yield record

    def checkpoint(self) -> None:
        """Write the state as it is, so that opening need not repeat what led to it."""
        self.sync()
        write_state(self.folder / CHECKPOINT, self.manifest, self.learner, self.place)
        self._checkpointed = self.place.offset

    def close(self) -> None:
        """Let go of the folder; what `sync` has not returned for may be lost."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _recover(self) -> tuple[Learner, Place]:
        """From the newest whole state or checkpoint on through the journal."""
        first = self.manifest.first
        segments = [n for n in (first, first + 1) if journal_path(self.folder, n).is_file()]
        if not segments:
            raise StoreError(f"{self.folder}: the journal is missing", hint="take the store from a copy")
        found: list[tuple[Learner, Place]] = []
        errors: list[str] = []
        for path in (self.folder / CHECKPOINT, *(state_path(self.folder, n) for n in reversed(segments))):
            try:
                found.append(read_state(path, self.manifest))
            except StoreError as error:
                errors.append(error.message)
                continue
            if found[-1][1].segment == segments[-1]:
                break  # none can be newer
        whole = [(learner, place) for learner, place in found if place.segment in segments]
        if not whole:
            raise StoreError(
                f"{self.folder}: neither the checkpoint nor a state is whole ({'; '.join(errors)})",
                hint=f"take a copy back; what left the factory is {self.folder / BASE}",
            )
        learner, place = max(whole, key=lambda item: item[1].sequence)
        for segment in segments[segments.index(place.segment) :]:
            place = self._forward(learner, place, segment)
            if self.lost_bytes > 0:
                break
        return learner, place

    def _forward(self, learner: Learner, place: Place, segment: int) -> Place:
        """Repeat what a segment tells behind place; returns the place behind its last whole record."""
        path, store_id = journal_path(self.folder, segment), self.manifest.store_id
        if segment != place.segment:
            place = journal.start_of(store_id, place)[1]
        for record, at in journal.read(path, store_id, place):
            learner.apply(record)
            place = at
        self.lost_bytes = path.stat().st_size - place.offset
        return place

    def _next_segment(self) -> None:
        """Begin a segment with the state as it is, and let go of the one before the last."""
        self.sync()
        place = start_segment(self.folder, self.manifest, self.learner, self.place)
        writer = Writer(journal_path(self.folder, place.segment), place)
        if place.segment - self.manifest.first > 1:
            manifest = replace(self.manifest, first=place.segment - 1, from_base=False)
            with store_errors():
                file.write_atomically(self.folder / MANIFEST, manifest.to_bytes())
            self.manifest = manifest
        assert self._writer is not None
        self._writer.close()
        self._writer, self.place, self._checkpointed = writer, place, place.offset
        self._sweep()

    def _sweep(self) -> None:
        """Take away what a power loss, or a segment's end, has left behind."""
        for path in self.folder.iterdir():
            numbered = _NUMBERED.fullmatch(path.name)
            old = numbered is not None and not self.manifest.first <= int(numbered[2]) <= self.place.segment
            if old or ".tmp" in path.name:
                path.unlink(missing_ok=True)


def without(name: str, names: Iterable[str], records: Iterable[Record]) -> Iterator[Record]:
    """The records that would have come, had a class never been; those of later classes are numbered anew.

    names: the classes before the first record.
    """
    before = list(names)
    after = list(before)
    for record in records:
        if record.kind is Kind.ADD_CLASS:
            before.append(record.name)
            if record.name != name:
                after.append(record.name)
                yield record
        elif record.kind in (Kind.LEARN, Kind.FORGET_CLASS):
            if before[record.label] != name:
                yield replace(record, label=after.index(before[record.label]))
        else:
            yield record


def _locked(folder: Path) -> int:
    """The lock of a folder, held. StoreError: another process holds it, or the folder cannot be written."""
    try:
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise StoreError(
            f"cannot write in {folder}: {error.strerror}",
            hint="a store has to stand on a disk that may be written",
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise StoreError(
            f"{folder} is in use by another process", hint="stop it, or name another store"
        ) from error
    return lock
