"""Unknown samples, drift and the guard: what a session notices by itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from personal import drawn, small_network

from edgehff.data.dataset import from_arrays
from edgehff.data.sources import load
from edgehff.errors import DataError, RecipeError
from edgehff.model import file
from edgehff.model.network import Network
from edgehff.personalize.calibrate import calibrate
from edgehff.personalize.drift import WARM_UP, PageHinkley
from edgehff.personalize.replay import Replayed, replay
from edgehff.personalize.session import PersonalSession
from edgehff.recipe import Recipe, UnknownRecipe
from edgehff.train.local import trained

BIT = 1 << 16


@pytest.fixture(scope="module")
def nine() -> Network:
    """Digits 0 to 8, by a small network."""
    data = load("digits")
    known = data.rows((data.y < 9) & (np.arange(len(data)) < 1000))
    recipe = Recipe(layers=(64,), epochs=3, scale=15.0)
    return trained(recipe, from_arrays("nine digits", known.x, known.y))


def with_unknown(network: Network, score: str, threshold: float) -> Network:
    recipe = network.recipe.replace(unknown=UnknownRecipe(score, threshold))
    return Network(recipe, network.class_names, network.encoding, network.layers, network.step)


@pytest.mark.parametrize(("score", "threshold"), [("nearest", 0.8), ("answer", -0.01)])
def test_what_is_like_nothing_known_is_unknown(nine: Network, score: str, threshold: float) -> None:
    data = load("digits")
    later = data.rows(np.arange(len(data)) >= 1000)
    session = PersonalSession(with_unknown(nine, score, threshold), memory_bytes=32 << 10)
    for x, y in zip(later.x[:200], later.y[:200], strict=True):
        if y < 9:
            session.learn_one(x, int(y))
    flagged = np.array([session.answer_one(x).unknown for x in later.x[200:]])
    is_nine = later.y[200:] == 9
    assert flagged[is_nine].mean() > flagged[~is_nine].mean() + 0.15


def test_familiarity_is_what_it_says(nine: Network) -> None:
    data = load("digits")
    session = PersonalSession(with_unknown(nine, "nearest", 0.5), memory_bytes=32 << 10)
    empty = session.answer_one(data.x[0])
    assert (empty.unknown, empty.familiarity) == (True, -1.0)
    session.learn_one(data.x[0], int(data.y[0]))
    same = session.answer_one(data.x[0])
    assert not same.unknown
    assert same.familiarity == pytest.approx(1.0, abs=0.02)  # int8 keeps it within that
    assert PersonalSession(nine).answer_one(data.x[0]).familiarity is None


@pytest.mark.parametrize("score", ["nearest", "answer"])
def test_a_calibrated_model_calls_so_many_known_samples_unknown(nine: Network, score: str) -> None:
    data = load("digits")
    rows = data.rows(np.arange(len(data)) >= 1000)
    known = rows.rows(rows.y < 9)
    is_test = np.arange(len(known)) >= 300
    factory = from_arrays("nine digits", known.x, known.y, is_test=is_test)
    found = calibrate(nine, factory, score, false_alarms=0.1)
    assert (found.n_people, found.n_rows) == (1, int(is_test.sum()))
    session = PersonalSession(found.network, memory_bytes=256 << 10)
    for label in range(9):
        for x in known.x[:300][known.y[:300] == label][:10]:
            session.learn_one(x, label)
    flagged = np.mean([session.answer_one(x).unknown for x in known.x[300:]])
    others = np.mean([session.answer_one(x).unknown for x in rows.x[rows.y == 9]])
    assert flagged == pytest.approx(0.1, abs=0.04)
    assert others > flagged + 0.05
    with pytest.raises(DataError, match="0 test rows"):
        calibrate(nine, from_arrays("none", known.x, known.y), score)


@pytest.fixture(scope="module")
def two_layers() -> Network:
    return trained(Recipe(layers=(24, 8), epochs=1), from_arrays("d", drawn(60, 3), np.arange(60) % 3))


def test_how_sure_an_answer_is(two_layers: Network) -> None:
    x = drawn(20, 1)
    session = PersonalSession(with_unknown(two_layers, "answer", -4))
    encoded, core = two_layers.encode(x), two_layers.to_core()
    scores, logits = core.scores(encoded), core.layer_scores(encoded)[:, -1]
    rows, answer = np.arange(20), scores.argmax(axis=1)
    assert (logits.argmax(axis=1) != answer).any()  # of the answer, not of the last layer's own
    wanted = (scores[rows, answer] + logits[rows, answer] / 8) / BIT
    assert [session.answer_one(row).familiarity for row in x] == pytest.approx(wanted.tolist(), abs=1e-4)


def test_what_looks_like_a_forgotten_class_is_less_familiar(nine: Network) -> None:
    data = load("digits")
    later = data.rows((np.arange(len(data)) >= 1000) & (data.y == 3))
    session = PersonalSession(with_unknown(nine, "answer", -2))
    before = [session.answer_one(x) for x in later.x[:50]]
    session.forget_class("3")
    after = [session.answer_one(x) for x in later.x[:50]]
    assert np.mean([a.unknown for a in before]) < 0.3
    assert np.mean([a.unknown for a in after]) > 0.6
    assert not any(a.label == 3 for a in after)


def test_a_person_without_a_class_may_have_it_forgotten(nine: Network) -> None:
    """Threes that the person has no training rows of are neither answered nor scored."""
    data = load("digits")
    rows = data.rows((np.arange(len(data)) >= 1000) & (data.y < 9))
    is_test = np.arange(len(rows)) >= 300
    some = rows.rows((rows.y != 3) | is_test)
    factory = from_arrays("nine digits", some.x, some.y, is_test=is_test[(rows.y != 3) | is_test])
    found = calibrate(nine, factory, "answer", only_own=True)
    assert found.n_rows == int((is_test & (rows.y != 3)).sum())
    assert calibrate(nine, factory, "answer").n_rows == int(is_test.sum())
    two = from_arrays("nine digits", data.x[data.y < 9], data.y[data.y < 9])
    two = two.rows(np.isin(two.y, [4, 8]))
    is_eight = two.y == 8
    tested = is_eight & (np.arange(len(two)) > 100)
    two = replace(
        two, y=np.where(is_eight, 5, 4).astype(np.uint16), is_test=tested
    )  # an eight is called five
    thresholds = [
        calibrate(nine, two, "answer", 0.5, per_class=1, only_own=own).network.recipe.unknown.threshold
        for own in (False, True)
    ]
    assert thresholds[1] < thresholds[0] - 1


def test_nearest_is_the_mean_over_layers(two_layers: Network) -> None:
    network = two_layers
    session = PersonalSession(with_unknown(network, "nearest", 0.5), memory_bytes=32 << 10)
    x = drawn(3, 0)
    session.learn_one(x[0], 0)
    session.learn_one(x[1], 1)
    live = session.network()
    seen = [d.astype(np.float64) for d in live.to_core().directions(live.encode(x))]
    unit = [d / np.linalg.norm(d, axis=1, keepdims=True) for d in seen]
    wanted = np.mean([(u[:2] @ u[2]).max() for u in unit])
    assert len(unit) == 2
    assert session.answer_one(x[2]).familiarity == pytest.approx(wanted, abs=0.02)  # kept in int8
    assert abs(wanted - (unit[0][:2] @ unit[0][2]).max()) > 0.03


def test_the_recipe_says_when(tmp_path: Path) -> None:
    network = with_unknown(small_network(), "answer", -2.5)
    file.save(network, tmp_path / "m.safetensors")
    assert file.load(tmp_path / "m.safetensors").recipe.unknown == UnknownRecipe("answer", -2.5)
    assert "unknown" not in Recipe().to_dict()
    with pytest.raises(RecipeError, match=r"unknown\.score = 'near'"):
        Recipe(unknown=UnknownRecipe("near"))


def test_drift_is_noticed_once_and_soon() -> None:
    rng = np.random.default_rng(0)
    test = PageHinkley()

    def feed(mean: float, n: int) -> list[int]:
        surprise = (np.clip(rng.normal(mean, 0.5, n), 0, None) * BIT).astype(int).tolist()
        return [i for i, s in enumerate(surprise) if test.take(s, i)]

    assert feed(0.5, 5000) == []
    first = feed(3.0, 40)
    assert len(first) == 1
    assert first[0] < 15
    assert feed(3.0, 5000) == []
    assert test.alarms == 1
    assert test.at == first[0]
    test.take(1 << 60, 0)
    assert test.risen < 9 * BIT


def test_no_drift_before_there_is_a_mean() -> None:
    test = PageHinkley()
    assert not any(test.take(8 * BIT, i) for i in range(WARM_UP))


def test_a_session_tells_which_class_drifts(nine: Network) -> None:
    data = load("digits")
    session = PersonalSession(nine)
    rows = [(x, int(y)) for x, y in zip(data.x[1000:], data.y[1000:], strict=True) if y < 9]
    for x, y in rows[:400]:
        session.learn_one(x, y)
    assert [c["drifts"] for c in session.metrics()["classes"]] == [0] * 9
    for x, y in rows[400:]:
        session.learn_one(x[::-1, ::-1].copy() if y == 3 else x, y)
    drifts = [c["drifts"] for c in session.metrics()["classes"]]
    assert drifts[3] >= 1
    assert sum(drifts) - drifts[3] <= 1  # what it learns of them may cost a neighbor


def test_the_guard_undoes_what_harms(nine: Network, tmp_path: Path) -> None:
    data = load("digits")
    later = data.rows((np.arange(len(data)) >= 1000) & (data.y < 9))

    def accuracy_after_nonsense(guard: bool, folder: Path) -> tuple[float, int | None]:
        with PersonalSession.open(folder, nine, memory_bytes=8 << 10, guard=guard) as session:
            for x, y in zip(later.x[:400], later.y[:400], strict=True):
                session.learn_one(x, int(y))
            for x, y in zip(later.x[400:600], later.y[400:], strict=False):
                session.learn_one(x, (int(y) + 1) % 9)
            right = float(np.mean(session.predict(later.x[600:]) == later.y[600:]))
            undone: int | None = session.metrics()["undone"]
            crc = session.metrics()["state_crc32"]
        *_, end = replay(folder)
        assert isinstance(end, Replayed)
        assert f"{end.learner.state_crc32:08x}" == crc
        with PersonalSession.open(folder) as again:
            assert again.metrics()["undone"] == undone
        return right, undone

    unguarded, none = accuracy_after_nonsense(False, tmp_path / "a")
    guarded, undone = accuracy_after_nonsense(True, tmp_path / "b")
    assert none is None
    assert undone is not None
    assert undone >= 1
    assert guarded > unguarded + 0.1


def test_the_guard_leaves_good_learning_alone(nine: Network) -> None:
    data = load("digits")
    session = PersonalSession(nine, guard=True)
    for x, y in zip(data.x[1000:], data.y[1000:], strict=True):
        if y < 9:
            session.learn_one(x, int(y))
    assert session.metrics()["undone"] == 0
