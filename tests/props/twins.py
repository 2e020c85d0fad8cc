"""A network in C and the same one in the oracle, made, trained and compared together."""

import numpy as np
from hypothesis import strategies as st

from edgehff import core, fixedpoint
from edgehff.recipe import CoreConfig

LIMITS = {"int8": 127, "int16": 32512}


@st.composite
def configs(draw, **fixed):
    """Any small configuration."""
    n_layers = draw(st.integers(1, 3))
    join = draw(st.sampled_from(["sum_logp", "last", "weighted"]))
    plain = {
        "dims": tuple(draw(st.lists(st.integers(1, 10), min_size=n_layers + 1, max_size=n_layers + 1))),
        "n_classes": draw(st.integers(2, 5)),
        "arith": draw(st.sampled_from(["int8", "int16"])),
        "n_per_class": draw(st.integers(1, 4)),
        "join": join,
        "join_weight": tuple(draw(st.lists(st.integers(0, 1024), min_size=n_layers, max_size=n_layers)))
        if join == "weighted"
        else (),
        "cap": draw(st.booleans()),
        "revive": draw(st.booleans()),
        "kappa": draw(st.one_of(st.integers(1, 94548), st.sampled_from([17728, 44320]))),
        "margin": draw(st.integers(0, 16384)),
        "gate": draw(st.one_of(st.just(65535), st.integers(0, 32768), st.integers(0, 6000))),
        "lr_w": draw(st.one_of(st.integers(0, 1048576), st.integers(0, 20000))),
        "lr_p": draw(st.integers(0, 8192)),
        "seed": draw(st.integers(0, 2**32 - 1)),
    }
    return CoreConfig(**(plain | fixed))


def sample_rows(seed, n, width, kind):
    """int16 Q14 unit vectors, shape (n, width): random, with few values, sparse, or hostile."""
    rng = np.random.default_rng(seed)
    a = rng.integers(-(2**20), 2**20, (n, width))
    if kind == "few values":
        a = rng.integers(-1, 2, (n, width))
    elif kind == "sparse":
        a *= rng.random((n, width)) < 0.2
    elif kind == "hostile":
        shapes = [
            np.zeros(width),
            np.eye(width)[0],
            -np.eye(width)[-1],
            np.full(width, 2**30),
            np.full(width, -1),
        ]
        a = np.stack([shapes[i % 5] for i in range(n)]).astype(np.int64)
    return np.stack([core.unit(row.astype(np.int32)) for row in a])


rows = st.tuples(
    st.integers(0, 2**32 - 1),
    st.integers(1, 12),
    st.sampled_from(["random", "few values", "sparse", "hostile"]),
)


def labels_for(seed, n, n_classes):
    """Labels without relation to the samples."""
    return np.random.default_rng(seed + 1).integers(0, n_classes, n).astype(np.uint16)


def samples_of(config, data):
    """The samples and labels that rows draws, for this network."""
    seed, n, kind = data
    return sample_rows(seed, n, config.dims[0], kind), labels_for(seed, n, config.n_classes)


def trained(config, data):
    """A network in C that learned from samples, and those."""
    net = core.Net(config)
    x, y = samples_of(config, data)
    net.train(x, y)
    return net, x, y


def fill(config, net, state, seed):
    """Give both the same weights, many of them at their limit, and the same random prototypes."""
    rng = np.random.default_rng(seed)
    limit = LIMITS[config.arith]
    for index, layer in enumerate(state.layers):
        w = rng.integers(-2 * limit, 2 * limit + 1, net.weights(index).shape).clip(-limit, limit)
        net.weights(index)[:] = w
        layer.weight = w.tolist()
        p = sample_rows(seed + index, len(layer.prototype), config.shapes[index].head, "random")
        net.prototypes(index)[:] = p.reshape(net.prototypes(index).shape)
        layer.prototype = p.tolist()
    net.check()


def assert_equal(net, state):
    """Weights, prototypes, running means, counters and step are the same."""
    assert net.step == state.step
    for index, layer in enumerate(state.layers):
        assert net.weights(index).tolist() == layer.weight
        shape = net.prototypes(index).shape
        assert net.prototypes(index).reshape(-1, shape[-1]).tolist() == layer.prototype
        assert net.norm_sum(index) == layer.norm_sum
        assert net.layer_stats(index)["updates"] == layer.updates


def train_both(config, data, filled=None, first_layer=0):
    """Train a network in C and in the oracle; they give the same classes before each step."""
    net, state = core.Net(config), fixedpoint.init(config)
    if filled is not None:
        fill(config, net, state, filled)
    net.set_first_layer(first_layer)
    state.first_layer = first_layer
    x, y = samples_of(config, data)
    predicted = net.train(x, y)
    assert predicted.tolist() == [
        fixedpoint.train(state, a, int(b)) for a, b in zip(x.tolist(), y, strict=True)
    ]
    return net, state, x, y
