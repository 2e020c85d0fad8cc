"""Twenty thousand hostile steps: prototypes stay on the sphere, weights inside their limits."""

import numpy as np
import pytest
import twins

from edgehff.core import Net
from edgehff.recipe import CoreConfig

STEPS = 20_000


@pytest.mark.parametrize("lr", [6554, 1048576])
@pytest.mark.parametrize("arith", ["int8", "int16"])
def test_hostile_steps_break_no_bound(arith, lr):
    rates = {"lr_w": lr, "lr_p": 8192, "gate": 65535, "kappa": 44320, "margin": 3277}
    config = CoreConfig(dims=(16, 24, 20), n_classes=4, n_per_class=2, arith=arith, **rates)
    net = Net(config)
    random = twins.sample_rows(3, STEPS // 2, 16, "random")
    x = np.concatenate([random, twins.sample_rows(4, STEPS // 2, 16, "hostile")])
    rng = np.random.default_rng(5)
    x = x[rng.permutation(STEPS)]
    y = rng.integers(0, 4, STEPS).astype(np.uint16)
    shortest, longest = 2.0, 0.0
    for start in range(0, STEPS, 500):
        net.train(x[start : start + 500], y[start : start + 500])
        net.check()
        for layer in (0, 1):
            p = net.prototypes(layer).astype(np.int64)
            squares = (p * p).sum(-1) / 2**28
            shortest, longest = min(shortest, squares.min()), max(longest, squares.max())
            assert np.abs(net.weights(layer).astype(int)).max() <= twins.LIMITS[arith]
    assert shortest >= 0.9995
    assert longest <= 1.0005
    assert net.step == STEPS
    assert all(net.layer_stats(layer)["updates"] == STEPS for layer in (0, 1))
