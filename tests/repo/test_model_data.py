"""tools/make_model_data.py: frames of motion keep its mean, and its swing in the band of its frequency."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

TOOLS = Path(__file__).parents[2] / "tools"


@pytest.fixture
def tool(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS))
    monkeypatch.delitem(sys.modules, "make_model_data", raising=False)
    return importlib.import_module("make_model_data")


@pytest.mark.parametrize(
    ("hertz", "band"),
    [(50 / 32, 0), (100 / 32, 1), (150 / 32, 2), (6.25, 2), (10.0, 3), (15.0, 4), (22.0, 5)],
)
@pytest.mark.parametrize("channel", range(6))
def test_a_swing_is_in_its_band_and_the_mean_stays(tool, hertz, band, channel):
    x = np.zeros((1, 128, 6))
    x[:, :, channel] = 0.5 + 0.2 * np.sin(2 * np.pi * hertz * np.arange(128) / 50)
    found = tool.frames(x)
    assert found.shape == (1, 13, 42)
    assert found.dtype == np.float32
    by_band = found[0].reshape(13, 7, 6)
    assert np.allclose(by_band[:, 0, channel], 0.5, atol=0.08)
    assert (by_band[:, 1:, channel].argmax(axis=1) == band).all()
    others = np.delete(by_band, channel, axis=2)
    assert np.allclose(others[:, 0], 0)
    assert np.allclose(others[:, 1:], np.log(tool.FLOOR))


def test_a_swing_counts_in_the_frames_in_which_it_is(tool):
    x = np.zeros((1, 128, 6))
    x[:, 96:, 2] = np.sin(2 * np.pi * 6.25 * np.arange(32) / 50)
    swing = tool.frames(x)[0].reshape(13, 7, 6)[:, 3, 2]
    assert np.allclose(swing[:9], np.log(tool.FLOOR))
    assert (swing[9:] > -1).all()


def test_gases_keep_their_sign_and_the_later_batches_are_tested(tool):
    x = np.array([[0.0, np.e - 1, -(np.e**2 - 1)]] * 3, np.float32)
    found = tool.gas({"X": x, "y": [0, 1, 2], "batch": np.array([2, 3, 9]), "class_names": ["a", "b", "c"]})
    assert np.allclose(found["X"][0], [0, 1, -2])
    assert found["is_test"].tolist() == [False, True, True]
    assert found["group"].tolist() == [2, 3, 9]


def test_the_last_five_drawings_of_a_character_are_tested(tool):
    writer = np.tile(np.arange(20), 2)
    blank = np.full((40, 28, 28), 255, np.uint8)
    found = tool.omniglot({"X": blank, "y": np.repeat([0, 1], 20), "writer": writer})
    assert writer[found["is_test"]].tolist() == [15, 16, 17, 18, 19] * 2


def test_drawings_are_of_one_size_and_in_the_middle(tool):
    image = np.zeros((28, 28), np.uint8)
    image[2:12, 20:24] = 255  # 10 high, 4 wide, in a corner
    drawn = tool.in_the_middle(image)
    assert (drawn.shape, drawn.dtype, drawn.max()) == ((28, 28), np.uint8, 255)
    rows, columns = (np.flatnonzero((drawn > 127).any(axis)) for axis in (1, 0))
    assert (rows[0], rows[-1]) == (4, 23)
    assert (columns[0], columns[-1]) == (10, 17)
    assert np.array_equal(drawn, drawn[::-1, ::-1])
    heavy = image.copy()
    heavy[2:12, 18:20] = 100  # a fainter stroke beside it pulls the middle, and is drawn too
    rows, columns = (np.flatnonzero((tool.in_the_middle(heavy) > 50).any(axis)) for axis in (1, 0))
    assert columns[0] + columns[-1] < 27
    assert rows[0] + rows[-1] == 27


def test_exercises_are_frames_of_each_person(tool):
    source = {"X": np.ones((4, 100, 6), np.float16), "y": [0, 1, 0, 1], "subject": [1, 1, 5, 5]}
    found = tool.watch(source | {"is_test": [False, False, True, True], "class_names": ["a", "b"]})
    assert found["X"].shape == (4, 9, 42)
    assert found["group"] == [1, 1, 5, 5]
