"""The first layer's weights as arrays to be drawn: which form, and which weight stands where."""

from dataclasses import replace

import numpy as np
import pytest
from export_models import blobs, data, model, train_rows

from edgehff.geometry import ConvLayer
from edgehff.model.float_network import float_view
from edgehff.recipe import EncoderRecipe, Recipe
from edgehff.report.filters import columns_for, first_filters, mosaic
from edgehff.train.local import trained


def trained_on(shape, raw="int8", **recipe):
    rows = train_rows(blobs(shape, raw))
    recipe = {"layers": (6,), "epochs": 1, **recipe}
    return float_view(trained(Recipe(**recipe), rows))


def test_kernels_over_one_channel_are_grey_images():
    network = float_view(model("maps"))
    found = first_filters(network, (8, 8))
    assert (found.kind, found.values.shape, found.n_units) == ("grey", (6, 2, 2), 6)
    assert (found.values == network.layers[0].weight.reshape(6, 2, 2)).all()


def test_the_encoders_constant_channel_is_left_out():
    network = float_view(model("mixed"))
    found = first_filters(network, (8, 8))
    assert (found.kind, found.values.shape) == ("grey", (5, 3, 5))
    assert (found.values == network.layers[0].weight.reshape(5, 3, 5, 2)[..., 0]).all()


@pytest.mark.parametrize(("channels", "kind"), [(3, "rgb"), (5, "size")])
def test_kernels_over_channels(channels, kind):
    conv = (ConvLayer(70, kernel=(3, 2), padding=(0, 0)),)
    network = trained_on((4, 4, channels), input_shape=(4, 4, channels), conv=conv, layers=())
    found = first_filters(network, (4, 4, channels))
    kernels = network.layers[0].weight[:64].reshape(64, 3, 2, channels)
    assert (found.kind, found.n_units) == (kind, 70)
    assert found.values == pytest.approx(kernels if kind == "rgb" else np.abs(kernels).mean(axis=3))


def test_kernels_over_signals():
    network = float_view(model("signals"))
    found = first_filters(network, (50, 8))
    assert (found.kind, found.values.shape) == ("signal", (12, 8, 5))
    assert (found.values.transpose(0, 2, 1).reshape(12, 40) == network.layers[0].weight).all()
    conv = (ConvLayer(4, kernel=(1, 3), padding=(0, 1)),)
    network = trained_on((12,), input_shape=(1, 12, 1), conv=conv, layers=())
    found = first_filters(network, (12,))
    assert found.kind == "curve"
    assert (found.values == network.layers[0].weight).all()


def test_kernels_of_one_position_are_a_matrix():
    conv = (ConvLayer(4, kernel=(1, 1), padding=(0, 0)),)
    network = trained_on((4, 4, 3), input_shape=(4, 4, 3), conv=conv, layers=())
    found = first_filters(network, (4, 4, 3))
    assert (found.kind, found.values.shape) == ("matrix", (4, 3))


def test_dense_rows_over_images():
    network = float_view(model("plain"))
    found = first_filters(network, (8, 8))
    assert (found.kind, found.values.shape) == ("grey", (24, 8, 8))
    assert (found.values.reshape(24, 64) == network.layers[0].weight).all()
    assert first_filters(trained_on((4, 5, 3)), (4, 5, 3)).kind == "rgb"
    assert first_filters(trained_on((4, 5, 1)), (4, 5, 1)).values.shape == (6, 4, 5)


@pytest.mark.parametrize("segments", [1, 4])
def test_the_bias_of_dense_rows_is_left_out(segments):
    network = trained_on((4, 5), encoder=EncoderRecipe(standardize=True, bias=4096, segments=segments))
    found = first_filters(network, (4, 5))
    parts = network.layers[0].weight.reshape(6, segments, -1)
    assert (found.values.reshape(6, segments, -1) == parts[..., :-1]).all()


@pytest.mark.parametrize("shape", [(12,), (12, 1), (2, 3, 2), (2, 2, 2, 3)])
def test_dense_rows_over_anything_else_are_a_matrix(shape):
    network = trained_on(shape)
    found = first_filters(network, shape)
    assert found.kind == "matrix"
    assert (found.values == network.layers[0].weight).all()


def test_dense_rows_over_features_are_a_matrix():
    found = first_filters(float_view(model("windows")), data("emg").sample_shape)
    assert (found.kind, found.values.shape) == ("matrix", (24, 88))


def test_a_float_network_shows_its_own_weights():
    network = float_view(model("plain"))
    weight = network.layers[0].weight / 7
    changed = replace(network, layers=(replace(network.layers[0], weight=weight), *network.layers[1:]))
    assert first_filters(changed, (8, 8)).values.reshape(24, 64) == pytest.approx(weight)


def test_tiles_stand_in_rows_with_gaps():
    tiles = np.arange(1.0, 4.0)[:, None, None] * np.ones((3, 40, 50))
    found = mosaic(tiles, 2, fill=0.0)
    gap = 50 // 14
    assert found.shape == (2 * 40 + 3 * gap, 2 * 50 + 3 * gap)
    for i, (row, col) in enumerate([(0, 0), (0, 1), (1, 0)]):
        top, left = gap + row * (40 + gap), gap + col * (50 + gap)
        assert (found[top : top + 40, left : left + 50] == i + 1).all()
    assert found.sum() == tiles.sum()
    small = mosaic(np.array([[[1.0, 2.0]]]), 1)
    assert small[np.isfinite(small)].reshape(15, 30)[:, [0, 14, 15, 29]].tolist() == [[1, 1, 2, 2]] * 15
    assert mosaic(np.ones((2, 3, 3, 3)), 2, fill=0.5).shape[2] == 3


def test_rows_of_tiles_are_full_where_that_is_near():
    assert columns_for(16, 3, 3) == 4
    assert columns_for(32, 8, 8) == 8
    assert columns_for(7, 3, 3) == 3
    assert columns_for(1, 9, 3) == 1
    assert columns_for(8, 50, 1) == 8
