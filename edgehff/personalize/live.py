"""What can be seen of a session at a stream, and labels that come back; nothing of the web is in here.

One thread learns, others look: `merged` and `take` are the first's alone, `view` and `ask` are anyone's.
All of it is bounded.
"""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgehff.data.stream import Item
from edgehff.errors import InputError
from edgehff.personalize.history import WINDOW, Accuracy, Confusion, Rate
from edgehff.personalize.run import Answered, Event, Learned, Refused, Saved, Tally
from edgehff.personalize.session import MAX_PENDING, PersonalSession
from edgehff.personalize.sketch import Sketch, sketch
from edgehff.personalize.sources import Came

MAX_ASKED = 64
"""Labels that wait to be learned."""
MAX_SHOWN = 20
"""Waiting samples that a view has."""
MAX_COSINES = 24
"""Classes whose cosine a view has: those nearest to the sample."""


class AskError(InputError):
    """A label that is not taken.

    kind: no such sample waits ("unknown"), it has a label already ("asked"), the label is no class ("label"),
        too many labels wait ("full"), the stream is over ("ended").
    """

    def __init__(
        self, kind: Literal["unknown", "asked", "label", "full", "ended"], message: str, hint: str
    ) -> None:
        super().__init__(message, hint=hint)
        self.kind = kind


@dataclass
class Waiting:
    """A sample without its label.

    answer: the class that was given.  unknown: it resembles no class.  asked: the label that is on its way.
    problem: why the last label was refused.
    """

    sample_id: str
    answer: str
    sketch: Sketch
    unknown: bool = False
    asked: str | None = None
    problem: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain types, as JSON takes them."""
        return {
            "id": self.sample_id,
            "answer": self.answer,
            "sketch": self.sketch.to_dict(),
            "unknown": self.unknown,
            "asked": self.asked,
            "problem": self.problem,
        }


class Live:
    """A session at a stream, from outside: put `merged` around the stream, and give `take` each event."""

    def __init__(
        self,
        session: PersonalSession,
        *,
        new_classes: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """new_classes: as in run; a name that is no class yet can be asked for."""
        self._session, self._new_classes, self._clock = session, new_classes, clock
        self._folder = None if session.store is None else session.store.folder
        self._lock = threading.Lock()
        self._asked: deque[Item] = deque()
        self._waiting: OrderedDict[str, Waiting] = OrderedDict()
        self._tally, self._accuracy, self._confusion = Tally(), Accuracy(), Confusion()
        self._rate = Rate(clock())
        self._saved: int | None = None
        self._last: dict[str, Any] | None = None
        self._item: Item | None = None
        self._cosines: NDArray[np.float64] | None = None
        self._ended = False
        self._note_classes()

    def merged(self, stream: Iterable[Came]) -> Iterator[Came]:
        """What a stream brings, and between it the labels that were asked for; they come before a pause."""
        try:
            for came in stream:
                yield from self._labels()
                yield self._seen(came)
        finally:
            with self._lock:
                self._ended = True
        yield from self._labels()

    def take(self, event: Event) -> None:
        """Note what became of the item that `merged` gave last."""
        with self._lock:
            self._tally.count(event)
            if isinstance(event, Saved):
                self._saved = event.events
                return
            if isinstance(event, Refused):
                self._note_refusal(event)
            else:
                self._rate.add(self._clock())
                self._note_answer(event)
            self._note_classes()

    def ask(self, item: Item) -> None:
        """Have a waiting sample learned: item is its id with a class's name.

        Raises:
            AskError: it cannot be; kind says why.
        """
        with self._lock:
            waiting = self._waiting.get(item.sample_id or "")
            if self._ended:
                raise AskError("ended", "the stream is over", "start edgehff personalize again")
            if waiting is None:
                raise AskError(
                    "unknown",
                    f"no sample {str(item.sample_id)[:40]!r} waits for its label",
                    f"the last {MAX_PENDING} samples with an id are kept until they have one",
                )
            if waiting.asked is not None:
                raise AskError(
                    "asked",
                    f"sample {waiting.sample_id[:40]!r} is labeled {waiting.asked[:40]!r}",
                    "it is learned in a moment",
                )
            name = item.label
            if not isinstance(name, str) or not (name in self._classes or self._new_classes):
                raise AskError(
                    "label", f"{str(name)[:40]!r} is no class", f"classes: {', '.join(self._classes)}"
                )
            if len(self._asked) >= MAX_ASKED:
                raise AskError("full", f"{MAX_ASKED} labels wait to be learned", "try again in a moment")
            waiting.asked, waiting.problem = name, ""
            self._asked.append(Item(None, name, item.sample_id))

    def view(self) -> dict[str, Any]:
        """All that there is to see now, as plain types."""
        with self._lock:
            tally = self._tally
            waiting = list(reversed(self._waiting.values()))
            waiting.sort(key=lambda w: not w.unknown)  # stable: the newest of each first
            view = {
                "classes": list(self._classes),
                "new_classes": self._new_classes,
                "samples": tally.learned,
                "answers": tally.answered,
                "refused": dict(tally.refused),
                "saved": self._saved,
                "samples_per_second": self._rate.per_second(self._clock()),
                "accuracy": self._accuracy.now,
                "window": WINDOW,
                "curve": self._accuracy.curve(),
                "confusion": self._confusion.to_dict(self._names),
                "last": self._last,
                "ram_bytes": self._ram_bytes,
                "waiting": [w.to_dict() for w in waiting[:MAX_SHOWN]],
                "waiting_in_all": len(waiting),
            }
        return view | {"process_bytes": _process_bytes(), "store_bytes": _folder_bytes(self._folder)}

    def _labels(self) -> Iterator[Item]:
        while True:
            with self._lock:
                if not self._asked:
                    return
                item = self._asked.popleft()
            self._seen(item)
            yield item

    def _seen(self, came: Came) -> Came:
        """Keep what comes next; its cosines are those before it is learned."""
        self._item, self._cosines = came if isinstance(came, Item) else None, None
        if self._item is not None and self._item.values is not None:
            with suppress(InputError):  # the run refuses it, with the reason
                self._cosines = self._session.cosines(self._session.raw_of(self._item.values))
        return came

    def _note_answer(self, event: Answered | Learned) -> None:
        item, name_of = self._item, self._session.name_of
        answer = name_of(event.answer if isinstance(event, Learned) else event.answer.label)
        if isinstance(event, Learned):
            self._accuracy.add(event.answer == event.label)
            self._confusion.add(event.label, event.answer)
            self._waiting.pop(event.sample_id or "", None)
        if item is None or item.values is None:
            return
        if isinstance(event, Answered) and event.sample_id is not None:
            drawn = sketch(self._session.raw_of(item.values), self._session.sample_shape)
            self._waiting.pop(event.sample_id, None)
            self._waiting[event.sample_id] = Waiting(event.sample_id, answer, drawn, event.answer.unknown)
            if len(self._waiting) > MAX_PENDING:
                self._waiting.popitem(last=False)
        if self._cosines is not None:
            near = sorted(np.argsort(-self._cosines, kind="stable")[:MAX_COSINES].tolist())
            self._last = {
                "id": event.sample_id,
                "answer": answer,
                "label": name_of(event.label) if isinstance(event, Learned) else None,
                "cosines": [
                    (name_of(i), round(float(self._cosines[i]), 4))
                    for i in near
                    if not np.isnan(self._cosines[i])
                ],
            }

    def _note_refusal(self, event: Refused) -> None:
        """A label that was refused can be given again, but not to a sample that was learned before."""
        if self._item is None or self._item.sample_id is None or self._item.values is not None:
            return
        waiting = self._waiting.get(self._item.sample_id)
        if waiting is not None:
            waiting.asked, waiting.problem = None, event.reason
            if event.kind == "duplicate":
                del self._waiting[waiting.sample_id]

    def _note_classes(self) -> None:
        self._classes, self._names = self._session.class_names, self._session.names
        self._ram_bytes = self._session.ram_bytes


def _process_bytes() -> int:
    """Resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _folder_bytes(folder: Path | None) -> int | None:
    """Bytes of a store's files; some may go while they are counted."""
    if folder is None:
        return None
    n = 0
    for path in folder.iterdir():
        try:
            n += path.stat().st_size
        except FileNotFoundError:
            continue
    return n
