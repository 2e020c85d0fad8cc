"""Strategies of networks with convolutions, small enough for the oracle."""

import math

from hypothesis import assume
from hypothesis import strategies as st
from twins import configs

from edgehff.errors import ShapeError
from edgehff.geometry import ConvLayer
from edgehff.recipe import CoreConfig

conv_rows = st.tuples(
    st.integers(0, 2**32 - 1),
    st.integers(1, 6),
    st.sampled_from(["random", "few values", "sparse", "hostile"]),
)
pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


@st.composite
def layers(draw, channels_in):
    """One convolution after a map of so many channels."""
    kind = draw(st.sampled_from(["conv", "conv", "depthwise"]))
    kernel = draw(pairs)
    pool = draw(st.sampled_from(["none", "max", "mean"]))
    windows = st.tuples(st.integers(1, 3), st.integers(1, 3)).filter(lambda size: size != (1, 1))
    return ConvLayer(
        channels_in if kind == "depthwise" else draw(st.integers(1, 4)),
        kind,
        kernel,
        draw(st.tuples(st.integers(1, 2), st.integers(1, 2))),
        (draw(st.integers(0, kernel[0] - 1)), draw(st.integers(0, kernel[1] - 1))),
        pool,
        (1, 1) if pool == "none" else draw(windows),
        draw(pairs),
    )


@st.composite
def conv_configs(draw, **fixed):
    """Any small configuration that begins with one or two convolutions."""
    shape = (draw(st.sampled_from([1, 1, 4, 6])), draw(st.integers(1, 8)), draw(st.integers(1, 3)))
    conv = []
    for _ in range(draw(st.integers(1, 2))):
        conv.append(draw(layers(conv[-1].channels if conv else shape[2])))
    widths = draw(st.lists(st.integers(1, 5), max_size=2))
    n = len(conv) + len(widths)
    plain = draw(configs(dims=(math.prod(shape), *(c.channels for c in conv), *widths)))
    weights = tuple(draw(st.lists(st.integers(0, 1024), min_size=n, max_size=n)))
    changes = {"conv": tuple(conv), "input_shape": shape} | fixed
    changes["join_weight"] = weights if plain.join == "weighted" else ()
    config = CoreConfig(**({f: getattr(plain, f) for f in plain.__dataclass_fields__} | changes))
    try:
        assert config.shapes
    except ShapeError:
        assume(False)
    return config
