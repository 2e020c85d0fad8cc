"""`edgehff eval --plots`, as a user runs it: which pictures are written, and what stops it."""

import sys

import numpy as np
import pytest
from commands import document, run

from edgehff import extras
from edgehff.model import file
from edgehff.model.float_network import float_view

pytestmark = pytest.mark.plot
RECIPES = {
    "images": """
data = "digits"
input_shape = [8, 8, 1]
layers = [16]
epochs = 1
[encoder]
center = true
[[conv]]
channels = 8
pool = "max"
pool_size = 2
grid = 2
[[conv]]
channels = 12
""",
    "signals": """
data = "emg-gestures"
input_shape = [1, 50, 8]
epochs = 1
[encoder]
standardize = true
[[conv]]
channels = 8
kernel = [1, 5]
padding = [0, 2]
pool = "max"
pool_size = [1, 2]
""",
    "dense": 'data = "digits"\nlayers = [16, 8]\nepochs = 1\n',
}
ALL = ["layers.png", "confusion.png", "filters.png", "maps.png"]


@pytest.fixture(scope="module", autouse=True)
def matplotlib():
    pytest.importorskip("matplotlib")


@pytest.fixture
def model(tmp_path, capsys):
    def made(kind, *, is_float=False):
        recipe, path = tmp_path / "recipe.toml", tmp_path / f"{kind}.safetensors"
        recipe.write_text(RECIPES[kind])
        code, _, err = run(capsys, "train", recipe, "-o", path)
        assert code == 0, err
        if is_float:
            file.save(float_view(file.load(path)), path)
        return path

    return made


def colors(path):
    """How many colors a picture has, and its size."""
    image = pytest.importorskip("PIL.Image")
    with image.open(path) as picture:
        assert picture.format == "PNG"
        pixels = np.asarray(picture.convert("RGB"))
    return len(np.unique(pixels.reshape(-1, 3), axis=0)), max(pixels.shape)


@pytest.mark.parametrize(
    ("kind", "is_float", "names"),
    [
        ("images", False, ALL),
        ("images", True, ALL),
        ("signals", False, ALL),
        ("dense", False, ALL[:3]),
        ("dense", True, ALL[:3]),
    ],
)
def test_pictures_are_written_and_named(model, tmp_path, capsys, kind, is_float, names):
    path, folder = model(kind, is_float=is_float), tmp_path / "new" / "pictures"
    plain = document(capsys, "eval", path)
    assert "plots" not in plain
    d = document(capsys, "eval", path, "--plots", folder)
    assert d.pop("plots") == [str(folder / name) for name in names]
    assert d == plain
    assert sorted(p.name for p in folder.iterdir()) == sorted(names)
    for name in names:
        n_colors, size = colors(folder / name)
        assert n_colors > 20, name
        assert 300 < size <= 1600, name


def test_the_text_names_them_and_old_ones_are_replaced(model, tmp_path, capsys):
    path = model("dense")
    (tmp_path / "layers.png").write_text("old")
    code, out, _ = run(capsys, "eval", path, "--plots", tmp_path, "--int8-prototypes")
    assert code == 0
    wrote = out.strip().splitlines()[-1]
    assert wrote == "wrote " + ", ".join(str(tmp_path / name) for name in ALL[:3])
    assert (tmp_path / "layers.png").read_bytes()[:4] == b"\x89PNG"


def test_without_matplotlib_nothing_is_measured(model, tmp_path, capsys, monkeypatch):
    path, folder = model("dense"), tmp_path / "pictures"
    find = extras.find_spec
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == "matplotlib" else find(name))
    monkeypatch.setattr("edgehff.cli.eval._answers", lambda *_: pytest.fail("measured"))
    code, out, err = run(capsys, "eval", path, "--plots", folder)
    assert (code, out) == (4, "")
    assert "matplotlib is not installed" in err
    assert 'try: pip install "edgehff[plot]"' in err
    assert not folder.exists()


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_measured(
    model, tmp_path, capsys, monkeypatch
):
    path = model("dense")
    (tmp_path / "file").write_text("mine")
    monkeypatch.setattr("edgehff.cli.eval._answers", lambda *_: pytest.fail("measured"))
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        code, out, err = run(capsys, "eval", path, "--plots", folder)
        assert (code, out) == (3, "")
        assert f"cannot write pictures to {folder}" in err
        assert "try: name a folder that you may write to" in err
    assert (tmp_path / "file").read_text() == "mine"


def test_pyplot_is_not_touched(model, tmp_path, capsys):
    assert run(capsys, "eval", model("dense"), "--plots", tmp_path)[0] == 0
    assert "matplotlib.pyplot" not in sys.modules
