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
from edgehff.personalize.journal import ID_BYTES, NO_ID, Kind, Record
from edgehff.recipe import Recipe, lr_p_of, lr_w_of

MIN_CLASSES, MAX_CLASSES = 2, 1024
MAX_SEEN = 4096
"""Ids of learned samples that are remembered."""
MAX_NAME = 255
"""Bytes of a class's name."""


@dataclass(frozen=True)
class Settings:
    """How a session learns; a store keeps them for its life.

    lr, lr_prototypes: rates of weights and prototypes.
    """

    lr: float
    lr_prototypes: float

    @classmethod
    def of(cls, recipe: Recipe) -> Settings:
        """The recipe's personal settings."""
        return cls(recipe.personal_lr, recipe.personal_lr_prototypes)

    def to_dict(self) -> dict[str, Any]:
        """Plain types, as JSON takes them."""
        return asdict(self)


class Learner:
    """A live network with the names of its classes and what was counted.

    names: every name ever given; a class's number is its place.  gone: numbers that are answered no more.
    learned, right: samples learned of each class, and how many of them were answered rightly before.
    """

    def __init__(self, network: Network, settings: Settings) -> None:
        """Start from network, which is not changed."""
        self.settings = settings
        self._take(network)
        self.gone: set[int] = set()
        self.learned: list[int] = [0] * len(self.names)
        self.right: list[int] = [0] * len(self.names)
        self._seen: OrderedDict[bytes, None] = OrderedDict()
        self._mark: tuple[Tensors, dict[str, Any]] | None = None

    def _take(self, network: Network) -> None:
        self._network = network
        self.names = list(network.class_names)
        self.encoding = network.encoding
        self._encoder = network.encoding.to_core()
        self.net = network.to_core()
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
        if not self.gone:
            return self.net.predict(x)
        scores = self.net.scores(x).astype(np.int64)
        scores[:, list(self.gone)] = np.iinfo(np.int64).min
        answers: NDArray[np.uint16] = scores.argmax(axis=1).astype(np.uint16)
        return answers

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
        before = self.answer(x) if self.gone else -1
        answer = int(self.net.train(x, np.array([label], np.uint16))[0])
        answer = before if self.gone else answer
        self.learned[label] += 1
        self.right[label] += answer == label
        if sample_id != NO_ID:
            self._seen[sample_id] = None
            if len(self._seen) > MAX_SEEN:
                self._seen.popitem(last=False)
        return answer

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
        return len(self.names) - 1

    def forget_class(self, label: int) -> None:
        """Answer this class no more. ShapeError where fewer than two would be left."""
        self.check_forget(label)
        self.gone.add(label)

    def check_forget(self, label: int) -> None:
        """ShapeError where fewer than two classes would be left."""
        if len(self.names) - len(self.gone | {label}) < MIN_CLASSES:
            raise ShapeError("fewer than two classes would be left", hint="add a class first")

    def mark(self) -> None:
        """Keep the state, for `rollback`."""
        tensors, document = self._own()
        self._mark = tensors, json.loads(canonical(document))  # the types that a file gives back

    def rollback(self) -> None:
        """Be as at the last mark. ShapeError without one."""
        self.check_rollback()
        assert self._mark is not None
        self._be(*self._mark)

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
        if self._mark is not None:
            marked, marked_document = self._mark
            tensors |= {f"mark.{name}": tensor for name, tensor in marked.items()}
            document = document | {"mark": marked_document}
        return tensors, document

    @classmethod
    def from_state(cls, tensors: Tensors, document: dict[str, Any], settings: Settings) -> Learner:
        """The learner of to_state. StoreError where they do not fit together."""
        plain = dict(document)
        mark = plain.pop("mark", None)
        own = {name: tensor for name, tensor in tensors.items() if not name.startswith("mark.")}
        learner = object.__new__(cls)
        learner.settings, learner._mark = settings, None
        learner._be(own, plain)
        if mark is not None:
            learner._mark = ({n.removeprefix("mark."): t for n, t in tensors.items() if n not in own}, mark)
        return learner

    def _own(self) -> tuple[Tensors, dict[str, Any]]:
        tensors, network = from_network(self.network())
        tensors["seen"] = np.frombuffer(b"".join(self._seen), np.uint8).reshape(-1, ID_BYTES)
        return tensors, {
            "network": network,
            "gone": sorted(self.gone),
            "learned": list(self.learned),
            "right": list(self.right),
        }

    def _be(self, tensors: Tensors, document: dict[str, Any]) -> None:
        try:
            own = dict(tensors)
            seen = own.pop("seen")
            network = to_network(own, document["network"])
            if not isinstance(network, Network):
                raise StoreError("a float network cannot learn here", hint="edgehff quantize")
            self._take(network)
            self.gone = set(document["gone"])
            self._seen = OrderedDict((row.tobytes(), None) for row in seen)
            self.learned, self.right = list(document["learned"]), list(document["right"])
        except (KeyError, TypeError) as error:
            raise StoreError(f"the learned state lacks {error}", hint="edgehff replay") from error
