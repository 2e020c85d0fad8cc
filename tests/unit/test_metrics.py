import numpy as np
import pytest

from edgehff.bench.baselines import SoftmaxRegression
from edgehff.recipe import Recipe
from edgehff.train import metrics
from edgehff.train.local import decayed_rates, pass_order


def test_confusion_rows_are_the_truth():
    matrix = metrics.confusion(np.array([0, 1, 1, 2]), np.array([0, 0, 1, 1]), 3)
    assert matrix.tolist() == [[1, 1, 0], [0, 1, 1], [0, 0, 0]]
    assert metrics.per_class(matrix) == [0.5, 0.5, None]
    assert np.isnan(metrics.accuracy(np.array([]), np.array([])))


def test_the_bootstrap_interval_is_that_of_a_mean():
    values = np.random.default_rng(1).normal(size=400)
    low, high = metrics.bootstrap_interval(values)
    error = values.std() / 20
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.2 * error)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.2 * error)


def test_every_seed_and_pass_has_its_own_order():
    orders = {tuple(pass_order(50, seed, epoch)) for seed, epoch in ((0, 0), (1, 0), (0, 1), (2**32 - 1, 0))}
    assert len(orders) == 4
    assert all(sorted(o) == list(range(50)) for o in orders)


def test_rates_fall_to_the_last_fraction():
    recipe = Recipe(lr=0.5, lr_prototypes=0.25, lr_final=0.25, epochs=3)
    assert [decayed_rates(recipe, e) for e in range(3)] == [(32768, 4096), (16384, 2048), (8192, 1024)]
    assert decayed_rates(recipe.replace(epochs=1), 0) == (32768, 4096)


def test_softmax_regression_reaches_the_optimum():
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(200, 4)), rng.integers(0, 3, 200)
    x[np.arange(200), y] += 1.5
    model = SoftmaxRegression(1.0).fit(x, y, 3)
    assert model.gradient_norm < 1e-4
    assert metrics.accuracy(model.predict(x), y) > 0.7
