import numpy as np
import pytest

from edgehff.data.dataset import from_arrays
from edgehff.errors import ShapeError
from edgehff.personalize.session import PersonalSession
from edgehff.recipe import EncoderRecipe, Recipe
from edgehff.train.events import Advanced, EpochDone, Trained
from edgehff.train.local import train, trained


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 300)
    x = rng.integers(0, 40, (300, 10)) + 60 * np.eye(3, 10, dtype=np.int64)[y]
    return from_arrays("blobs", x.astype(np.uint8), y)


RECIPE = Recipe(
    layers=(12, 8), epochs=3, personal_lr=0.4, personal_lr_prototypes=0.02, encoder=EncoderRecipe(center=True)
)


def test_events_add_up_and_the_network_learned(rows):
    events = list(train(RECIPE, rows.rows(np.arange(200)), rows.rows(np.arange(200, 300))))
    epochs = [e for e in events if isinstance(e, EpochDone)]
    assert [e.epoch for e in epochs] == [1, 2, 3]
    assert sum(e.samples for e in events if isinstance(e, Advanced)) == 600
    assert epochs[-1].validation > 0.95
    assert epochs[0].online < epochs[-1].online
    assert isinstance(events[-1], Trained)
    assert events[-1].network.step == 600
    assert events[-1].seconds > 0


def test_shares_are_of_one_pass(rows):
    events = train(RECIPE.replace(gate=None), rows)
    assert [e.updates for e in events if isinstance(e, EpochDone)] == [(1.0, 1.0)] * 3


def test_validation_rows_do_not_change_the_weights(rows):
    alone = trained(RECIPE, rows.rows(np.arange(200)))
    *_, done = train(RECIPE, rows.rows(np.arange(200)), rows.rows(np.arange(200, 300)))
    assert done.network.state_crc32 == alone.state_crc32


def test_a_session_learns_like_the_core_and_leaves_its_factory_model(rows):
    network = trained(RECIPE, rows.rows(np.arange(100)))
    before = network.state_crc32
    session = PersonalSession(network)
    for i in range(100, 150):
        session.learn_one(rows.x[i], int(rows.y[i]))
    net = network.to_core()
    net.set_rates(round(RECIPE.personal_lr * 65536), round(RECIPE.personal_lr_prototypes * 16384))
    net.train(network.encode(rows.x[100:150]), rows.y[100:150])
    assert session.network().weights_crc32 == net.weights_crc32
    assert session.network().step == network.step + 50
    assert network.state_crc32 == before
    assert session.predict_one(rows.x[0]) == session.predict(rows.x[:1])[0]


def test_a_session_takes_names_and_refuses_what_it_does_not_know(rows):
    network = trained(RECIPE.replace(epochs=1), rows)
    session = PersonalSession(network)
    session.learn_one(rows.x[0], "2")
    for label in (3, -1, "three"):
        with pytest.raises(ShapeError, match="no class of this model"):
            session.learn_one(rows.x[0], label)
    with pytest.raises(ShapeError):
        session.learn_one(rows.x[0][:9], 1)
    with pytest.raises(ShapeError):
        session.learn_one(rows.x[0].astype(np.int16), 1)
    assert session.learned == 1


def test_permuting_test_labels_leaves_the_answers(rows):
    network = trained(RECIPE, rows.rows(np.arange(200)))
    test = rows.rows(np.arange(200, 300))
    answers = network.to_core().predict(network.encode(test.x))
    shuffled = from_arrays("blobs", test.x, np.random.default_rng(1).permutation(test.y))
    assert np.array_equal(answers, network.to_core().predict(network.encode(shuffled.x)))
