"""Who learns a person: a session of edgehff, and what it is measured against.

All leave the same factory, with the same rows, and learn a person's samples one by one.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgehff.bench.rows import Rows
from edgehff.data.dataset import Dataset
from edgehff.data.split import shuffled
from edgehff.model.network import Network
from edgehff.personalize.memory import Memory, from_int8, to_int8
from edgehff.personalize.session import PersonalSession
from edgehff.recipe import Recipe
from edgehff.report.footprint import footprint

Setting = Mapping[str, Any]
Answers = NDArray[np.integer[Any]]
REHEARSE = 4
FLOAT, DOUBLE = 4, 8
"""Bytes."""


@dataclass(frozen=True)
class Factory:
    """What leaves the factory: a network, and the rows that it was trained on, as it sees them."""

    network: Network
    data: Dataset
    rows: Rows

    @property
    def ram_bytes(self) -> int:
        """Of the network with its encoder."""
        return self.network.to_core().model_bytes(self.network.encoding.to_core())

    @property
    def n_classes(self) -> int:
        """How many classes there are."""
        return self.data.n_classes


class Learns(Protocol):
    """One person's own."""

    def learn(self, rows: Rows, i: int) -> None:
        """Learn the row i."""

    def predict(self, rows: Rows) -> Answers:
        """The classes of all rows."""

    @property
    def ram_bytes(self) -> int:
        """What it needs to learn on, by formula where a library's own objects are larger."""


class Method(Protocol):
    """A way to learn: made once in the factory, begun anew for each person.

    settings: what is tried on people that no figure is measured on.
    """

    settings: tuple[Setting, ...]

    def begin(self, setting: Setting, memory_bytes: int) -> Learns:
        """For one person. memory_bytes: of own samples, to learn them again."""


def grid(**values: tuple[Any, ...]) -> tuple[Setting, ...]:
    """Every combination."""
    return tuple(dict(zip(values, combination, strict=True)) for combination in product(*values.values()))


class Session:
    """edgehff: a PersonalSession with memory."""

    settings: tuple[Setting, ...] = tuple(
        {"lr": lr, "lr_prototypes": lr_p, "rehearse": rehearse}
        for lr, lr_p in ((0.0, 0.1), (0.02, 0.02), (0.06, 0.03), (0.12, 0.03), (0.2, 0.06))
        for rehearse in (4, 10)
    )

    def __init__(self, factory: Factory) -> None:
        self._network = factory.network

    def begin(self, setting: Setting, memory_bytes: int) -> Learns:
        """For one person."""
        rates = {"personal_lr": setting["lr"], "personal_lr_prototypes": setting["lr_prototypes"]}
        recipe = self._network.recipe.replace(**rates)
        rehearse = setting["rehearse"] if memory_bytes else 0
        return _Session(
            PersonalSession(self._network, recipe, memory_bytes=memory_bytes, rehearse=rehearse), memory_bytes
        )


class _Session:
    def __init__(self, session: PersonalSession, memory_bytes: int) -> None:
        self._session, self._memory_bytes = session, memory_bytes

    def learn(self, rows: Rows, i: int) -> None:
        self._session.learn_one(rows.raw[i], int(rows.y[i]))

    def predict(self, rows: Rows) -> Answers:
        return self._session.predict(rows.raw)

    @property
    def ram_bytes(self) -> int:
        return self._session.ram_bytes + self._memory_bytes


class NearestMean:
    """The nearest class mean, by cosine; the factory's mean of a class counts as so many samples."""

    settings = grid(of=("x", "u"), factory_counts=(1, 3, 10, 30, 100))

    def __init__(self, factory: Factory) -> None:
        self._factory = factory

    def begin(self, setting: Setting, memory_bytes: int) -> Learns:  # noqa: ARG002
        """For one person; it keeps no samples."""
        return _NearestMean(self._factory, setting["of"], setting["factory_counts"])


class _NearestMean:
    def __init__(self, factory: Factory, of: str, counts: int) -> None:
        self._of = of
        values = getattr(factory.rows, of).astype(np.float64)
        means = [values[factory.rows.y == label].mean(axis=0) for label in range(factory.n_classes)]
        self._sums = counts * np.array(means)
        net = factory.ram_bytes if of == "u" else factory.network.encoding.to_core().ram_bytes
        self.ram_bytes = net + FLOAT * self._sums.size

    def learn(self, rows: Rows, i: int) -> None:
        self._sums[rows.y[i]] += getattr(rows, self._of)[i]

    def predict(self, rows: Rows) -> Answers:
        rays = self._sums / (np.linalg.norm(self._sums, axis=1, keepdims=True) + 1e-9)
        return np.asarray((getattr(rows, self._of) @ rays.T).argmax(axis=1))


class Neighbors:
    """The k nearest kept samples in int8, by cosine, in as many bytes as the session has.

    Each class has as many places. So many of them, at most, have rows of the factory, until the person's own
    take those too.
    """

    settings = grid(of=("x", "u"), k=(1, 3, 7), of_factory=(5, 20, 10_000))

    def __init__(self, factory: Factory) -> None:
        self._factory = factory

    def begin(self, setting: Setting, memory_bytes: int) -> Learns:
        """For one person."""
        return _Neighbors(self._factory, setting, self._factory.ram_bytes + memory_bytes)


class _Neighbors:
    def __init__(self, factory: Factory, setting: Setting, ram_bytes: int) -> None:
        of, self._k, self.ram_bytes = setting["of"], setting["k"], ram_bytes
        self._of: str = of
        values, y = getattr(factory.rows, of), factory.rows.y
        taken = factory.ram_bytes if of == "u" else factory.network.encoding.to_core().ram_bytes
        most = max((ram_bytes - taken) // (values.shape[1] + 1) // factory.n_classes, 1)
        order = shuffled(len(y), seed=0)
        held = min(most, setting["of_factory"])
        kept = [order[y[order] == label][:held] for label in range(factory.n_classes)]
        self._rows = [[from_int8(to_int8(values[i])) for i in part] for part in kept]
        self._most, self._own = most, [0] * factory.n_classes

    def learn(self, rows: Rows, i: int) -> None:
        label = int(rows.y[i])
        mine, row = self._rows[label], from_int8(to_int8(getattr(rows, self._of)[i]))
        if len(mine) < self._most:
            mine.insert(self._own[label] % self._most, row)
        else:
            mine[self._own[label] % self._most] = row
        self._own[label] += 1

    def predict(self, rows: Rows) -> Answers:
        kept = np.array([row for mine in self._rows for row in mine], np.float32)
        labels = np.repeat(np.arange(len(self._rows)), [len(mine) for mine in self._rows])
        cosines = getattr(rows, self._of).astype(np.float32) @ kept.T
        nearest = np.argsort(-cosines, axis=1, kind="stable")[:, : self._k]
        votes = np.eye(len(self._rows))[labels[nearest]]
        votes += votes[:, :1] * 1e-3  # the nearest decides between equals
        return np.asarray(votes.sum(axis=1).argmax(axis=1))


class River:
    """river's softmax regression on what the factory's last layer sees."""

    settings = grid(lr=(0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03))
    FACTORY_LR, FACTORY_PASSES = 0.03, 2

    def __init__(self, factory: Factory) -> None:
        from river import linear_model, optim

        self._factory = factory
        self._model = linear_model.SoftmaxRegression(optimizer=optim.SGD(self.FACTORY_LR))
        of_factory = _River(factory, self._model)
        for turn in range(self.FACTORY_PASSES):
            for i in shuffled(len(factory.rows), seed=turn):
                of_factory.learn(factory.rows, int(i))

    def begin(self, setting: Setting, memory_bytes: int) -> Learns:  # noqa: ARG002
        """For one person; it keeps no samples."""
        from river import optim

        model = copy.deepcopy(self._model)
        model.optimizer = optim.SGD(setting["lr"])
        return _River(self._factory, model)


class _River:
    def __init__(self, factory: Factory, model: Any) -> None:
        self._model = model
        n = factory.rows.u.shape[1]
        self.ram_bytes = factory.ram_bytes + DOUBLE * factory.n_classes * n

    def learn(self, rows: Rows, i: int) -> None:
        self._model.learn_one(self._as_dict(rows.u[i]), int(rows.y[i]))

    def predict(self, rows: Rows) -> Answers:
        return np.array([self._model.predict_one(self._as_dict(u)) for u in rows.u])

    @staticmethod
    def _as_dict(u: NDArray[np.int16]) -> dict[int, float]:
        scaled = u / 16384 * np.sqrt(len(u))
        return dict(enumerate([*scaled.tolist(), 1.0]))


class _TorchLearner:
    """What two ways to learn by backpropagation share: a step from a new sample and some kept ones."""

    def __init__(self, model: Any, lr: float, memory: Memory, of: str, ram_bytes: int) -> None:
        import torch

        self._torch, self._model, self._memory, self._of = torch, model, memory, of
        self._optimizer = torch.optim.SGD(model.parameters(), lr)
        self.ram_bytes = ram_bytes

    def learn(self, rows: Rows, i: int) -> None:
        x, label = getattr(rows, self._of)[i], int(rows.y[i])
        kept, labels = self._memory.draw(REHEARSE if self._memory.n_rows else 0)
        batch = self._torch.from_numpy(np.concatenate([x[None], kept]))
        y = self._torch.from_numpy(np.array([label, *labels], np.int64))
        self._optimizer.zero_grad()
        self._model.loss(batch / 16384, y).backward()
        self._optimizer.step()
        self._model.after_step()
        self._memory.keep(x, label, self._model.n_classes)

    def predict(self, rows: Rows) -> Answers:
        with self._torch.no_grad():
            x = self._torch.from_numpy(getattr(rows, self._of))
            answers: Answers = self._model(x / 16384).argmax(1).numpy()
        return answers


class Head:
    """A linear classifier in float32, by backpropagation, on what the last layer sees; with memory."""

    settings = grid(lr=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3))
    FACTORY_LR, FACTORY_PASSES, FACTORY_BATCH = 0.01, 20, 64

    def __init__(self, factory: Factory) -> None:
        import torch

        from edgehff.bench.torch_models import LinearHead

        self._factory = factory
        self._model = LinearHead(factory.rows.u.shape[1], factory.n_classes)
        optimizer = torch.optim.Adam(self._model.parameters(), self.FACTORY_LR)
        x, y = torch.from_numpy(factory.rows.u) / 16384, torch.from_numpy(factory.rows.y.astype(np.int64))
        for turn in range(self.FACTORY_PASSES):
            for at in torch.split(torch.from_numpy(shuffled(len(y), seed=turn)), self.FACTORY_BATCH):
                optimizer.zero_grad()
                torch.autograd.backward(self._model.loss(x[at], y[at]))
                optimizer.step()

    def begin(self, setting: Setting, memory_bytes: int) -> Learns:
        """For one person."""
        model = copy.deepcopy(self._model)
        n = sum(p.numel() for p in model.parameters())
        memory = Memory(memory_bytes, self._factory.rows.u.shape[1])
        return _TorchLearner(
            model, setting["lr"], memory, "u", self._factory.ram_bytes + 2 * FLOAT * n + memory_bytes
        )


class Backprop:
    """The whole network in float32, trained and personalized end to end by backpropagation; with memory."""

    settings = grid(lr=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0))

    def __init__(self, factory: Factory) -> None:
        from edgehff.bench.torch_models import backprop_network

        self._factory = factory
        self._model = backprop_network(self._recipe, factory.data)

    @property
    def _recipe(self) -> Recipe:
        return self._factory.network.recipe

    def begin(self, setting: Setting, memory_bytes: int) -> Learns:
        """For one person."""
        config = self._factory.network.config
        accumulated = footprint(config, self._factory.network.encoding).backprop[1]
        memory = Memory(memory_bytes, config.dims[0])
        ram = accumulated.ram_bytes + self._factory.network.encoding.to_core().ram_bytes + memory_bytes
        return _TorchLearner(copy.deepcopy(self._model), setting["lr"], memory, "x", ram)


METHODS: dict[str, Callable[[Factory], Method]] = {
    "edgehff": Session,
    "nearest mean": NearestMean,
    "neighbors": Neighbors,
    "river softmax": River,
    "linear head": Head,
    "backprop": Backprop,
}
