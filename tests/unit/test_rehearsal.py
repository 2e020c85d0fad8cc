"""The memory of samples: bounded, even over what came, exact in its states; and what it is for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from personal import small_network

from edgehff.core import unit
from edgehff.data.dataset import from_arrays
from edgehff.data.sources import load
from edgehff.personalize import imprint as imprinting
from edgehff.personalize.imprint import about, imprint
from edgehff.personalize.memory import SHOTS, Memory, from_int8, hashed, to_int8
from edgehff.personalize.session import PersonalSession
from edgehff.recipe import Recipe
from edgehff.train.local import trained

WIDTH = 20
GOLDEN = [-326, -295, 3449, 7018, -5548, -5114]


def vector(seed: int, width: int = WIDTH) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    return unit(np.random.default_rng(seed).integers(-1000, 1000, width).astype(np.int32))


@given(st.lists(st.integers(-16640, 16640), min_size=1, max_size=60))
def test_int8_keeps_the_direction(values: list[int]) -> None:
    row = to_int8(np.array(values, np.int16))
    largest = max(1, *(abs(v) for v in values))
    exact = [127 * v / largest for v in values]
    assert np.abs(row - np.array(exact)).max() <= 0.5
    assert np.abs(row).max(initial=0) == (127 if any(values) else 0)
    assert to_int8(-np.array(values, np.int16)).tolist() == (-row).tolist()
    length = np.sqrt((from_int8(row).astype(float) ** 2).sum()) / 16384
    assert abs(length - bool(row.any())) < 0.01


def test_hashed_is_what_it_was() -> None:
    """Stores depend on these bits."""
    assert hashed(0) == 0xE220A8397B1DCDAF  # the first number of SplitMix64 from seed 0, as published
    assert hashed(1, 2) != hashed(2, 1)


def test_it_holds_no_more_than_its_budget_and_each_class_its_part() -> None:
    memory = Memory(10 * WIDTH + 7, WIDTH)
    for n in range(100):
        memory.keep(vector(n), n % 3, 3)
        assert len(memory) <= 10
    assert [memory.count(c) for c in range(4)] == [3, 3, 3, 0]
    memory.fit(range(5))
    assert [memory.count(c) for c in range(5)] == [2, 2, 2, 0, 0]
    memory.fit([0, 2])
    assert [memory.count(c) for c in range(3)] == [2, 0, 2]
    empty = Memory(WIDTH - 1, WIDTH)
    empty.keep(vector(1), 0, 2)
    assert len(empty) == 0
    assert [part.shape for part in empty.draw(4)] == [(0, WIDTH), (0,)]


def test_a_new_class_has_room_among_many() -> None:
    """Of 100 classes each has one row, a new one its first ten, and never are there more than the budget.

    Without room left for a new class, each of the 100 would have two.
    """
    memory = Memory(205 * WIDTH, WIDTH)
    for n in range(300):
        memory.keep(vector(n), n % 100, 100)
    assert {memory.count(c) for c in range(100)} == {1}
    memory.fit(range(101))
    for n in range(SHOTS):
        memory.keep(vector(n), 100, 101, young=True)
        assert memory.count(100) == n + 1
        assert len(memory) <= 205
    assert memory.rows(100).tolist() == [from_int8(to_int8(vector(n))).tolist() for n in range(SHOTS)]
    memory.fit(range(102))
    memory.keep(vector(1), 101, 102, young=True)
    assert (memory.count(100), memory.count(101)) == (1, 1)
    for n in range(SHOTS):
        memory.keep(vector(n), 100, 102, young=True)
    memory.keep(vector(1), 101, 102, young=True)
    assert (memory.count(100), memory.count(101)) == (1, 2)
    for n in range(SHOTS):
        memory.keep(vector(n), 100, 102, young=True)
    memory.keep(vector(1), 100, 102)
    assert memory.count(100) == 1


def test_all_that_came_have_the_same_chance() -> None:
    kept = np.zeros(50)
    for run in range(400):
        memory = Memory(10 * WIDTH, WIDTH)
        for n in range(50):
            memory.keep(vector(n), run, 1)
        rows = memory.rows(run)
        for n in range(50):
            kept[n] += (rows == from_int8(to_int8(vector(n)))).all(axis=1).any()
    assert kept.sum() == 400 * 10
    # binomial with p = 0.2: mean 80, deviation 8
    assert kept.min() > 80 - 4 * 8
    assert kept.max() < 80 + 4 * 8


def test_classes_take_turns() -> None:
    memory = Memory(30 * WIDTH, WIDTH)
    for n in range(90):
        memory.keep(vector(n), n % 3 + 5, 3)
    _, labels = memory.draw(9)
    assert np.bincount(labels, minlength=8)[5:].tolist() == [3, 3, 3]
    rows, labels = memory.draw(100, without=6)
    assert set(labels.tolist()) == {5, 7}
    assert len(np.unique(rows, axis=0)) > 15


def test_a_state_goes_on_as_it_would_have() -> None:
    first, second = Memory(9 * WIDTH, WIDTH), Memory(9 * WIDTH, WIDTH)
    for n in range(40):
        first.keep(vector(n), n % 2, 2)
    first.draw(5)
    second.take(first.to_tensors())
    for memory in (first, second):
        for n in range(40):
            memory.keep(vector(100 + n), n % 2, 2)
    (rows, labels), (again, same) = first.draw(7), second.draw(7)
    assert rows.tolist() == again.tolist()
    assert labels.tolist() == same.tolist()
    with pytest.raises(ValueError, match="another width"):
        Memory(100, WIDTH + 1).take(first.to_tensors())


def test_rehearsal_keeps_a_class_that_comes_no_more() -> None:
    network = small_network()
    rng = np.random.default_rng(2)
    centers = rng.integers(-60, 60, (3, 400))

    def some(label: int, n: int) -> np.ndarray[tuple[int, int], np.dtype[np.int8]]:
        return np.clip(centers[label] + rng.integers(-60, 60, (n, 400)), -128, 127).astype(np.int8)

    def after(memory_bytes: int) -> float:
        session = PersonalSession(network, network.recipe.replace(personal_lr=0.5), memory_bytes=memory_bytes)
        for label in (0, 1, 2, 1, 2):
            for x in some(label, 60):
                session.learn_one(x, label)
        return float(np.mean(session.predict(some(0, 200)) == 0))

    assert after(20_000) >= after(0)
    assert after(20_000) > 0.9


def test_four_kept_samples_are_learned_after_each_new_one() -> None:
    network = small_network()
    session = PersonalSession(network, memory_bytes=20_000)
    for n in range(10):
        session.learn_one(np.full(400, n + 1, np.int8), n % 3)
    first = 1  # there was nothing to rehearse yet
    assert session.network().step == network.step + first + 9 * 5


def test_a_new_class_is_what_it_was() -> None:
    """Stores depend on these bits: turns, their rate, how far from kept samples others are learned."""
    session = PersonalSession(small_network(), memory_bytes=20_000)
    rows = np.random.default_rng(1).integers(-99, 99, (16, 400)).astype(np.int8)
    for n, x in enumerate(rows[:12]):
        session.learn_one(x, n % 3)
    session.add_class("new")
    for x in rows[12:]:
        session.learn_one(x, "new")
    assert session.metrics()["state_crc32"] == "29737824"


def test_a_new_prototype_is_its_mean_less_half_of_what_all_others_share(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(imprinting, "TURNS", 0)
    net, memory = small_network().to_core(), Memory(20_000, 400)
    rng, common = np.random.default_rng(3), np.full(400, 60)
    for label, n in ((0, 3), (1, 9), (3, 5)):
        for _ in range(n):
            memory.keep(unit((common + rng.integers(-99, 99, 400)).astype(np.int32)), label, 4)
    net.add_class()
    imprint(net, memory, 3)
    seen = {c: net.directions(memory.rows(c)) for c in (0, 1, 3)}
    for i in range(net.config.n_layers):
        zero, one, new = (seen[c][i].astype(float).mean(axis=0) for c in (0, 1, 3))
        wanted = new - (zero + one) / 4
        got = net.prototypes(i)[3, 0]
        assert np.abs(got - 16384 * wanted / np.linalg.norm(wanted)).max() < 3
        assert got @ (zero + one) < 0.9 * (new / np.linalg.norm(new) * 16384) @ (zero + one)
    alone = Memory(20_000, 400)
    alone.keep(vector(1, 400), 3, 4)
    imprint(net, alone, 3)
    assert np.abs(net.prototypes(0)[3, 0] - net.directions(alone.rows(3))[0][0]).max() < 3


@pytest.mark.parametrize(("rows_a_class", "others_learn"), [(2, False), (3, True), (12, True)])
def test_a_new_class_changes_no_weight_and_few_kept_samples_no_prototype(
    rows_a_class: int, others_learn: bool
) -> None:
    network = small_network()
    session = PersonalSession(network, memory_bytes=4 * rows_a_class * 400)
    rows = np.random.default_rng(1).integers(-99, 99, (40, 400)).astype(np.int8)
    for n, x in enumerate(rows[:30]):
        session.learn_one(x, n % 3)
    session.add_class("new")
    before = session.network()
    for x in rows[30:]:
        session.learn_one(x, "new")
    for old, now in zip(before.layers, session.network().layers, strict=True):
        assert np.array_equal(now.weight, old.weight)
        assert np.array_equal(now.prototypes[:3], old.prototypes[:3]) is not others_learn
        assert not np.array_equal(now.prototypes[3], old.prototypes[3])
        assert now.norm_sum == old.norm_sum


def test_others_are_learned_a_little_off_their_place() -> None:
    rows = np.array([vector(n) for n in range(30)])
    near = about(rows, seed=5)
    cosines = (rows.astype(float) * near).sum(axis=1) / 16384**2
    assert np.abs(np.linalg.norm(near, axis=1) / 16384 - 1).max() < 0.001
    assert abs(np.median(cosines) - 1 / np.hypot(1, 0.3)) < 0.03
    assert near.tolist() == about(rows, seed=5).tolist() != about(rows, seed=6).tolist()
    assert about(rows[:0], seed=5).shape == (0, WIDTH)
    assert about(vector(1)[None], seed=1)[0, :6].tolist() == GOLDEN  # stores depend on these bits


def test_a_class_is_learned_from_few_samples_and_the_others_stay(tmp_path: Path) -> None:
    data = load("digits")
    known = data.rows(data.y != 6)
    factory = from_arrays("nine digits", known.x, known.y - (known.y > 6))
    network = trained(
        Recipe(layers=(48,), epochs=3, scale=15.0), factory.rows(np.arange(len(factory)) < 1000)
    )
    stream, test = factory.rows(np.arange(len(factory)) >= 1000), data.rows(data.y == 6)
    with PersonalSession.open(tmp_path / "s", network) as session:
        for x, y in zip(stream.x[:180], stream.y, strict=False):
            session.learn_one(x, int(y))
        before = np.mean(session.predict(stream.x[180:]) == stream.y[180:])
        session.add_class("six")
        for x in test.x[:SHOTS]:
            session.learn_one(x, "six")
        new = np.mean(session.predict(test.x[SHOTS:]) == 9)
        after = np.mean(session.predict(stream.x[180:]) == stream.y[180:])
        assert new > 0.8
        assert after > before - 0.05
        session.learn_one(test.x[0], "six")
        crc = session.metrics()["state_crc32"]
    with PersonalSession.open(tmp_path / "s") as session:
        assert session.metrics()["state_crc32"] == crc
