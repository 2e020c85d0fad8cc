"""A session at a stream: learned, answered, refused and saved, with nothing lost at its end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from personal import drawn, small_network

from edgehff.data.stream import Item
from edgehff.errors import NoDeviceError
from edgehff.model.network import Network
from edgehff.personalize.replay import Replayed, replay
from edgehff.personalize.run import Answered, Learned, Refused, Saved, Tally, run
from edgehff.personalize.session import PersonalSession
from edgehff.personalize.sources import Came, Refusal


@pytest.fixture(scope="module")
def network() -> Network:
    return small_network()


def values(seed: int) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return drawn(1, seed)[0].astype(np.float32)


def test_each_thing_that_comes_has_its_event(network: Network) -> None:
    session = PersonalSession(network)
    stream: list[Came] = [
        Item(values(1), "fist", "a"),
        Item(values(1), "fist", "a"),
        Item(values(2), None, "b"),
        Item(None, "wave", "b"),
        Item(None, "wave", "c"),
        Item(values(3), "clap"),
        Item(values(3) + 0.5, "fist"),
        Refusal("line 9", "why"),
        None,
    ]
    events = list(run(session, stream))
    tally = Tally()
    for event in events:
        tally.count(event)
    kinds = [e.kind if isinstance(e, Refused) else type(e).__name__ for e in events]
    assert kinds == ["Learned", "duplicate", "Answered", "Learned", "sample", "sample", "sample", "malformed"]
    assert (tally.learned, tally.answered) == (2, 1)
    assert tally.refused == {"duplicate": 1, "sample": 3, "malformed": 1}
    assert isinstance(events[3], Learned)
    assert isinstance(events[2], Answered)
    assert events[3].answer == events[2].answer.label
    assert session.metrics()["samples"] == 2


def test_a_new_name_becomes_a_class_where_that_is_wanted(network: Network) -> None:
    session = PersonalSession(network)
    events = list(run(session, [Item(values(3), "clap"), Item(values(4), "clap")], new_classes=True))
    assert [e.label for e in events if isinstance(e, Learned)] == [3, 3]
    assert session.class_names[3] == "clap"


def test_what_is_refused_makes_no_class(network: Network) -> None:
    session = PersonalSession(network)
    session.learn_one(drawn(1, 9)[0], 0, "known")
    stream: list[Came] = [
        Item(None, "one", "nobody"),
        Item(None, "two", "known"),
        Item(values(3), "three", "known"),
        Item(values(3) + 0.5, "four"),
    ]
    events = list(run(session, stream, new_classes=True))
    assert [e.kind for e in events if isinstance(e, Refused)] == [
        "sample",
        "duplicate",
        "duplicate",
        "sample",
    ]
    assert len(session.class_names) == 3


def test_what_is_learned_is_saved_at_pauses_and_at_the_end(network: Network, tmp_path: Path) -> None:
    with PersonalSession.open(tmp_path / "s", network) as session:
        stream: list[Came] = [Item(values(1), 0), None, None, Item(values(2), 1), Item(values(3), None)]
        events = list(run(session, stream, clock=lambda: 0.0))
        assert [type(e) for e in events] == [Learned, Saved, Learned, Answered, Saved]
        assert [e.events for e in events if isinstance(e, Saved)] == [1, 2]
        many: list[Came] = [Item(x.astype(np.float32), 0) for x in drawn(130, 5)]
        saved = [e.events for e in run(session, many, clock=lambda: 0.0) if isinstance(e, Saved)]
        assert saved == [66, 130, 132]
        ticks = iter(range(1000))
        slow = run(session, many[:3], clock=lambda: next(ticks))
        assert [e.events for e in slow if isinstance(e, Saved)] == [133, 134, 135, 135]


def test_a_source_that_goes_away_loses_nothing(network: Network, tmp_path: Path) -> None:
    def gone() -> Iterator[Came]:
        for x in drawn(10, 1):
            yield Item(x.astype(np.float32), 0)
        raise NoDeviceError("unplugged")

    with pytest.raises(NoDeviceError), PersonalSession.open(tmp_path / "s", network) as session:
        list(run(session, gone()))
    *_, end = replay(tmp_path / "s")
    assert isinstance(end, Replayed)
    assert end.place.sequence == 10


def test_nothing_that_comes_for_long_enough_ends_it(network: Network) -> None:
    def stalled() -> Iterator[Came]:
        yield Item(values(1), 0)
        while True:
            yield None

    ticks = iter(range(1000))
    events = list(run(PersonalSession(network), stalled(), idle_s=5, clock=lambda: next(ticks)))
    assert [type(e) for e in events] == [Learned]
    assert next(ticks) < 12
