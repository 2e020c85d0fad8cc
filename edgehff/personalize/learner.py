"""What a session has learned, as one deterministic machine: the same events give the same state, to the bit.

Nothing here reads a clock, a disk or a random source; `apply` is all that a journal needs.
"""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehff.errors import ShapeError, StoreError, did_you_mean
from edgehff.model.document import Tensors, canonical, from_network, to_network
from edgehff.model.float_network import joined
from edgehff.model.network import Network
from edgehff.personalize.drift import PageHinkley
from edgehff.personalize.guard import CHECK_EVERY, HELD_EVERY, Guard
from edgehff.personalize.imprint import imprint
from edgehff.personalize.journal import ID_BYTES, NO_ID, Kind, Record
from edgehff.personalize.memory import SHOTS, Memory
from edgehff.personalize.openworld import Familiarity
from edgehff.recipe import Recipe, lr_p_of, lr_w_of

MIN_CLASSES, MAX_CLASSES = 2, 1024
MAX_SEEN = 4096
"""Ids of learned samples that are remembered."""
MAX_NAME = 255
"""Bytes of a class's name."""

_AUDIT = "edgehff replay FOLDER says what is whole"


@dataclass(frozen=True)
class Settings:
    """How a session learns; a store keeps them for its life.

    lr, lr_prototypes: rates of weights and prototypes.
    memory_bytes: budget of samples that are kept to be learned again; 0: none.
    rehearse: kept samples that are learned after each new one.
    guard: hold some samples back, and undo learning that answers them worse.
    """

    lr: float
    lr_prototypes: float
    memory_bytes: int = 0
    rehearse: int = 4
    guard: bool = False

    @classmethod
    def of(cls, recipe: Recipe, **changes: Any) -> Settings:
        """The recipe's personal settings, with those changes that are not None."""
        given = {name: value for name, value in changes.items() if value is not None}
        return cls(recipe.personal_lr, recipe.personal_lr_prototypes, **given)

    def to_dict(self) -> dict[str, Any]:
        """Plain types, as JSON takes them."""
        return asdict(self)


class Learner:
    """A live network with the names of its classes and what was counted.

    names: every name ever given; a class's number is its place.  gone: numbers that are answered no more.
    learned, right: samples that came of each class, and how many of them were answered rightly before.
    drift: of each class.
    """

    def __init__(self, network: Network, settings: Settings) -> None:
        """Start from network, which is not changed."""
        self.settings = settings
        self._take(network)
        self._n_factory = len(self.names)
        self.gone: set[int] = set()
        self.learned: list[int] = [0] * len(self.names)
        self.right: list[int] = [0] * len(self.names)
        self.drift = [PageHinkley() for _ in self.names]
        self.guard = Guard(self.encoding.n_features, len(self.names)) if settings.guard else None
        self._seen: OrderedDict[bytes, None] = OrderedDict()
        self._mark: tuple[Tensors, dict[str, Any]] | None = None

    def _take(self, network: Network) -> None:
        self._network = network
        self.names = list(network.class_names)
        self.encoding = network.encoding
        self._encoder = network.encoding.to_core()
        self.net = network.to_core()
        self.memory = Memory(self.settings.memory_bytes, network.encoding.n_features)
        self.familiarity = Familiarity(network.recipe.unknown)
        self._set_rates()

    def _set_rates(self) -> None:
        self.net.set_rates(lr_w_of(self.settings.lr), lr_p_of(self.settings.lr_prototypes))

    def class_of(self, label: int | str) -> int:
        """The class's number from its number or name. ShapeError for one that is not known, or forgotten."""
        number = self.known(label)
        if number in self.gone:
            raise ShapeError(f"class {self.names[number]!r} was forgotten", hint=self._classes())
        return number

    def known(self, label: int | str) -> int:
        """As class_of, of forgotten classes too."""
        if isinstance(label, int) and 0 <= label < len(self.names):
            return label
        if str(label) in self.names:
            return self.names.index(str(label))
        known = did_you_mean(str(label), self.names)
        raise ShapeError(f"label {label!r} is no class of this model{known}", hint=self._classes())

    def _classes(self) -> str:
        return "classes: " + ", ".join(name for i, name in enumerate(self.names) if i not in self.gone)

    def encode(self, raw: NDArray[Any]) -> NDArray[np.int16]:
        """Samples of the core's raw type, shape (n, n_raw), as unit vectors."""
        return self._encoder.encode(raw)

    def answer(self, x: NDArray[np.int16]) -> int:
        """The class of one encoded sample, shape (1, n_in)."""
        return int(self.answers(x)[0])

    def answers(self, x: NDArray[np.int16]) -> NDArray[np.uint16]:
        """The classes of encoded samples, shape (n, n_in), among those not forgotten."""
        return self._best(self.net.scores(x)) if self.gone else self.net.predict(x)

    def _best(self, scores: NDArray[np.int32]) -> NDArray[np.uint16]:
        if self.gone:
            scores = scores.astype(np.int64)
            scores[:, list(self.gone)] = np.iinfo(np.int64).min
        answers: NDArray[np.uint16] = scores.argmax(axis=1).astype(np.uint16)
        return answers

    def familiar(self, x: NDArray[np.int16], answer: int) -> int:
        """How familiar one encoded sample is, and its answer; below familiarity.threshold it is unknown."""
        return self.familiarity.of(self.net, self.memory, x, answer)

    def cosines(self, x: NDArray[np.int16]) -> NDArray[np.float64]:
        """Cosines of encoded samples, shape (n, n_classes), joined as for the answer; NaN where forgotten."""
        logits = self.net.layer_scores(x)  # cosine * kappa, Q16
        out = joined(logits / (self.net.config.kappa * 64), self._network.recipe)
        out[:, list(self.gone)] = np.nan
        return out

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """The map of a convolution that sees raw values, else the encoder's shape."""
        shape = self._network.recipe.input_shape
        return shape if shape and math.prod(shape) == self.encoding.n_raw else self.encoding.shape

    @property
    def ram_bytes(self) -> int:
        """Arena of the network with its encoder."""
        return self.net.model_bytes(self._encoder)

    def knows(self, sample_id: bytes) -> bool:
        """Whether a sample of this id is among the last MAX_SEEN that were learned with one."""
        return sample_id in self._seen

    def learn(self, raw: NDArray[Any], label: int, sample_id: bytes = NO_ID) -> int:
        """Learn one sample, shape (1, n_raw) of the core's raw type; returns the class answered before."""
        x = self.encode(raw)
        scores = self.net.scores(x)
        answer = int(self._best(scores)[0])
        n_classes, came = len(self.names) - len(self.gone), self.learned[label]
        if self.guard is not None and came % HELD_EVERY == HELD_EVERY - 1:
            self.guard.held.keep(x[0], label, n_classes)
        elif label >= self._n_factory and came < SHOTS and self.memory.n_rows:
            self.memory.keep(x[0], label, n_classes, young=True)
            imprint(self.net, self.memory, label)
            self._set_rates()
        else:
            rows, labels = self.memory.draw(self.settings.rehearse)
            self.net.train(np.concatenate([x, rows]), np.array([label, *labels], np.uint16))
            self.memory.keep(x[0], label, n_classes)
            self.drift[label].take(-int(scores[0, label]), came + 1)
        self.familiarity.forget()
        self.learned[label] += 1
        self.right[label] += answer == label
        if self.guard is not None and sum(self.learned) % CHECK_EVERY == 0:
            self._look(self.guard)
        if sample_id != NO_ID:
            self._seen[sample_id] = None
            if len(self._seen) > MAX_SEEN:
                self._seen.popitem(last=False)
        return answer

    def _look(self, guard: Guard) -> None:
        """Undo what was learned since the guard's best state, or make this one the best."""
        if guard.best is not None:
            before = self._network_of(*guard.best)
            if guard.is_worse(self.net, before.to_core()):
                guard.undone += 1
                self._take(before)
                self.memory.take(_part(guard.best[0], "memory."))
                return
            if guard.right(self.net) < guard.right(before.to_core()):
                return
        guard.best = self._own()

    def check_name(self, name: str) -> None:
        """ShapeError where a class cannot be called so, or there are 1024."""
        if len(self.names) >= MAX_CLASSES:
            raise ShapeError(f"there are {MAX_CLASSES} classes", hint="forget some with --exact")
        if name in self.names or not 0 < len(name.encode("utf-8")) <= MAX_NAME or not name.isprintable():
            raise ShapeError(
                f"a class cannot be called {name[:40]!r}",
                hint=f"1 to {MAX_NAME} printable bytes that no class has",
            )

    def add_class(self, name: str) -> int:
        """One class more; returns its number. ShapeError for a bad name, or a 1025th class."""
        self.check_name(name)
        self.net.add_class()
        self.names.append(name)
        self.learned.append(0)
        self.right.append(0)
        self.drift.append(PageHinkley())
        self._fit()
        return len(self.names) - 1

    def forget_class(self, label: int) -> None:
        """Answer this class no more. ShapeError where fewer than two would be left."""
        self.check_forget(label)
        self.gone.add(label)
        self._fit()

    def _fit(self) -> None:
        labels = [n for n in range(len(self.names)) if n not in self.gone]
        self.memory.fit(labels)
        self.familiarity.forget()
        if self.guard is not None:
            self.guard.fit(labels)

    def check_forget(self, label: int) -> None:
        """ShapeError where fewer than two classes would be left."""
        if len(self.names) - len(self.gone | {label}) < MIN_CLASSES:
            raise ShapeError("fewer than two classes would be left", hint="add a class first")

    def mark(self) -> None:
        """Keep the state, for `rollback`."""
        self._mark = self._own()

    def rollback(self) -> None:
        """Be as at the last mark. ShapeError without one."""
        self.check_rollback()
        assert self._mark is not None
        self._be(*self._mark)
        if self.guard is not None:
            self.guard.best = None

    def check_rollback(self) -> None:
        """ShapeError where there is no mark."""
        if self._mark is None:
            raise ShapeError("there is no snapshot to go back to", hint="take one first")

    def apply(self, record: Record) -> None:
        """Do what a record says: all that a journal needs."""
        if record.kind is Kind.LEARN:
            self.learn(np.frombuffer(record.raw, self.encoding.raw)[None], record.label, record.sample_id)
        elif record.kind is Kind.ADD_CLASS:
            self.add_class(record.name)
        elif record.kind is Kind.FORGET_CLASS:
            self.forget_class(record.label)
        elif record.kind is Kind.MARK:
            self.mark()
        else:
            self.rollback()

    def network(self) -> Network:
        """The network as it is now: its recipe is the factory's, its weights are this user's."""
        n = self._network
        return Network.from_core(self.net, n.recipe, self.names, n.encoding)

    @property
    def state_crc32(self) -> int:
        """CRC-32 of the network's whole learned state."""
        return self.net.state_crc32

    def to_state(self) -> tuple[Tensors, dict[str, Any]]:
        """All of it as tensors and plain types; `from_state` makes an equal one."""
        tensors, document = self._own()
        best = None if self.guard is None else self.guard.best
        for name, other in (("mark", self._mark), ("best", best)):
            if other is not None:
                tensors |= {f"{name}.{part}": tensor for part, tensor in other[0].items()}
                document[name] = other[1]
        if self.guard is not None:
            tensors |= {f"held.{part}": tensor for part, tensor in self.guard.held.to_tensors().items()}
            document["undone"] = self.guard.undone
        return tensors, document

    @classmethod
    def from_state(cls, tensors: Tensors, document: dict[str, Any], settings: Settings) -> Learner:
        """The learner of to_state. StoreError where they do not fit together."""
        learner = object.__new__(cls)
        learner.settings = settings
        try:
            own = {n: t for n, t in tensors.items() if not n.startswith(("mark.", "best.", "held."))}
            learner._be(own, document)
            learner._mark = (_part(tensors, "mark."), document["mark"]) if "mark" in document else None
            learner.guard = Guard(learner.encoding.n_features, len(learner.names)) if settings.guard else None
            if learner.guard is not None:
                learner.guard.held.take(_part(tensors, "held."))
                learner.guard.undone = int(document["undone"])
                if "best" in document:
                    learner.guard.best = _part(tensors, "best."), document["best"]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StoreError(f"the learned state is not whole: {error}", hint=_AUDIT) from error
        return learner

    def _own(self) -> tuple[Tensors, dict[str, Any]]:
        """The state without snapshot and guard, in the types that a file gives back."""
        tensors, network = from_network(self.network())
        tensors |= self.memory.to_tensors()
        tensors["seen"] = np.frombuffer(b"".join(self._seen), np.uint8).reshape(-1, ID_BYTES)
        document = {
            "network": network,
            "gone": sorted(self.gone),
            "learned": self.learned,
            "right": self.right,
            "drift": [asdict(drift) for drift in self.drift],
            "n_factory": self._n_factory,
        }
        return tensors, json.loads(canonical(document))

    def _be(self, tensors: Tensors, document: dict[str, Any]) -> None:
        self._take(self._network_of(tensors, document))
        self.memory.take(_part(tensors, "memory."))
        self._n_factory = int(document["n_factory"])
        self.gone = set(document["gone"])
        self.drift = [PageHinkley(**drift) for drift in document["drift"]]
        self._seen = OrderedDict((row.tobytes(), None) for row in tensors["seen"])
        self.learned, self.right = list(document["learned"]), list(document["right"])

    def _network_of(self, tensors: Tensors, document: dict[str, Any]) -> Network:
        own = {n: t for n, t in tensors.items() if n.startswith(("layers.", "encoder."))}
        network = to_network(own, document["network"])
        if not isinstance(network, Network):
            raise StoreError("a float network cannot learn here", hint="edgehff quantize")
        return network


def _part(tensors: Tensors, prefix: str) -> Tensors:
    """The tensors under a prefix; of "memory." with it, of others without."""
    keep = "" if prefix == "memory." else prefix
    return {name.removeprefix(keep): t for name, t in tensors.items() if name.startswith(prefix)}
