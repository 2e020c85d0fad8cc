"""A store after power cuts: the state is a prefix of the run, never older than what was said to be safe."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from personal import drawn, small_network
from powercuts import Disk, Log, left, play

from edgehff.errors import StoreError
from edgehff.model.network import Network
from edgehff.personalize.replay import Replayed, replay
from edgehff.personalize.session import PersonalSession
from edgehff.personalize.store import MIN_JOURNAL_BYTES

N_EVENTS = 330


@pytest.fixture(scope="module")
def network() -> Network:
    return small_network()


def one_event(session: PersonalSession, n: int, x: np.ndarray[Any, Any]) -> None:
    """The n-th event of the run."""
    if n == 40:
        session.add_class("new")
    elif n == 120:
        session.snapshot()
    elif n == 160:
        session.rollback()
    elif n == 250:
        session.forget_class("fist")
    elif n < 250:
        session.learn_one(x[n], "new" if n > 40 and n % 4 == 0 else n % 3, f"id {n}")
    else:
        session.learn_one(x[n], 2 * (n % 2))


def run_logged(network: Network, folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Log, list[int]]:
    """The log of one run, and the state's CRC after each number of events."""
    x = drawn(N_EVENTS, 5)
    crcs = []
    with monkeypatch.context() as patch:
        log = Log(patch, folder)
        session = PersonalSession.open(folder, network, journal_bytes=MIN_JOURNAL_BYTES, memory_bytes=8 << 10)
        crcs.append(session.network().state_crc32)
        log.ack(0, crcs[0])
        for n in range(N_EVENTS):
            one_event(session, n, x)
            crcs.append(session.network().state_crc32)
            if n % 7 == 0:
                events = session.sync()
                assert events == n + 1
                log.ack(events, crcs[-1])
            if n == 200:  # opened again in between
                session.close()
                session = PersonalSession.open(folder)
        session.close()
        log.ack(N_EVENTS, crcs[-1])
    return log, crcs


def lay_out(files: dict[str, bytes], folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)


def cut_and_check(log: Log, crcs: list[int], folder: Path, places: range, seed: int) -> int:
    """Cut the power at each place of the log; returns how many stores were recovered."""
    disk, told, recovered = Disk(), -1, 0
    for at, call in enumerate(log.calls):
        if at in places:
            lay_out(left(disk, random.Random(seed * 1_000_003 + at)), folder)  # noqa: S311
            if told < 0 and not (folder / "store.json").is_file():
                with pytest.raises(StoreError, match="is no store"):
                    PersonalSession.open(folder)
            else:
                recovered += 1
                check(folder, crcs, told)
        if call[0] == "ack":
            told = call[1]
        play(disk, call)
    return recovered


def check(folder: Path, crcs: list[int], told: int) -> None:
    with PersonalSession.open(folder) as session:
        assert session.store is not None
        events = session.store.place.sequence
        assert told <= events <= N_EVENTS
        assert session.network().state_crc32 == crcs[events]
        after = session.learn_one(np.full(400, 7, np.int8), 0)
        assert after >= 0
        state = session.metrics()["state_crc32"]
    *_, end = replay(folder)
    assert isinstance(end, Replayed)
    assert f"{end.learner.state_crc32:08x}" == state
    assert end.place.sequence == events + 1


def test_what_was_said_to_be_safe_survives_a_power_cut_at_every_call(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, crcs = run_logged(network, tmp_path / "store", monkeypatch)
    assert len(log.calls) > 2 * N_EVENTS / 7
    recovered = cut_and_check(log, crcs, tmp_path / "cut", range(0, len(log.calls), 1), seed=1)
    assert recovered > 400


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 12))
def test_many_power_cuts(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    log, crcs = run_logged(network, tmp_path / "store", monkeypatch)
    assert cut_and_check(log, crcs, tmp_path / "cut", range(len(log.calls)), seed) > 400
