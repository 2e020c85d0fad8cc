"""A person's session: learning, late labels, classes that come and go, snapshots; and a store behind it."""

from __future__ import annotations

import errno
import multiprocessing
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from personal import NAMES, drawn, small_network

from edgehff.errors import CheckFailed, DataError, DuplicateError, ShapeError, StoreError
from edgehff.model import file
from edgehff.model.network import Network
from edgehff.personalize import session as sessions
from edgehff.personalize import store as stores
from edgehff.personalize.layout import write_state
from edgehff.personalize.replay import Proved, Replayed, replay
from edgehff.personalize.session import PersonalSession
from edgehff.personalize.store import MIN_JOURNAL_BYTES

MEMORY = 16 << 10


@pytest.fixture(scope="module")
def network() -> Network:
    return small_network()


def state(session: PersonalSession) -> str:
    crc: str = session.metrics()["state_crc32"]
    return crc


def learn(session: PersonalSession, n: int, seed: int = 1) -> None:
    for i, x in enumerate(drawn(n, seed)):
        session.learn_one(x, i % 3)


def ended(folder: Path) -> Replayed:
    *_, end = replay(folder)
    assert isinstance(end, Replayed)
    return end


def test_a_store_changes_nothing_of_what_is_learned(network: Network, tmp_path: Path) -> None:
    plain = PersonalSession(network, memory_bytes=MEMORY)
    learn(plain, 50)
    with PersonalSession.open(tmp_path / "s", network, memory_bytes=MEMORY) as kept:
        learn(kept, 50)
        assert state(kept) == state(plain)
    with PersonalSession.open(tmp_path / "s") as again:
        assert state(again) == state(plain)
        assert again.network().weights_crc32 == plain.network().weights_crc32
        assert again.metrics()["classes"] == plain.metrics()["classes"]
        assert again.metrics()["events"] == 50


def test_the_factorys_model_is_kept_apart_and_never_written(network: Network, tmp_path: Path) -> None:
    with PersonalSession.open(tmp_path / "s", network, memory_bytes=MEMORY) as session:
        base = tmp_path / "s" / "base.safetensors"
        before = base.read_bytes()
        learn(session, 20)
    assert base.read_bytes() == before
    assert base.stat().st_mode & 0o777 == 0o444
    assert file.load(base).state_crc32 == network.state_crc32


def test_a_label_may_come_later(network: Network) -> None:
    now, later = PersonalSession(network), PersonalSession(network)
    first, second = drawn(2, 8)
    now.learn_one(second, "wave")
    now.learn_one(first, "fist")
    later.predict_one(first, "a")
    later.predict_one(second, "b")
    assert later.feedback("b", "wave") in range(3)
    later.feedback("a", 1)
    assert state(later) == state(now)
    assert later.metrics()["waiting"] == 0
    with pytest.raises(DuplicateError, match="'a' was learned before"):
        later.feedback("a", 1)
    with pytest.raises(ShapeError, match="no sample 'c' waits"):
        later.feedback("c", 1)
    with pytest.raises(DuplicateError):
        later.learn_one(first, 1, "b")
    assert state(later) == state(now)


def test_only_so_many_samples_wait(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "MAX_PENDING", 3)
    session = PersonalSession(network)
    for n, x in enumerate(drawn(5, 1)):
        session.predict_one(x, f"id {n}")
    assert session.metrics()["waiting"] == 3
    session.feedback("id 2", 0)
    with pytest.raises(ShapeError, match="id 1"):
        session.feedback("id 1", 0)


def test_a_bad_label_leaves_the_sample_waiting(network: Network) -> None:
    session = PersonalSession(network)
    session.predict_one(drawn(1, 1)[0], "a")
    with pytest.raises(ShapeError, match="'fisst' is no class of this model; did you mean fist"):
        session.feedback("a", "fisst")
    session.feedback("a", "fist")


def test_a_class_comes_and_is_answered(network: Network) -> None:
    session = PersonalSession(network)
    x = drawn(1, 4)[0]
    assert session.add_class("clap") == 3
    assert session.class_names == (*NAMES, "clap")
    for _ in range(40):
        session.learn_one(x, "clap")
    assert session.predict_one(x) == 3
    assert session.network().class_names == (*NAMES, "clap")
    for bad in ("clap", "", "a\nb", "x" * 256):
        with pytest.raises(ShapeError, match="cannot be called"):
            session.add_class(bad)


def test_a_forgotten_class_is_answered_no_more(network: Network) -> None:
    session = PersonalSession(network)
    x = drawn(300, 6)
    assert set(session.predict(x)) == {0, 1, 2}
    session.forget_class("fist")
    assert set(session.predict(x)) == {0, 2}
    assert {session.predict_one(row) for row in x} == {0, 2}
    assert session.class_names == ("rest", "wave")
    with pytest.raises(ShapeError, match="'fist' was forgotten"):
        session.learn_one(x[0], "fist")
    with pytest.raises(ShapeError, match="fewer than two"):
        session.forget_class("rest")


def test_a_snapshot_is_gone_back_to(network: Network, tmp_path: Path) -> None:
    with PersonalSession.open(tmp_path / "s", network, memory_bytes=MEMORY) as session:
        with pytest.raises(ShapeError, match="no snapshot"):
            session.rollback()
        learn(session, 10)
        session.snapshot()
        before = session.metrics()
        learn(session, 10, seed=2)
        session.add_class("clap")
    with PersonalSession.open(tmp_path / "s") as session:
        session.rollback()
        after = session.metrics()
    assert after | {"events": 0} == before | {"events": 0}
    assert ended(tmp_path / "s").learner.names == list(NAMES)


def test_the_store_stays_bounded_and_is_proved_from_one_state_to_the_next(
    network: Network, tmp_path: Path
) -> None:
    folder = tmp_path / "s"
    largest = 0
    with PersonalSession.open(
        folder, network, journal_bytes=MIN_JOURNAL_BYTES, memory_bytes=MEMORY
    ) as session:
        for n in range(10):
            learn(session, 60, seed=n)
            largest = max(largest, sum(p.stat().st_size for p in folder.iterdir()))
        assert session.store is not None
        assert session.store.manifest.first > 3
        assert not session.store.manifest.from_base
    n_states = 4
    base = (folder / "base.safetensors").stat().st_size
    assert largest < MIN_JOURNAL_BYTES + 1000 + n_states * (2 * base + MEMORY)
    steps = list(replay(folder))
    assert [s.file for s in steps if isinstance(s, Proved)][-1] == "checkpoint.safetensors"
    assert len([s for s in steps if isinstance(s, Proved)]) == 2
    end = steps[-1]
    assert isinstance(end, Replayed)
    assert (end.first_event > 0, end.place.sequence) == (True, 600)
    plain = PersonalSession(network, memory_bytes=MEMORY)
    for n in range(10):
        learn(plain, 60, seed=n)
    assert f"{end.learner.state_crc32:08x}" == state(plain)


@pytest.mark.parametrize("lost", ["checkpoint", "state-00000002", "both"])
def test_one_broken_generation_costs_nothing(network: Network, tmp_path: Path, lost: str) -> None:
    folder = tmp_path / "s"
    with PersonalSession.open(
        folder, network, journal_bytes=MIN_JOURNAL_BYTES, memory_bytes=MEMORY
    ) as session:
        learn(session, 130)
        assert session.store is not None
        assert session.store.place.segment == 2
        before = session.metrics()
    for name in ("checkpoint", "state-00000002"):
        if lost in (name, "both"):
            path = folder / f"{name}.safetensors"
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 1
            path.write_bytes(data)
    with PersonalSession.open(folder) as session:
        assert session.metrics() == before


@pytest.mark.parametrize("name", ["journal-00000001.bin", "checkpoint.safetensors"])
def test_an_altered_byte_is_found_by_replay(network: Network, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "s"
    with PersonalSession.open(folder, network, memory_bytes=MEMORY) as session:
        learn(session, 30)
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises((CheckFailed, StoreError)) as found:
        list(replay(folder))
    assert name in str(found.value) or "journal" in str(found.value)


def test_a_checkpoint_of_another_state_is_found_by_replay(network: Network, tmp_path: Path) -> None:
    folder = tmp_path / "s"
    with PersonalSession.open(folder, network, memory_bytes=MEMORY) as session:
        learn(session, 30)
        assert session.store is not None
        store, place = session.store, session.store.place
        learn(session, 1)
        write_state(
            folder / "checkpoint.safetensors", store.manifest, store.learner, place
        )  # whole, and wrong
        shutil.copytree(folder, tmp_path / "copy")
    with pytest.raises(CheckFailed, match="made again it is"):
        list(replay(tmp_path / "copy"))


def test_bytes_that_a_power_loss_tore_are_cut_off(network: Network, tmp_path: Path) -> None:
    folder = tmp_path / "s"
    with PersonalSession.open(folder, network, memory_bytes=MEMORY) as session:
        learn(session, 30)
        before = session.metrics()
    journal = folder / "journal-00000001.bin"
    torn = b"\x10\0\0\0torn" * 1000  # more than is written over it
    journal.write_bytes(journal.read_bytes() + torn)
    assert ended(folder).trailing_bytes == len(torn)
    with PersonalSession.open(folder) as session:
        assert session.store is not None
        assert session.store.lost_bytes == len(torn)
        assert session.metrics() == before
        learn(session, 3)
    assert ended(folder).trailing_bytes == 0


def forget_and_compare(network: Network, folder: Path, name: str, added: tuple[str, ...]) -> tuple[str, str]:
    """The state after forgetting name exactly, and that of a run which never saw it."""

    def go(session: PersonalSession, skip: str) -> None:
        for n, x in enumerate(drawn(90, 11)):
            if n in (20, 40) and added[n // 40] != skip:
                session.add_class(added[n // 40])
            names = [*NAMES, *added[: (n >= 20) + (n >= 40)]]
            if n == 60:
                session.snapshot()
            if n == 70:
                session.rollback()
            if n == 80 and skip != "rest" and name != "rest":
                session.forget_class("rest")
            label = names[1 + n % (len(names) - 1)]
            if label != skip:
                session.learn_one(x, label, f"id {n}")

    with PersonalSession.open(folder / "seen", network) as session:
        go(session, "")
        session.forget_class(name, exact=True)
        seen = state(session)
        kept = sorted(path.name.split("-")[0] for path in (folder / "seen").iterdir())
        assert kept == ["base.safetensors", "journal", "lock", "state", "store.json"]
        learn_after = drawn(5, 12)
        for x in learn_after:
            session.learn_one(x, "wave")
        assert name not in session.class_names
    with PersonalSession.open(folder / "seen") as session:
        after = state(session)
    with PersonalSession.open(folder / "never", network) as session:
        go(session, name)
        never = state(session)
        if name in NAMES:
            session.forget_class(name)
        for x in learn_after:
            session.learn_one(x, "wave")
        assert state(session) == after
    ended(folder / "seen")
    return seen, never


@pytest.mark.parametrize("name", ["clap", "snap", "fist"])
def test_exact_forgetting_is_as_if_the_class_had_never_been(
    network: Network, tmp_path: Path, name: str
) -> None:
    seen, never = forget_and_compare(network, tmp_path, name, ("clap", "snap"))
    assert seen == never
    if name == "fist":
        return  # the factory knew it: only what the session learned of it is gone
    data = b"".join(p.read_bytes() for p in (tmp_path / "seen").iterdir())
    assert name.encode() not in data


def test_exact_forgetting_needs_the_journal(network: Network, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="keeps no journal"):
        PersonalSession(network).forget_class("fist", exact=True)
    with PersonalSession.open(
        tmp_path / "s", network, journal_bytes=MIN_JOURNAL_BYTES, memory_bytes=MEMORY
    ) as session:
        learn(session, 400)
        before = session.metrics()
        with pytest.raises(StoreError, match="journal begins after"):
            session.forget_class("fist", exact=True)
        assert session.metrics() == before
        session.add_class("late")
        session.learn_one(drawn(1, 1)[0], "late")
        session.forget_class("late", exact=True)
        assert state(session) == before["state_crc32"]


def hold(folder: Path, held: object, go: object) -> None:
    with PersonalSession.open(folder):
        held.set()  # type: ignore[attr-defined]
        go.wait(60)  # type: ignore[attr-defined]


def test_two_processes_cannot_have_one_store(network: Network, tmp_path: Path) -> None:
    PersonalSession.open(tmp_path / "s", network, memory_bytes=MEMORY).close()
    context = multiprocessing.get_context("spawn")
    held, go = context.Event(), context.Event()
    other = context.Process(target=hold, args=(tmp_path / "s", held, go))
    other.start()
    try:
        assert held.wait(60)
        with pytest.raises(StoreError, match="in use by another process"):
            PersonalSession.open(tmp_path / "s")
        ended(tmp_path / "s")
    finally:
        go.set()
        other.join(60)
    assert other.exitcode == 0
    PersonalSession.open(tmp_path / "s").close()


def test_a_store_is_of_one_model_and_its_settings(network: Network, tmp_path: Path) -> None:
    PersonalSession.open(tmp_path / "s", network, memory_bytes=MEMORY).close()
    other = PersonalSession(network)
    learn(other, 1)
    with pytest.raises(StoreError, match="another model"):
        PersonalSession.open(tmp_path / "s", other.network())
    with pytest.raises(StoreError, match="learns with"):
        PersonalSession.open(tmp_path / "s", network, network.recipe.replace(personal_lr=0.7))
    with pytest.raises(StoreError, match="journal of"):
        PersonalSession.open(tmp_path / "s", network, journal_bytes=1 << 20)
    with pytest.raises(StoreError, match="the least"):
        PersonalSession.open(tmp_path / "t", network, journal_bytes=100)
    with pytest.raises(StoreError, match="is no store"):
        PersonalSession.open(tmp_path / "none")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "base.safetensors").write_text("mine")
    with pytest.raises(StoreError, match=r"holds base.safetensors already"):
        PersonalSession.open(tmp_path / "full", network)
    assert (tmp_path / "full" / "base.safetensors").read_text() == "mine"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 2}', '{"format": 1, "store": 3}', "[" * 9999])
def test_a_damaged_manifest_is_refused(network: Network, tmp_path: Path, text: str) -> None:
    PersonalSession.open(tmp_path / "s", network, memory_bytes=MEMORY).close()
    (tmp_path / "s" / "store.json").write_text(text)
    with pytest.raises(StoreError):
        PersonalSession.open(tmp_path / "s")


def test_what_the_disk_refuses_is_not_learned(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with PersonalSession.open(tmp_path / "s", network, memory_bytes=MEMORY) as session:
        learn(session, 10)
        before = session.metrics()
        write = os.write
        with monkeypatch.context() as full:

            def half(descriptor: int, data: bytes) -> int:
                if len(data) < 100:
                    raise OSError(errno.ENOSPC, "No space left on device")
                return write(descriptor, data[: len(data) - 50])

            full.setattr(os, "write", half)
            with pytest.raises(StoreError, match="No space left"):
                session.learn_one(drawn(1, 1)[0], 0)
        assert session.metrics() == before
        learn(session, 5, seed=2)
        after = session.metrics()
    assert ended(tmp_path / "s").trailing_bytes == 0
    with PersonalSession.open(tmp_path / "s") as session:
        assert session.metrics() == after


def test_a_disk_that_takes_no_new_segment_stops_a_full_journal_not_before(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with PersonalSession.open(
        tmp_path / "s", network, journal_bytes=MIN_JOURNAL_BYTES, memory_bytes=MEMORY
    ) as session:
        assert session.store is not None
        with monkeypatch.context() as full:

            def refuse(*_: object) -> None:
                raise StoreError("no space")

            full.setattr(stores, "start_segment", refuse)
            full.setattr(stores, "write_state", refuse)
            with pytest.raises(StoreError, match="journal is full"):
                learn(session, 1000)
            assert session.store.place.offset > MIN_JOURNAL_BYTES
            assert session.store.complaint == "no space"
            session.sync()
        before = session.metrics()
        shutil.copytree(tmp_path / "s", tmp_path / "copy")
    with PersonalSession.open(tmp_path / "copy") as session:
        assert session.metrics() == before
        learn(session, 200)
        assert session.store is not None
        assert session.store.complaint == ""


def test_an_interrupted_step_is_as_its_journal_says(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = PersonalSession(network, memory_bytes=MEMORY)
    learn(plain, 11)
    session = PersonalSession.open(tmp_path / "s", network, memory_bytes=MEMORY)
    learn(session, 10)
    with monkeypatch.context() as interrupted:

        def stop(*_: object) -> int:
            raise KeyboardInterrupt

        interrupted.setattr(session._learner, "learn", stop)
        with pytest.raises(KeyboardInterrupt):
            session.learn_one(drawn(11, 1)[10], 10 % 3)
    with pytest.raises(StoreError, match="interrupted"):
        session.learn_one(drawn(1, 1)[0], 0)
    session.close()
    with PersonalSession.open(tmp_path / "s") as again:
        assert state(again) == state(plain)


def test_bad_samples_change_nothing(network: Network, tmp_path: Path) -> None:
    with PersonalSession.open(tmp_path / "s", network, memory_bytes=MEMORY) as session:
        before = session.metrics()
        for bad in (np.zeros(399, np.int8), np.zeros(400, np.int16), np.zeros((2, 400), np.int8)):
            with pytest.raises((ShapeError, DataError)):
                session.learn_one(bad, 0)
        with pytest.raises(ShapeError):
            session.learn_one(np.zeros(400, np.int8), 3)
        assert session.metrics() == before


def test_a_clock_that_jumps_back_changes_nothing(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = PersonalSession(network, memory_bytes=MEMORY)
    learn(plain, 20)
    times = iter([*range(10**18, 10**18 + 10), *range(10), *range(-5, 0), 0, 1, 2])
    with PersonalSession.open(tmp_path / "s", network, memory_bytes=MEMORY) as session:
        monkeypatch.setattr(sessions.time, "time_ns", lambda: next(times) * 1_000_000)
        learn(session, 20)
    assert f"{ended(tmp_path / 's').learner.state_crc32:08x}" == state(plain)
