"""Audit: a store's states made again from its journal, and held against those that it kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edgehff.errors import CheckFailed
from edgehff.personalize import journal
from edgehff.personalize.drift import ALARM
from edgehff.personalize.journal import Kind, Place, Record
from edgehff.personalize.layout import CHECKPOINT, MANIFEST, Manifest, journal_path, read_state, state_path
from edgehff.personalize.learner import Learner


@dataclass(frozen=True)
class Proved:
    """A place where the state that was made again equals the one that the store kept.

    file: which one.  events: so many from the store's beginning.  state_crc32: of both.
    """

    file: str
    events: int
    state_crc32: int


@dataclass(frozen=True)
class Replayed:
    """The journal's end.

    first_event: where it begins; 0: what left the factory.  learner, place: the state there.
    trailing_bytes: behind the last whole record, as a power loss leaves them until the store is opened.
    """

    first_event: int
    learner: Learner
    place: Place
    trailing_bytes: int


Drifts = dict[str, list[tuple[int, float, bool]]]
"""Of each class that was learned: its samples so far, bits that drift has summed up, whether it alarmed."""


def follow(drifts: Drifts, record: Record, learner: Learner) -> None:
    """Note how a class drifted; for `replay`'s seen."""
    if record.kind is not Kind.LEARN:
        return
    name, test = learner.names[record.label], learner.drift[record.label]
    course = drifts.setdefault(name, [])
    alarmed = test.alarms > 0 and test.at == learner.learned[record.label]
    course.append((learner.learned[record.label], (ALARM if alarmed else test.risen) / 65536, alarmed))


def replay(
    folder: Path, seen: Callable[[Record, Learner], None] | None = None
) -> Iterator[Proved | Record | Replayed]:
    """Make the state of a store again from the oldest that it keeps; nothing in the folder is changed.

    Gives each record, what was proved on the way, and the end. A store that is in use is read as far as it is
    written.

    seen: called with each record and the learner that has done it.

    Raises:
        StoreError: there is no store, or a file is torn, altered or missing.
        CheckFailed: a state that was made again is another than the one that was kept.
    """
    manifest = Manifest.read(folder / MANIFEST)
    first = manifest.first
    learner, place = read_state(state_path(folder, first), manifest)
    first_event = place.sequence
    kept = _kept(folder, manifest)
    for segment in (first, first + 1):
        path = journal_path(folder, segment)
        if segment > first:
            if not path.is_file():
                break
            place = journal.start_of(manifest.store_id, place)[1]
        yield from _proved(kept, learner, place)
        for record, at in journal.read(path, manifest.store_id, place):
            learner.apply(record)
            if seen is not None:
                seen(record, learner)
            place = at
            yield record
            yield from _proved(kept, learner, place)
    if kept:
        name, at, _ = kept[0]
        raise CheckFailed(
            f"the journal ends after {place.sequence} events, {name} was kept after {at.sequence}",
            hint="the journal is damaged: go on from the state, or take a copy back",
        )
    trailing = journal_path(folder, place.segment).stat().st_size - place.offset
    yield Replayed(first_event, learner, place, trailing)


def _kept(folder: Path, manifest: Manifest) -> list[tuple[str, Place, Learner]]:
    """The states that the store keeps behind its first, in their order."""
    found = []
    paths = [state_path(folder, manifest.first + 1), folder / CHECKPOINT]
    for path in paths:
        if path.is_file():
            learner, place = read_state(path, manifest)
            if place.segment >= manifest.first:
                found.append((path.name, place, learner))
    return sorted(found, key=lambda item: (item[1].segment, item[1].offset))


def _proved(kept: list[tuple[str, Place, Learner]], learner: Learner, place: Place) -> Iterator[Proved]:
    while kept and (kept[0][1].segment, kept[0][1].offset) <= (place.segment, place.offset):
        name, at, other = kept.pop(0)
        same = at == place and learner.to_state()[1] == other.to_state()[1]
        if not same or learner.state_crc32 != other.state_crc32:
            raise CheckFailed(
                f"{name}: state_crc32 {other.state_crc32:08x} after {at.sequence} events; made again it is "
                f"{learner.state_crc32:08x} after {place.sequence}",
                hint="the store was altered, or written by another version of edgehff",
            )
        yield Proved(name, place.sequence, learner.state_crc32)
