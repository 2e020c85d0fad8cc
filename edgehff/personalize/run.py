"""A session at a stream: what has a label is learned, the rest answered, what cannot be used is counted."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from edgehff.data.stream import Item
from edgehff.errors import DuplicateError, InputError, StoreError
from edgehff.personalize.session import Answer, PersonalSession
from edgehff.personalize.sources import Came, Refusal

SYNC_EVENTS = 64
"""Events after which they are brought to the disk, at the latest; a pause of the stream does it too."""
SYNC_S = 1.0


@dataclass(frozen=True)
class Answered:
    """A sample without a label.  sample_id: its id, if it had one."""

    answer: Answer
    sample_id: str | None


@dataclass(frozen=True)
class Learned:
    """A sample, or the label of an earlier one.  answer: the class's number that was given before."""

    label: int
    answer: int
    sample_id: str | None


@dataclass(frozen=True)
class Refused:
    """What was passed over.  kind: "malformed", "sample", "duplicate" or "store"."""

    kind: str
    where: str
    reason: str


@dataclass(frozen=True)
class Saved:
    """No power loss takes the first so many events of the store any more."""

    events: int


Event = Answered | Learned | Refused | Saved


@dataclass
class Tally:
    """What was counted over a stream."""

    learned: int = 0
    right: int = 0
    answered: int = 0
    unknown: int = 0
    refused: Counter[str] = field(default_factory=Counter)

    def count(self, event: Event) -> None:
        """Take one event into account."""
        if isinstance(event, Learned):
            self.learned += 1
            self.right += event.answer == event.label
        elif isinstance(event, Answered):
            self.answered += 1
            self.unknown += event.answer.unknown
        elif isinstance(event, Refused):
            self.refused[event.kind] += 1

    def to_dict(self) -> dict[str, Any]:
        """As the JSON document has it."""
        return {
            "samples": self.learned,
            "online_accuracy": self.right / self.learned if self.learned else None,
            "answers": self.answered,
            "unknown": self.unknown,
            "refused": dict(self.refused),
        }


def run(
    session: PersonalSession,
    stream: Iterable[Came],
    *,
    new_classes: bool = False,
    idle_s: float | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Event]:
    """Work through a stream; what was learned is synced at pauses, each second, and at the end.

    new_classes: a name that is no class yet becomes one; else its sample is refused.
    idle_s: stop where nothing has come for so many seconds.

    Raises:
        StoreError: the disk failed while it was synced.
        NoDeviceError, InputError: the source is gone.
    """
    unsynced, synced_at = 0, clock()
    last, n = clock(), 0
    for came in stream:
        now = clock()
        if came is None:
            if idle_s is not None and now - last >= idle_s:
                break
        else:
            last, n = now, n + 1
            event = _event(session, came, new_classes, f"sample {n}")
            unsynced += isinstance(event, Learned)
            yield event
        if unsynced and (came is None or unsynced >= SYNC_EVENTS or now - synced_at >= SYNC_S):
            yield from _sync(session)
            unsynced, synced_at = 0, now
    yield from _sync(session)


def _event(session: PersonalSession, came: Item | Refusal, new_classes: bool, where: str) -> Event:
    if isinstance(came, Refusal):
        return Refused("malformed", came.where, came.reason)
    try:
        label, sample_id = came.label, came.sample_id
        raw = None if came.values is None else session.raw_of(came.values)
        if raw is not None and label is None:
            return Answered(session.answer_one(raw, sample_id), sample_id)
        assert label is not None
        if raw is None:
            assert sample_id is not None
            session.check_waiting(sample_id)
        elif sample_id is not None:
            session.check_new(sample_id)
        if new_classes and isinstance(label, str) and not session.has_class(label):
            session.add_class(label)
        number = session.class_of(label)
        if raw is None:
            assert sample_id is not None
            return Learned(number, session.feedback(sample_id, number), sample_id)
        return Learned(number, session.learn_one(raw, number, sample_id), sample_id)
    except DuplicateError as error:
        return Refused("duplicate", where, error.message)
    except StoreError as error:
        return Refused("store", where, error.message)
    except InputError as error:
        return Refused("sample", where, error.message)


def _sync(session: PersonalSession) -> Iterator[Event]:
    events = session.sync()
    if events is not None:
        yield Saved(events)
