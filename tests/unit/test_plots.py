"""Pictures: what stands in them, for names and numbers that are hard to draw."""

import numpy as np
import pytest

from edgehff.errors import InputError
from edgehff.report.activation_maps import LayerMaps
from edgehff.report.filters import Filters

pytestmark = pytest.mark.plot


@pytest.fixture
def plots():
    pytest.importorskip("matplotlib")
    from edgehff.report import plots  # noqa: PLC0415

    return plots


def pixels(figure):
    """The figure as it would be written: (height, width, 4), uint8."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())


def texts(axes):
    return [t.get_text() for t in axes.texts]


def test_bars_are_the_accuracies(plots):
    figure = plots.layers_figure(["16c3 pool2", "64"], [0.25, 0.5], 0.753)
    (axes,) = figure.axes
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([25, 50, 75.3])
    assert texts(axes) == ["25.0 %", "50.0 %", "75.3 %"]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["16c3 pool2", "64", "together"]
    assert len({bar.get_facecolor() for bar in axes.patches}) == 2


def test_confusion_is_in_percent_of_rows(plots):
    figure = plots.confusion_figure(np.array([[3, 1, 0], [0, 0, 0], [1, 999, 0]]), ["a", "b", "c"])
    axes = figure.axes[0]
    shown = np.ma.filled(axes.images[0].get_array(), np.nan)
    assert shown[[0, 2]] == pytest.approx(np.array([[75, 25, 0], [0.1, 99.9, 0]]))
    assert np.isnan(shown[1]).all()  # a class without samples
    assert texts(axes) == ["75", "25", "<1", "100"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("answer", "true class")
    assert len(np.unique(pixels(figure).reshape(-1, 4), axis=0)) > 20


@pytest.mark.parametrize(("n", "numbers", "names"), [(20, 20, 20), (21, 0, 21), (100, 0, 34)])
def test_many_classes_have_no_numbers_and_fewer_names(plots, n, numbers, names):
    axes = plots.confusion_figure(np.eye(n, dtype=np.int64), [str(i) for i in range(n)]).axes[0]
    assert len(axes.texts) == numbers
    assert len(axes.get_xticklabels()) == names
    assert axes.get_yticklabels()[1].get_text() == ("3" if n == 100 else "1")


def test_names_are_drawn_as_they_are(plots, tmp_path):
    names = [plots.plain(n) for n in ("$\\broken$", "tab\tand\nline", "x" * 40, "日本")]
    assert names[0] == r"\$\broken\$"
    assert names[1:3] == ["tab?and?line", "x" * 17 + "\u2026"]
    figure = plots.confusion_figure(np.eye(4, dtype=np.int64), names)
    path = plots.save(figure, tmp_path / "a.png")  # neither an error of mathtext nor a warning of fonts
    assert path.read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("kind", ["grey", "rgb", "size", "signal", "curve", "matrix"])
@pytest.mark.parametrize(("n", "n_units"), [(1, 1), (64, 1070)])
def test_every_kind_of_filter_is_drawn(plots, kind, n, n_units):
    shape = {"rgb": (n, 5, 5, 3), "curve": (n, 7), "matrix": (n, 200)}.get(kind, (n, 8, 5))
    values = np.random.default_rng(1).normal(size=shape)
    figure = plots.filters_figure(Filters(kind, np.abs(values) if kind == "size" else values, n_units), "9c5")
    image = pixels(figure)
    assert max(image.shape) <= 1600
    assert len(np.unique(image[..., :3].reshape(-1, 3), axis=0)) > 20
    title = figure.get_suptitle()
    assert "9c5" in title
    assert ("the first 64 of 1,070" in title) == (n_units > n)
    still = plots.filters_figure(Filters(kind, values * 0, n_units), "9c5")  # weights that are all zero
    assert pixels(still).size


def layer_maps(n, height, width, *, value=0.1):
    """Maps of half the input's size that end before its edges."""
    values = value * np.random.default_rng(2).normal(size=(n, height, width))
    rows, columns = (0.5, 2 * height - 1.5), (0.5, 2 * width - 2.5)
    return LayerMaps("8c3 pool2", values, values.sum(axis=(1, 2)), rows, columns)


@pytest.mark.parametrize(
    "shape", [(8, 8, 1), (6, 12, 3), (6, 6, 5), (1, 24, 1), (1, 24, 8), (1, 24, 40)], ids=str
)
def test_maps_lie_over_their_input(plots, shape):
    height, width = max(1, shape[0] // 2), shape[1] // 2
    inputs = np.random.default_rng(3).normal(size=(3, *shape))
    layers = [layer_maps(3, height, width), layer_maps(3, height, width)]
    figure = plots.maps_figure(inputs, layers, ["a", "b", "c"], ["a", "b", "a"])
    grid = np.array(figure.axes[:12]).reshape(4, 3)
    for i in range(3):
        wrong = i == 2
        assert grid[i, 0].get_ylabel() == ["true a\nanswer a", "true b\nanswer b", "true c\nanswer a"][i]
        assert (grid[i, 0].yaxis.label.get_color() == plots.ORANGE) == wrong
        for j, layer in enumerate(layers, 1):
            heat = grid[i, j].images[-1]
            assert np.ma.filled(heat.get_array(), np.nan) == pytest.approx(layer.values[i])
            assert heat.norm.vmin == -heat.norm.vmax == -np.abs(layer.values).max()
            assert tuple(heat.get_extent()[:2]) == layer.columns
            assert tuple(sorted(grid[i, j].get_xlim())) == (-0.5, shape[1] - 0.5)
            high = (-0.5, shape[0] - 0.5) if height > 1 else (0, 1)
            assert tuple(sorted(grid[i, j].get_ylim())) == high
            assert grid[i, j].get_xlabel() == f"cosine {layer.cosines[i]:.2f}"
    assert grid[0, 1].get_title() == "8c3\npool2"
    image = pixels(figure)
    assert max(image.shape[:2]) <= 1600
    assert len(np.unique(image[..., :3].reshape(-1, 3), axis=0)) > 50


def test_colors_are_clear_at_zero_and_differ_by_sign(plots):
    low, middle, high = plots.AGAINST_FOR([0.0, 0.5, 1.0])
    assert middle[3] < 0.01
    assert low[3] == high[3] == pytest.approx(0.9)
    assert low[2] > low[0]
    assert high[0] > high[2]


def test_of_many_convolutions_some_are_shown(plots):
    layers = [layer_maps(2, 4, 4) for _ in range(20)]
    figure = plots.maps_figure(np.ones((2, 8, 8, 1)), layers, ["a", "b"], ["a", "b"])
    assert "8 of 20 convolutions" in figure.get_suptitle()
    assert pixels(figure).shape[1] <= 1600


def test_a_silent_map_leaves_the_input_clear(plots):
    silent = [layer_maps(2, 4, 4, value=0.0)]
    figure = plots.maps_figure(np.ones((2, 8, 8, 1)), silent, ["a", "b"], ["a", "b"])
    assert pixels(figure).size
    heat = figure.axes[1].images[-1]
    assert heat.to_rgba(heat.get_array())[..., 3].max() < 0.01


def test_a_folder_that_cannot_be_written_is_told(plots, tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match=r"cannot write pictures to .*file"):
            plots.prepare(folder)
    (tmp_path / "layers.png").mkdir()
    with pytest.raises(InputError, match=r"cannot write .*layers\.png"):
        plots.save(plots.layers_figure(["4"], [0.5], 0.5), tmp_path / "layers.png")


def test_drift_has_a_line_a_class_and_a_mark_an_alarm(plots):
    drift = pytest.importorskip("edgehff.report.drift")

    course = [(n, 20.0 if n == 3000 else n % 7, n == 3000) for n in range(1, 5001)]
    many = {f"c{k}": course if k == 18 else course[:50] for k in range(20)}
    axes = drift.figure_of(many, 20.0).axes[0]
    lines = [line for line in axes.lines if len(line.get_xdata()) > 2]
    assert len(lines) == 16
    marks = [tuple(line.get_xdata()) for line in axes.lines if line.get_marker() == "v"]
    assert marks.count((3000,)) == 1
    assert marks.count(()) == 15
    assert "16 of 20" in axes.get_title()
    thinned = drift.thinned(course)
    assert len(thinned) <= drift.MOST_POINTS
    assert (3000, 20.0, True) in thinned
    assert drift.figure_of({}, 20.0).axes[0].get_legend() is None


def test_people_are_drawn_by_samples_and_by_bytes(plots):
    people = pytest.importorskip("edgehff.report.people")

    spread = {"mean": 0.9, "interval": [0.8, 0.95], "worst": 0.7}
    curve = [{"samples": 0, "mean": 0.5}, {"samples": 10, "mean": 0.9}]
    budgets = [{"memory_bytes": n, "ram_bytes": 2048 + n, **spread} for n in (0, 1024)]
    method = {"ram_bytes": 4096, "recording": {**spread, "curve": curve}, "budgets": budgets}
    document = {
        "data": "d",
        "people": 3,
        "samples": 10.0,
        "methods": {"a": method, "b": {**method, "budgets": []}},
    }
    seen, ram = people.figure_of(document).axes
    assert [list(line.get_ydata()) for line in seen.lines] == [[50, 90], [50, 90]]
    assert [len(box.lines[0].get_xdata()) for box in ram.containers] == [2, 1]
    assert list(ram.containers[0].lines[0].get_xdata()) == [2, 3]
    assert [text.get_text() for text in seen.get_legend().get_texts()] == ["a", "b"]
