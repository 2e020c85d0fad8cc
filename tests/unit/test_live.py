"""What is seen of a session at a stream, and labels that come back: right, bounded, and from any thread."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from personal import NAMES, WIDTH, drawn, small_network

from edgehff.data.dataset import from_arrays
from edgehff.data.stream import Item
from edgehff.errors import NoDeviceError
from edgehff.model.network import Network
from edgehff.personalize.history import MAX_CONFUSED, MAX_CURVE, Accuracy, Confusion, Rate
from edgehff.personalize.live import MAX_ASKED, MAX_SHOWN, AskError, Live
from edgehff.personalize.run import Answered, Event, Learned, Refused, run
from edgehff.personalize.session import MAX_PENDING, PersonalSession
from edgehff.personalize.sketch import MAX_POINTS, sketch
from edgehff.personalize.sources import Came, Refusal
from edgehff.recipe import Recipe
from edgehff.train.local import trained

Actions = list[Came | Callable[[], Any]]


@pytest.fixture(scope="module")
def network() -> Network:
    return small_network()


def values(seed: int) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return drawn(1, seed)[0].astype(np.float32)


def played(
    session: PersonalSession, live: Live, actions: Actions, *, new_classes: bool = False
) -> list[Event]:
    """The events of a stream; a function among what comes is called when the stream is there."""

    def stream() -> Iterator[Came]:
        for action in actions:
            if callable(action):
                action()
            else:
                yield action

    events = []
    for event in run(session, live.merged(stream()), new_classes=new_classes):
        live.take(event)
        events.append(event)
    return events


def refusal(live: Live, sample_id: str, label: Any) -> str:
    with pytest.raises(AskError) as caught:
        live.ask(Item(None, label, sample_id))
    assert caught.value.message
    assert caught.value.hint
    return caught.value.kind


def test_a_view_tells_all_that_came(network: Network, tmp_path: Path) -> None:
    with PersonalSession.open(tmp_path / "s", network) as session:
        live = Live(session, clock=lambda: 5.0)
        actions: Actions = [Item(values(i), i % 3) for i in range(8)]
        actions += [Item(values(20), None, "a"), Item(values(21)), Item(values(22), None, "b")]
        actions += [Refusal("line 9", "why"), Item(values(1), "clap"), Refusal("line 11", "why")]
        events = played(session, live, actions)
        view = json.loads(json.dumps(live.view(), allow_nan=False))
        learned = [e for e in events if isinstance(e, Learned)]
        right = sum(e.answer == e.label for e in learned)
        assert (view["samples"], view["answers"], view["saved"]) == (8, 3, 8)
        assert view["refused"] == {"malformed": 2, "sample": 1}
        assert view["accuracy"] == right / 8
        assert view["curve"][-1] == [8, right / 8]
        assert view["classes"] == view["confusion"]["classes"] == list(NAMES)
        counts = np.array(view["confusion"]["counts"])
        assert counts.sum(axis=1).tolist() == [3, 3, 2]
        assert np.trace(counts) == right
        assert view["samples_per_second"] == 11
        assert view["ram_bytes"] > 400
        assert view["process_bytes"] > 10_000_000
        assert view["store_bytes"] == sum(p.stat().st_size for p in (tmp_path / "s").iterdir())
        assert [w["id"] for w in view["waiting"]] == ["b", "a"]
        assert (view["waiting_in_all"], view["new_classes"]) == (2, False)
        answers = [e.answer.label for e in events if isinstance(e, Answered)]
        assert [w["answer"] for w in view["waiting"]] == [NAMES[answers[2]], NAMES[answers[0]]]


def test_an_empty_view_has_no_figures(network: Network) -> None:
    view = Live(PersonalSession(network)).view()
    assert (view["accuracy"], view["last"], view["saved"], view["store_bytes"]) == (None, None, None, None)
    assert (view["curve"], view["waiting"], view["confusion"]["classes"]) == ([], [], [])
    json.dumps(view, allow_nan=False)


@pytest.mark.parametrize("join", [{"join": "last"}, {"join": "weighted", "join_weights": (1.0, 2.5)}, {}])
def test_the_largest_cosine_is_the_answers(join: dict[str, Any]) -> None:
    data = from_arrays("d", drawn(60, 3), np.arange(60) % 3, class_names=NAMES)
    session = PersonalSession(trained(Recipe(layers=(8, 8), epochs=1, **join), data))
    for x in drawn(40, 9):
        cosines = session.cosines(x)
        assert int(cosines.argmax()) == session.predict_one(x)
        assert np.abs(cosines).max() <= 1.001
    answer = session.predict_one(x)
    session.forget_class(answer)
    cosines = session.cosines(x)
    assert np.isnan(cosines).tolist() == [n == answer for n in range(3)]
    assert int(np.nanargmax(cosines)) == session.predict_one(x)


def test_the_cosines_of_the_last_sample_are_those_before_it_was_learned(network: Network) -> None:
    session, twin = PersonalSession(network), PersonalSession(network)
    live = Live(session)
    before = [round(float(c), 4) for c in twin.cosines(drawn(1, 7)[0])]
    played(session, live, [Item(values(7), "wave", "x")])
    last = live.view()["last"]
    assert last["cosines"] == list(zip(NAMES, before, strict=True))
    assert (last["id"], last["label"], last["answer"]) == ("x", "wave", NAMES[int(np.argmax(before))])
    assert [round(float(c), 4) for c in session.cosines(drawn(1, 7)[0])] != before
    played(session, live, [Item(values(8))])
    assert live.view()["last"]["label"] is None


def test_a_label_that_is_asked_for_is_learned_before_the_pause(network: Network, tmp_path: Path) -> None:
    with PersonalSession.open(tmp_path / "s", network) as session:
        live = Live(session)
        seen: list[Any] = []
        actions: Actions = [
            Item(values(1), None, "a"),
            None,
            lambda: live.ask(Item(None, "wave", "a")),
            lambda: seen.append(live.view()["waiting"][0]["asked"]),
            None,
            lambda: seen.append((live.view()["waiting"], live.view()["saved"])),
            Item(values(2), None, "b"),
            lambda: live.ask(Item(None, "fist", "b")),
        ]
        events = played(session, live, actions)
        assert seen == ["wave", ([], 1)]
        learned = [(e.sample_id, NAMES[e.label]) for e in events if isinstance(e, Learned)]
        assert learned == [("a", "wave"), ("b", "fist")]
        assert live.view()["saved"] == 2


def test_what_cannot_be_labeled_is_said(network: Network) -> None:
    session = PersonalSession(network)
    live = Live(session)
    kinds: list[str] = []
    actions: Actions = [
        Item(values(1), None, "a"),
        lambda: kinds.append(refusal(live, "zzz", "fist")),
        lambda: kinds.append(refusal(live, "a", "clap")),
        lambda: kinds.append(refusal(live, "a", 1)),
        lambda: live.ask(Item(None, "fist", "a")),
        lambda: kinds.append(refusal(live, "a", "fist")),
        None,
        lambda: kinds.append(refusal(live, "a", "fist")),
    ]
    played(session, live, actions)
    assert kinds == ["unknown", "label", "label", "asked", "unknown"]
    assert refusal(live, "a", "fist") == "ended"
    assert session.metrics()["samples"] == 1


def test_a_stream_that_breaks_takes_no_labels_any_more(network: Network) -> None:
    session = PersonalSession(network)
    live = Live(session)

    def gone() -> None:
        raise NoDeviceError("unplugged")

    with pytest.raises(NoDeviceError):
        played(session, live, [Item(values(1), None, "a"), gone])
    assert refusal(live, "a", "fist") == "ended"


def test_a_new_class_can_be_named_and_a_refused_label_given_again(network: Network) -> None:
    session = PersonalSession(network)
    live = Live(session, new_classes=True)
    seen: list[Any] = []
    actions: Actions = [
        Item(values(1), None, "a"),
        lambda: live.ask(Item(None, "a\x07bell", "a")),
        None,
        lambda: seen.append(live.view()),
        lambda: live.ask(Item(None, "clap", "a")),
        None,
    ]
    events = played(session, live, actions, new_classes=True)
    assert [type(e) for e in events] == [Answered, Refused, Learned]
    assert (seen[0]["waiting"][0]["asked"], seen[0]["new_classes"]) == (None, True)
    assert "cannot be called" in seen[0]["waiting"][0]["problem"]
    view = live.view()
    assert view["classes"] == [*NAMES, "clap"]
    assert view["waiting"] == []
    assert view["confusion"]["classes"][-1] == "clap"


def test_what_was_learned_under_the_same_id_waits_no_more(network: Network) -> None:
    session = PersonalSession(network)
    live = Live(session)
    actions: Actions = [
        Item(values(1), "fist", "a"),
        Item(values(2), None, "a"),
        lambda: live.ask(Item(None, "fist", "a")),
    ]
    events = played(session, live, actions)
    assert isinstance(events[-1], Refused)
    assert events[-1].kind == "duplicate"
    assert live.view()["waiting"] == []


def test_unknown_samples_come_first_then_the_newest(network: Network) -> None:
    session = PersonalSession(network)
    live = Live(session)
    stream = live.merged([Item(values(n), None, name) for n, name in enumerate("abcd")])
    for event in run(session, stream):
        assert not isinstance(event, Learned)
        if isinstance(event, Answered) and event.sample_id in ("a", "c"):
            event = replace(event, answer=replace(event.answer, unknown=True))  # noqa: PLW2901
        live.take(event)
    waiting = live.view()["waiting"]
    assert [w["id"] for w in waiting] == ["c", "a", "d", "b"]
    assert [w["unknown"] for w in waiting] == [True, True, False, False]


def test_everything_is_bounded(network: Network) -> None:
    session = PersonalSession(network)
    live = Live(session)
    n = MAX_PENDING + 40
    seen: list[dict[str, Any]] = []
    kinds: list[str] = []

    def ask_all() -> None:
        seen.append(live.view())
        for i in range(40, 40 + MAX_ASKED):
            live.ask(Item(None, "fist", f"s{i}"))
        kinds.append(refusal(live, f"s{n - 1}", "fist"))
        kinds.append(refusal(live, "s39", "fist"))

    actions: Actions = [Item(values(i), None, f"s{i}") for i in range(n)]
    events = played(session, live, [*actions, ask_all])
    assert (seen[0]["waiting_in_all"], len(seen[0]["waiting"])) == (MAX_PENDING, MAX_SHOWN)
    assert [w["id"] for w in seen[0]["waiting"]] == [f"s{i}" for i in range(n - 1, n - 1 - MAX_SHOWN, -1)]
    assert kinds == ["full", "unknown"]
    assert sum(isinstance(e, Learned) for e in events) == MAX_ASKED
    assert not any(isinstance(e, Refused) for e in events)
    assert all(sum(map(len, w["sketch"]["rows"])) <= MAX_POINTS for w in seen[0]["waiting"])


def test_threads_label_and_look_while_one_learns(network: Network) -> None:
    session = PersonalSession(network)
    live = Live(session)
    n, problems = 60, []
    over = threading.Event()
    until = time.monotonic() + 60

    def stream() -> Iterator[Came]:
        for i in range(n):
            yield Item(values(i), None, f"s{i}")
        while session.learned < n and time.monotonic() < until:
            yield None

    def label(part: int) -> None:
        todo = {f"s{i}" for i in range(part, n, 3)}
        while todo and time.monotonic() < until:
            for name in sorted(todo):
                try:
                    live.ask(Item(None, NAMES[part], name))
                except AskError as error:
                    if error.kind != "unknown":
                        problems.append(error.kind)
                else:
                    todo.discard(name)
        problems.extend(todo)

    def look() -> None:
        while not over.is_set():
            view = live.view()
            if view["samples"] != sum(map(sum, view["confusion"]["counts"])):
                problems.append("a view between two states")

    threads = [threading.Thread(target=label, args=(part,)) for part in range(3)]
    threads += [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    events = []
    for event in run(session, live.merged(stream())):
        live.take(event)
        events.append(event)
    over.set()
    for thread in threads:
        thread.join(60)
    assert problems == []
    labels = {e.sample_id: NAMES[e.label] for e in events if isinstance(e, Learned)}
    assert labels == {f"s{i}": NAMES[i % 3] for i in range(n)}
    assert not any(isinstance(e, Refused) for e in events)


def test_accuracy_is_that_of_the_last_fifty_and_its_curve_is_bounded() -> None:
    accuracy = Accuracy()
    for i in range(100_000):
        accuracy.add(i >= 99_990)
    curve = accuracy.curve()
    assert accuracy.now == 10 / 50
    assert curve[-1] == (100_000, 0.2)
    assert len(curve) <= MAX_CURVE + 1
    assert [n for n, _ in curve] == sorted({n for n, _ in curve})
    steps = np.diff([n for n, _ in curve[:-1]])
    assert curve[0][0] == steps.min() == steps.max()


def test_confusion_shows_the_classes_with_the_most_samples() -> None:
    confusion = Confusion()
    for label in range(40):
        for _ in range(label):
            confusion.add(label, label)
    confusion.add(39, 1)
    shown = confusion.to_dict([f"c{i}" for i in range(40)])
    assert shown["classes"] == [f"c{i}" for i in range(40 - MAX_CONFUSED, 40)]
    assert [row[i] for i, row in enumerate(shown["counts"])] == list(range(40 - MAX_CONFUSED, 40))
    assert shown["left_out"] == 39 - MAX_CONFUSED


def test_the_rate_is_that_of_the_last_ten_seconds() -> None:
    rate = Rate(100.0)
    assert rate.per_second(100.0) == 0
    for i in range(200):
        rate.add(100.0 + i / 10)
    assert rate.per_second(120.0) == 10
    assert rate.per_second(125.0) == 5
    assert rate.per_second(140.0) == 0
    burst = Rate(0.5)
    burst.add(0.6)
    burst.add(0.7)
    assert burst.per_second(0.9) == 2


@pytest.mark.parametrize(
    ("shape", "dtype", "kind", "rows", "columns"),
    [
        ((50, 8), np.int8, "lines", 8, 16),
        ((WIDTH, 1), np.int8, "lines", 1, 128),
        ((20, 1), np.float32, "lines", 1, 20),
        ((784, 1), np.uint8, "picture", 11, 11),
        ((64, 1), np.uint8, "picture", 8, 8),
        ((28, 28, 1), np.int8, "picture", 11, 11),
        ((32, 32, 3), np.uint8, "picture", 11, 11),
        ((1, 64, 40), np.int16, "picture", 8, 16),
        ((64, 40), np.int16, "picture", 8, 16),
        ((1, 64, 3), np.int16, "lines", 3, 42),
        ((3, 60000), np.int16, "picture", 128, 1),
        ((2, 60000, 1), np.int16, "picture", 1, 128),
        ((1, 1), np.uint8, "lines", 1, 1),
    ],
)
def test_a_sketch_is_small_whatever_the_sample(
    shape: tuple[int, ...], dtype: Any, kind: str, rows: int, columns: int
) -> None:
    x = np.random.default_rng(1).integers(0, 100, int(np.prod(shape))).astype(dtype)
    drawing = sketch(x, shape)
    assert (drawing.kind, len(drawing.rows), len(drawing.rows[0])) == (kind, rows, columns)
    assert sum(map(len, drawing.rows)) <= MAX_POINTS
    flat = [value for row in drawing.rows for value in row]
    assert (min(flat), max(flat)) == ((0, 255) if len(flat) > 1 else (0, 0))


def test_a_sketch_keeps_peaks_and_places() -> None:
    x = np.zeros(1000, np.int16)
    x[[3, 996]] = (500, -500)
    row = sketch(x, (1000, 1)).rows[0]
    assert (row[0], row[-1], row[60]) == (255, 0, 128)
    picture = np.zeros((28, 28), np.uint8)
    picture[:4, -4:] = 9
    rows = np.array(sketch(picture.reshape(-1), (784, 1)).rows)
    assert rows[0, -1] == 255
    assert rows[4:, :7].max() == 0
    window = np.zeros((64, 40), np.int16)
    window[:, 0] = 5
    rows = np.array(sketch(window.reshape(-1), (64, 40)).rows)
    assert (rows[-1].min(), rows[:-1].max()) == (255, 0)
