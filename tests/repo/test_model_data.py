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
