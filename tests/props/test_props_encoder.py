"""The encoder in C equals the oracle, for every raw type, feature and table."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edgehff import fixedpoint_encoder
from edgehff.core import RAW_TYPES, Encoder
from edgehff.recipe_check import FEATURES


@st.composite
def encoders(draw):
    """(encoder, its options): small windows and plain vectors, with and without tables."""
    raw = draw(st.sampled_from(RAW_TYPES))
    features = tuple(f for f in FEATURES if draw(st.booleans()))
    bias = draw(st.one_of(st.just(0), st.integers(-32768, 32767)))
    segments = draw(st.integers(1, 3)) if features or bias else 1
    shape = (segments * draw(st.integers(1, 5)), draw(st.integers(1, 4)))
    if segments > 1 and not features and draw(st.booleans()):
        shape = shape[::-1]  # parts of the values, not of the rows
    options = {
        "features": features,
        "segments": segments,
        "log": draw(st.booleans()),
        "bias": bias,
        "gain_shift": draw(st.integers(0, 30)),
    }
    n = shape[0] * shape[1]
    if features:
        n = segments * shape[1] * len(set(features) - {"wl"}) + shape[1] * ("wl" in features)
    if draw(st.booleans()):
        rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        reach = 2 ** draw(st.integers(1, 31))
        options["offset"] = rng.integers(-reach, reach, n).astype(np.int32)
        options["gain"] = rng.integers(0, 2 ** draw(st.integers(1, 16)), n).astype(np.uint16)
    return Encoder(raw, shape, **options), options


def samples(raw, shape, seed, extreme):
    info = np.iinfo(raw)
    rng = np.random.default_rng(seed)
    if extreme:
        return rng.choice(np.array([info.min, info.max, 0, 1], raw), (2, *shape))
    return rng.integers(info.min, info.max, (2, *shape), dtype=raw, endpoint=True)


def oracle_features(encoder, options, row):
    if options["features"]:
        return fixedpoint_encoder.window_features(
            row.tolist(), options["features"], options["segments"], options["log"]
        )
    return fixedpoint_encoder.plain_features(row.ravel().tolist(), options["log"])


@given(encoders(), st.integers(0, 2**32 - 1), st.booleans())
def test_encoding_equals_the_oracle(case, seed, extreme):
    encoder, options = case
    rows = samples(encoder.raw, encoder.shape, seed, extreme)
    features = [oracle_features(encoder, options, row) for row in rows]
    assert encoder.raw_features(rows).tolist() == features
    offset, gain = options.get("offset"), options.get("gain")
    table = (None, None) if offset is None else (offset.tolist(), gain.tolist())
    parts = 1 if options["features"] else options["segments"]
    x = encoder.encode(rows)
    assert x.tolist() == [
        fixedpoint_encoder.encode(f, *table, options["gain_shift"], options["bias"], parts) for f in features
    ]
    # whatever was encoded, a network takes it
    assert np.all((x.astype(np.int64) ** 2).sum(1) <= 16640**2)
