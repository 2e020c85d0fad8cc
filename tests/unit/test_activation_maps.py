"""Class activation maps: what they add up to, where they lie, and what is shown beside them."""

import numpy as np
import pytest
from export_models import data, model

from edgehff import geometry, spec
from edgehff.geometry import ConvLayer
from edgehff.model.float_network import FloatNetwork, float_view
from edgehff.recipe import EncoderRecipe, Recipe
from edgehff.report import activation_maps as maps
from edgehff.train.local import trained

NAMES = ("maps", "signals", "depthwise", "mixed")


def exact(name: str) -> FloatNetwork:
    network = model(name)
    return network if isinstance(network, FloatNetwork) else float_view(network)


def samples(name, n=20):
    return data("emg" if name == "signals" else "digits").x[:n]


def nearest(network, raw, classes):
    """Layer by layer the largest cosine of the class's prototypes, from the specification: (n, n_conv)."""
    u, out = network.encode(raw), []
    for shape, layer in zip(network.recipe.shapes(u.shape[1]), network.layers, strict=True):
        if shape.conv is not None:
            u, head, _ = spec.conv_forward(shape, layer.weight.astype(float), u)
            cosine = np.einsum("ckh,nh->nck", layer.prototypes.astype(float), head)
            out.append(cosine.max(axis=2)[np.arange(len(raw)), classes])
    return np.stack(out, axis=1)


@pytest.mark.parametrize("name", NAMES)
def test_a_map_adds_up_to_the_cosine_of_its_layer(name):
    network, raw = exact(name), samples(name)
    classes = np.arange(len(raw)) % len(network.class_names)
    wanted = nearest(network, raw, classes)
    found = maps.layer_maps(network, raw, classes)
    assert [layer.text for layer in found] == [c.text for c in network.recipe.conv]
    for i, layer in enumerate(found):
        shape = network.recipe.shapes(network.encoding.n_features)[i]
        assert layer.values.shape == (len(raw), *shape.map_out[:2])
        assert np.abs(layer.cosines - wanted[:, i]).max() < 1e-12
        assert np.abs(layer.values.sum(axis=(1, 2)) - wanted[:, i]).max() < 1e-12


def test_each_position_adds_its_own_part():
    """Against loops, with cells of different sizes, three prototypes, and a silent sample."""
    shape = geometry.follow(ConvLayer(3, grid=(2, 3)), (5, 4, 2))
    rng = np.random.default_rng(7)
    prototypes = rng.normal(size=(2, 3, shape.head))
    prototypes /= np.linalg.norm(prototypes, axis=2, keepdims=True)
    x = rng.normal(size=(4, 40))
    x[3] = 0
    u, head, _ = spec.conv_forward(shape, rng.normal(size=(3, 18)), x / 10)
    classes = np.array([1, 0, 1, 0])
    values, cosines = maps.class_maps(shape, prototypes, u, classes)
    for n, c in enumerate(classes):
        k = int((prototypes[c] @ head[n]).argmax())
        p, us = prototypes[c, k].reshape(2, 3, 3), u[n].reshape(5, 4, 3)
        f = np.zeros((2, 3, 3))
        for row, col in np.ndindex(5, 4):
            f[row * 2 // 5, col * 3 // 4] += us[row, col]
        length = np.linalg.norm(f) or 1.0
        for row, col in np.ndindex(5, 4):
            part = p[row * 2 // 5, col * 3 // 4] @ us[row, col] / length
            assert values[n, row, col] == pytest.approx(part, abs=1e-12)
        assert cosines[n] == pytest.approx(prototypes[c, k] @ head[n], abs=1e-12)
    assert (values[3] == 0).all()


def test_cosines_are_the_similarities_where_a_class_has_one_prototype():
    network, raw = exact("maps"), samples("maps")
    similarities = network.layer_similarities(network.encode(raw))
    classes = similarities[:, 0].argmax(axis=1)
    for i, layer in enumerate(maps.layer_maps(network, raw, classes)):
        assert np.abs(layer.cosines - similarities[np.arange(len(raw)), i, classes]).max() < 1e-12


@pytest.mark.parametrize(
    "conv",
    [
        ConvLayer(1),
        ConvLayer(1, kernel=(5, 3), padding=(0, 1), stride=(2, 1)),
        ConvLayer(1, kernel=(4, 2), padding=(3, 0), pool="max", pool_size=(2, 3)),
        ConvLayer(1, stride=(3, 2), padding=(2, 2), pool="mean", pool_size=(3, 2)),
    ],
    ids=lambda c: c.text,
)
def test_a_position_stands_in_the_middle_of_what_it_sees(conv):
    """Against the specification's own index of inputs, at the positions that see no padding."""
    side = 40
    shape = geometry.follow(conv, (side, side, 1))
    ((span_of_rows, span_of_columns),) = maps.spans((shape,))
    seen = spec.patch_index(shape).reshape(*shape.map_out[:2], -1)
    checked = 0
    for row, col in np.ndindex(*shape.map_out[:2]):
        at = seen[row, col]
        if (at == side * side).any():
            continue
        rows, columns = at // side, at % side
        for span, position, n, inputs in (
            (span_of_rows, row, shape.map_out[0], rows),
            (span_of_columns, col, shape.map_out[1], columns),
        ):
            middle = span[0] + (span[1] - span[0]) * (position + 0.5) / n
            assert middle == pytest.approx((inputs.min() + inputs.max()) / 2)
        checked += 1
    assert checked > 20


def test_spans_add_up_over_layers_and_end_at_dense_ones():
    pool = ConvLayer(2, pool="max", pool_size=(2, 2))
    shapes = geometry.shapes((1 * 16 * 16, 2, 2, 9), (pool, pool), (16, 16, 1))
    assert maps.spans(shapes) == [((-0.5, 15.5), (-0.5, 15.5))] * 2
    late = ConvLayer(2, kernel=(1, 5), padding=(0, 0), stride=(1, 2))
    shapes = geometry.shapes((40, 2, 2), (late, late), (1, 40, 1))
    assert maps.spans(shapes)[1] == ((-0.5, 0.5), (4.0, 32.0))  # of 18 and 7 positions; steps of 2 and 4


def test_the_input_is_shown_raw_where_positions_have_values():
    raw = samples("maps", 3)
    assert (maps.input_maps(exact("maps"), raw) == raw[..., None]).all()
    mixed = exact("mixed")  # a constant channel of the encoder
    assert (maps.input_maps(mixed, raw) == raw[..., None]).all()
    assert maps.has_constant_channel(mixed.encoding, 64)
    assert not maps.has_constant_channel(mixed.encoding, 32)
    assert not maps.has_constant_channel(exact("maps").encoding, 1)
    windows = samples("signals", 3)
    assert (maps.input_maps(exact("signals"), windows) == windows[:, None]).all()


def test_the_input_is_shown_encoded_behind_features():
    recipe = Recipe(
        layers=(),
        epochs=1,
        input_shape=(1, 10, 8),  # 10 features of 8 channels
        conv=(ConvLayer(4, kernel=(1, 3), padding=(0, 1)),),
        encoder=EncoderRecipe(features=("mav", "rms"), segments=5, log=True),
    )
    emg = data("emg").rows(range(100))
    network = float_view(trained(recipe, emg))
    assert (maps.input_maps(network, emg.x).reshape(100, -1) == network.encode(emg.x)).all()


def test_samples_to_look_at():
    labels = np.array([2, 0, 0, 1, 1, 2, 0])
    answers = np.array([2, 1, 0, 1, 1, 0, 2])
    assert maps.telling_samples(answers, labels).tolist() == [2, 3, 0, 1, 5]
    assert maps.telling_samples(answers, labels, right=2, wrong=1).tolist() == [2, 3, 1]
    assert maps.telling_samples(labels, labels).tolist() == [1, 3, 0]
    assert maps.telling_samples(labels * 0 + 3, labels).tolist() == [0, 1]
