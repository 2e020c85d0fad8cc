"""A network at its user's: predict, learn one sample, add a class, forget one, go back to a snapshot."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehff.errors import DuplicateError, ShapeError, StoreError
from edgehff.model.network import Network
from edgehff.personalize.journal import NO_ID, Kind, Record, id_digest
from edgehff.personalize.learner import Learner, Settings
from edgehff.personalize.store import JOURNAL_BYTES, Store
from edgehff.recipe import Recipe

MEMORY_BYTES = 256 << 10
"""Of samples that a store keeps to learn them again."""
MAX_PENDING = 256
"""Samples that wait for their label; the oldest goes first."""


@dataclass(frozen=True)
class Answer:
    """What a sample is taken for.

    label: the class's number.  unknown: the sample is like none of the classes, by the model's [unknown].
    familiarity: the score behind that, a cosine or bits; None where the model has none.
    """

    label: int
    unknown: bool = False
    familiarity: float | None = None


class PersonalSession:
    """One network that learns from samples as they come, at the recipe's personal rates.

    Every call that changes what is learned is an event; with a store it is in the journal before it is done.
    `sync` says up to which event a power loss can take nothing.
    """

    def __init__(self, network: Network, recipe: Recipe | None = None, **settings: Any) -> None:
        """Start from network, which is not changed, with no store.

        recipe: replaces its personal rates.  settings: memory_bytes, rehearse, guard of Settings; no memory.
        """
        self._begin(Learner(network, Settings.of(recipe or network.recipe, **settings)), None)

    def _begin(self, learner: Learner, store: Store | None) -> None:
        self._learner, self.store = learner, store
        self._pending: OrderedDict[str, NDArray[Any]] = OrderedDict()
        self._broken = False
        self.learned = self.answered = 0

    @classmethod
    def open(
        cls,
        folder: str | Path,
        network: Network | None = None,
        recipe: Recipe | None = None,
        journal_bytes: int | None = None,
        **settings: Any,
    ) -> PersonalSession:
        """A session whose state is kept in a folder; close it, or use it in a with statement.

        folder: a store that is there, or where one is made.
        network: what left the factory; needed for a new store; one that is there has to be of the same.
        recipe, settings: as in PersonalSession, but for 256 KiB of memory.  journal_bytes: bound of the
            journal; 64 MiB. A store keeps all of them.

        Raises:
            StoreError: as Store.create and Store.open; the store is of another model, or has other settings.
        """
        folder = Path(folder)
        given = {name: value for name, value in settings.items() if value is not None}
        wanted = None
        if network is not None:
            wanted = Settings.of(recipe or network.recipe, **({"memory_bytes": MEMORY_BYTES} | given))
        if network is not None and wanted is not None and not Store.is_there(folder):
            store = Store.create(folder, network, wanted, journal_bytes or JOURNAL_BYTES)
        else:
            store = Store.open(folder)
            try:
                store.check(
                    network,
                    wanted if recipe is not None or given else None,
                    journal_bytes,
                )
            except BaseException:
                store.close()
                raise
        session = object.__new__(cls)
        session._begin(store.learner, store)
        return session

    def __enter__(self) -> PersonalSession:
        """The session itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Save and let go of the store."""
        self.close()

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes that are answered."""
        gone = self._learner.gone
        return tuple(name for i, name in enumerate(self._learner.names) if i not in gone)

    @property
    def sample_width(self) -> int:
        """Values of one sample."""
        return self._learner.encoding.n_raw

    @property
    def sample_dtype(self) -> str:
        """The dtype of the model's data; "float32" where they are no integers."""
        encoding = self._learner.encoding
        return encoding.raw if encoding.input_scale is None else "float32"

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """What the values of a sample are: (time, channels), (values, 1) or (height, width, channels)."""
        return self._learner.sample_shape

    @property
    def ram_bytes(self) -> int:
        """RAM of the network with its encoder, as a board keeps them."""
        return self._learner.ram_bytes

    @property
    def names(self) -> list[str]:
        """Every class there ever was, by number."""
        return list(self._learner.names)

    def name_of(self, number: int) -> str:
        """The name of a class, forgotten ones too."""
        return self._learner.names[number]

    def raw_of(self, values: NDArray[np.float32]) -> NDArray[Any]:
        """A flat sample of numbers, as text gives them, in the dtype of the model's data.

        Raises:
            ShapeError: a value is no integer of the data's range where the data are integers.
        """
        encoding = self._learner.encoding
        if encoding.input_scale is not None:
            return values
        limits = np.iinfo(encoding.raw)
        if (values != np.round(values)).any() or values.min() < limits.min or values.max() > limits.max:
            raise ShapeError(
                f"a sample from {values.min():g} to {values.max():g} is not {encoding.raw}",
                hint=f"this model takes integers from {limits.min} to {limits.max}",
            )
        return values.astype(encoding.raw)

    def has_class(self, name: str) -> bool:
        """Whether a class is, or was, called so."""
        return name in self._learner.names

    def class_of(self, label: int | str) -> int:
        """The class's number from its number or name. ShapeError for one that the model does not have."""
        return self._learner.class_of(label)

    def predict_one(self, raw: NDArray[Any], sample_id: str | None = None) -> int:
        """The class of one raw sample, known or not; otherwise as answer_one."""
        return self.answer_one(raw, sample_id).label

    def answer_one(self, raw: NDArray[Any], sample_id: str | None = None) -> Answer:
        """The class of one raw sample of the data's dtype and shape, and whether it is like anything known.

        sample_id: keep the sample, so that `feedback` can give its label later.

        Raises:
            ShapeError: another dtype or shape.
            DataError: NaN or infinite values.
        """
        quantized = self._quantized(raw)
        if sample_id is not None:
            self._pending[sample_id] = quantized
            self._pending.move_to_end(sample_id)
            if len(self._pending) > MAX_PENDING:
                self._pending.popitem(last=False)
        self.answered += 1
        learner = self._learner
        x = learner.encode(quantized)
        label = learner.answer(x)
        if not learner.familiarity:
            return Answer(label)
        score = learner.familiar(x, label)
        unknown = score < learner.familiarity.threshold
        return Answer(label, unknown, learner.familiarity.as_float(score))

    def learn_one(self, raw: NDArray[Any], label: int | str, sample_id: str | None = None) -> int:
        """Learn one raw sample; returns the class given before learning.

        sample_id: names the sample; one of the last 4096 that were learned is not learned again.

        Raises:
            DuplicateError: a sample of this id was learned.
            ShapeError: a bad label, another dtype or shape.
            DataError: NaN or infinite values.
            StoreError: the sample could not be written to the journal, and was not learned.
        """
        return self._learn(self._quantized(raw), self.class_of(label), sample_id)

    def feedback(self, sample_id: str, label: int | str) -> int:
        """Learn the sample that predict_one was given with this id; returns the class given before learning.

        Raises:
            DuplicateError: it was learned already.
            ShapeError: a bad label, or no sample of this id waits (any more).
            StoreError: as learn_one; the sample waits on.
        """
        self.check_waiting(sample_id)
        answer = self._learn(self._pending[sample_id], self.class_of(label), sample_id)
        del self._pending[sample_id]
        return answer

    def check_waiting(self, sample_id: str) -> None:
        """DuplicateError where this sample was learned, ShapeError where none of this id waits."""
        if sample_id not in self._pending:
            self.check_new(sample_id)
            raise ShapeError(
                f"no sample {sample_id[:40]!r} waits for its label",
                hint=f"the last {MAX_PENDING} samples with an id are kept until they have one",
            )

    def check_new(self, sample_id: str) -> bytes:
        """The id's digest. DuplicateError where a sample of this id was learned."""
        digest = id_digest(sample_id)
        if self._learner.knows(digest):
            raise DuplicateError(
                f"sample {sample_id[:40]!r} was learned before", hint="give each sample an id of its own"
            )
        return digest

    def _learn(self, quantized: NDArray[Any], label: int, sample_id: str | None) -> int:
        digest = NO_ID if sample_id is None else self.check_new(sample_id)
        now = max(time.time_ns() // 1_000_000, 0)
        record = Record(Kind.LEARN, label, raw=quantized.tobytes(), time_ms=now, sample_id=digest)
        with self._event(record):
            answer = self._learner.learn(quantized, label, digest)
        self.learned += 1
        return answer

    def add_class(self, name: str) -> int:
        """One class more; returns its number.

        Raises:
            ShapeError: a name that is taken, empty or not printable; more than 1024 classes.
            StoreError: as learn_one.
        """
        self._learner.check_name(name)
        with self._event(Record(Kind.ADD_CLASS, name=name)):
            return self._learner.add_class(name)

    def forget_class(self, label: int | str, *, exact: bool = False) -> None:
        """Answer this class no more, from now on.

        exact: be, besides, as if no sample of it had ever come, and make the journal anew without them.
            Only with a store, whose journal has to reach back to the class's first sample.

        Raises:
            ShapeError: no such class, or fewer than two would be left.
            StoreError: as learn_one; or exact is not possible.
        """
        number = self._learner.known(label) if exact else self.class_of(label)
        if number not in self._learner.gone:
            self._learner.check_forget(number)
        if exact:
            if self.store is None:
                raise StoreError(
                    "a session without a store keeps no journal", hint="PersonalSession.open(folder)"
                )
            self._pending.clear()
            self.store.forget_exactly(number)
            self._learner = self.store.learner
            return
        with self._event(Record(Kind.FORGET_CLASS, number)):
            self._learner.forget_class(number)

    def snapshot(self) -> None:
        """Keep the state as it is now, for `rollback`; one is kept. StoreError as learn_one."""
        with self._event(Record(Kind.MARK)):
            self._learner.mark()

    def rollback(self) -> None:
        """Be as at the last snapshot. ShapeError without one; StoreError as learn_one."""
        self._learner.check_rollback()
        with self._event(Record(Kind.ROLLBACK)):
            self._learner.rollback()

    def predict(self, raw: NDArray[Any]) -> NDArray[np.uint16]:
        """The classes of raw samples, shape (n, *sample_shape)."""
        return self._learner.answers(self._learner.encode(self._learner.encoding.quantize_raw(raw)))

    def cosines(self, raw: NDArray[Any]) -> NDArray[np.float64]:
        """One raw sample's cosine to each class, by number; layers joined as for the answer, NaN if gone."""
        cosines: NDArray[np.float64] = self._learner.cosines(self._learner.encode(self._quantized(raw)))[0]
        return cosines

    def network(self) -> Network:
        """The network as it is now: its recipe is the factory's, its weights are this user's."""
        return self._learner.network()

    def metrics(self) -> dict[str, Any]:
        """What was counted in the store's life, as plain types; `answered` in this session's."""
        learner = self._learner
        learned, right = sum(learner.learned), sum(learner.right)
        return {
            "samples": learned,
            "answered": self.answered,
            "online_accuracy": right / learned if learned else None,
            "classes": [
                {
                    "name": name,
                    "samples": n,
                    "right": r,
                    "forgotten": i in learner.gone,
                    "drifts": learner.drift[i].alarms,
                    "drifted_at": learner.drift[i].at,
                }
                for i, (name, n, r) in enumerate(
                    zip(learner.names, learner.learned, learner.right, strict=True)
                )
            ],
            "waiting": len(self._pending),
            "undone": None if learner.guard is None else learner.guard.undone,
            "events": None if self.store is None else self.store.place.sequence,
            "steps": learner.net.step,
            "state_crc32": f"{learner.state_crc32:08x}",
        }

    def sync(self) -> int | None:
        """Bring all events to the disk; returns how many are safe from now on, None without a store.

        Raises:
            StoreError: the disk failed.
        """
        return None if self.store is None else self.store.sync()

    def close(self) -> None:
        """Save what was learned and let go of the store; a second call does nothing."""
        store, self.store = self.store, None
        if store is not None:
            try:
                if not self._broken:
                    store.checkpoint()
            finally:
                store.close()

    @contextmanager
    def _event(self, record: Record) -> Iterator[None]:
        """Write an event, have it done, and keep the store bounded.

        What breaks off in between leaves a learner that is behind its journal: it is used no more, and the
        store is as its journal says. Where the disk refuses a checkpoint, the journal alone goes on.
        """
        if self._broken:
            raise StoreError("the session was interrupted while it learned", hint="open it again")
        if self.store is not None:
            self.store.append(record)
        self._broken = True
        yield
        self._broken = False
        if self.store is not None:
            try:
                self.store.keep_bounded()
            except StoreError as error:
                self.store.complaint = error.message

    def _quantized(self, raw: NDArray[Any]) -> NDArray[Any]:
        return self._learner.encoding.quantize_raw(raw[None])
