"""Pictures of what a model learned, as PNG files; needs the extra `plot`, which the caller has checked for.

Figures are drawn without pyplot: nothing is shown, and no state of matplotlib is left behind.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from edgehff.data.dataset import Dataset
from edgehff.errors import InputError
from edgehff.model.float_network import FloatNetwork, float_view
from edgehff.model.network import Network
from edgehff.report import activation_maps as maps
from edgehff.report.filters import Filters, columns_for, first_filters, mosaic
from edgehff.train import metrics

BLUE, ORANGE = "#0072B2", "#D55E00"
"""Told apart by every kind of color vision (Okabe and Ito)."""
AGAINST_FOR = LinearSegmentedColormap.from_list(
    "against_for", [(0.0, (BLUE, 0.9)), (0.5, (BLUE, 0.0)), (0.5, (ORANGE, 0.0)), (1.0, (ORANGE, 0.9))], N=255
)
"""Blue below zero, orange above, clear at zero: what lies beneath shows through."""
DPI = 100
MOST_NUMBERS = 20
MOST_NAMES = 40
MOST_LAYERS = 8
MOST_LINES = 16
NAME_LENGTH = 18
_HINT = "name a folder that you may write to: --plots pictures"


def prepare(folder: Path) -> None:
    """Make the folder where it is missing. InputError where nothing can be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"cannot write pictures to {folder}: {error.strerror}", hint=_HINT) from error


def write(
    folder: Path,
    network: Network | FloatNetwork,
    rows: Dataset,
    answers: NDArray[np.integer[Any]],
    per_layer: Sequence[float],
) -> list[Path]:
    """Write layers.png, confusion.png, filters.png and, of convolutions, maps.png; the files written.

    rows: what was measured.  answers: (n,), the network's classes.  per_layer: accuracy of each layer alone.
    """
    exact = float_view(network) if isinstance(network, Network) else network
    recipe = network.recipe
    names = [plain(name) for name in rows.class_names]
    texts = [*(c.text for c in recipe.conv), *map(str, recipe.layers)]
    figures = {
        "layers": layers_figure(texts, per_layer, metrics.accuracy(answers, rows.y)),
        "confusion": confusion_figure(metrics.confusion(answers, rows.y, rows.n_classes), names),
        "filters": filters_figure(first_filters(exact, rows.sample_shape), texts[0]),
    }
    if recipe.conv:
        at = maps.telling_samples(answers, rows.y)
        truth, said = [names[i] for i in rows.y[at]], [names[i] for i in answers[at]]
        found = maps.layer_maps(exact, rows.x[at], answers[at])
        figures["maps"] = maps_figure(maps.input_maps(exact, rows.x[at]), found, truth, said)
    return [save(figure, folder / f"{name}.png") for name, figure in figures.items()]


def plain(name: str) -> str:
    """A class's name as it may stand in a picture: one short line, no mathematics between dollars."""
    text = "".join(c if c.isprintable() else "?" for c in name)
    text = text if len(text) <= NAME_LENGTH else f"{text[: NAME_LENGTH - 1]}\u2026"
    return text.replace("$", r"\$")


def layers_figure(texts: Sequence[str], per_layer: Sequence[float], together: float) -> Figure:
    """A bar for the accuracy (0 to 1) of each layer alone, and of all together."""
    values = 100 * np.array([*per_layer, together])
    figure = Figure(figsize=(9, 1.5 + 0.42 * len(values)), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    bars = axes.barh(range(len(values)), values, height=0.7, color=[BLUE] * len(per_layer) + [ORANGE])
    axes.bar_label(bars, [f"{v:.1f} %" for v in values], padding=4, fontsize=11)
    axes.set_yticks(range(len(values)), [*texts, "together"], fontsize=11)
    axes.invert_yaxis()
    axes.set_xlim(0, 112)
    axes.set_xticks(range(0, 101, 20))
    axes.xaxis.set_major_formatter(PercentFormatter(decimals=0, symbol=" %"))
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title("Right answers of each layer alone, first layer on top, and of all together", fontsize=12)
    return figure


def confusion_figure(matrix: NDArray[np.int64], names: Sequence[str]) -> Figure:
    """Percent of each true class's samples by answer. matrix: (n_classes, n_classes), row the true class."""
    n = len(matrix)
    totals = matrix.sum(axis=1, keepdims=True)
    share = np.where(totals > 0, 100.0 * matrix / np.maximum(totals, 1), np.nan)
    side = min(11.0, max(5.0, 0.55 * n + 1.8))
    figure = Figure(figsize=(side + 1.2, side), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    axes.set_facecolor("#DDDDDD")
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=100)
    every = range(0, n, -(-n // MOST_NAMES))
    size = 11 if n <= MOST_NUMBERS else 9
    long = max(len(names[i]) for i in every) > 3
    axes.set_xticks(every, [names[i] for i in every], rotation=90 if long else 0, fontsize=size)
    axes.set_yticks(every, [names[i] for i in every], fontsize=size)
    axes.set_xlabel("answer", fontsize=12)
    axes.set_ylabel("true class", fontsize=12)
    axes.set_title("How each class is answered, percent of its samples", fontsize=12)
    for (i, j), value in np.ndenumerate(share) if n <= MOST_NUMBERS else ():
        if value > 0:
            text = "<1" if value < 0.5 else f"{value:.0f}"
            color = "white" if value > 55 else "black"
            axes.text(j, i, text, ha="center", va="center", fontsize=10, color=color)
    _bar(figure, image, axes, "percent")
    return figure


def filters_figure(filters: Filters, text: str) -> Figure:
    """The weights of the first layer's units. text: the layer in short."""
    values, n = filters.values, len(filters.values)
    some = "" if filters.n_units == n else f", the first {n} of {filters.n_units:,}"
    title = f"What the units of the first layer look for\n{text}{some}"
    if filters.kind == "curve":
        return _curves(values, title)
    if filters.kind == "matrix":
        figure = Figure(figsize=(11, 1.8 + min(7.0, max(2.0, 0.12 * n))), dpi=DPI, layout="constrained")
        axes = figure.add_subplot()
        top = float(np.abs(values).max()) or 1.0
        ways: dict[str, Any] = {"cmap": AGAINST_FOR, "vmin": -top, "vmax": top, "aspect": "auto"}
        image = axes.imshow(values, interpolation="nearest", **ways)
        axes.set_xlabel("input", fontsize=11)
        axes.set_ylabel("unit", fontsize=11)
        _bar(figure, image, axes, "weight")
    else:
        figure = _mosaic(filters)
    figure.suptitle(title, fontsize=12)
    return figure


def _mosaic(filters: Filters) -> Figure:
    """Tiles of weights in one image, with a bar of what their colors mean."""
    values, kind = filters.values, filters.kind
    n, height, width = values.shape[:3]
    columns = columns_for(n, height, width)
    lines = -(-n // columns)
    tile = min(1.3 / max(height, width), 10.0 / (columns * width), 9.0 / (lines * height))
    size = max(4.5, columns * width * tile + 1.2), max(2.0, lines * height * tile) + 0.8
    figure = Figure(figsize=size, dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    top = float(np.abs(values).max()) or 1.0
    if kind == "rgb":
        axes.imshow(mosaic(0.5 + values / (2 * top), columns, fill=1.0), interpolation="nearest")
        return figure
    axes.set_facecolor("#8A8A8A" if kind == "signal" else "#A9CCE3")
    tiles = np.ma.masked_invalid(mosaic(values, columns))
    low = 0.0 if kind == "size" else -top
    if kind == "signal":
        axes.imshow(np.ma.masked_where(tiles.mask, tiles * 0), cmap="gray", vmin=-1, vmax=0)
        axes.set_xlabel("across: time, down: channels", fontsize=10)
    image = axes.imshow(
        tiles, cmap=AGAINST_FOR if kind == "signal" else "gray", vmin=low, vmax=top, interpolation="nearest"
    )
    _bar(figure, image, axes, "mean size over channels" if kind == "size" else "weight")
    return figure


def _curves(values: NDArray[np.float64], title: str) -> Figure:
    """Kernels over one channel of a signal, a curve each, about their zeros. values: (n, taps)."""
    n, taps = values.shape
    columns = columns_for(n, 3, 4)
    lines = -(-n // columns)
    figure = Figure(figsize=(max(4.5, 1.2 * columns), 0.9 * lines + 0.8), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    axes.set_axis_off()
    high = values / (2.1 * np.abs(values).max() or 1.0)
    for i, curve in enumerate(high):
        x = np.arange(taps) + i % columns * (taps + 1.0)
        zero = -float(i // columns)
        axes.plot(x[[0, -1]], [zero, zero], color="#BBBBBB", linewidth=1)
        axes.plot(x, zero + curve, color=BLUE, linewidth=1.8, marker="o", markersize=3)
    figure.suptitle(title, fontsize=12)
    return figure


def maps_figure(
    inputs: NDArray[np.float64],
    layers: Sequence[maps.LayerMaps],
    truth: Sequence[str],
    answers: Sequence[str],
) -> Figure:
    """A line for each sample: the input, then what each convolution's cosine with the answer comes from.

    inputs: (n, height, width, channels).  truth, answers: n names.
    """
    some: NDArray[np.intp] = np.unique(np.linspace(0, len(layers) - 1, MOST_LAYERS).round().astype(int))
    shown = [layers[i] for i in some]
    n, height, width = inputs.shape[:3]
    is_signal = height == 1
    across = min(2.6 if is_signal else 1.3 * max(0.6, min(1.6, width / height)), 13.0 / (len(shown) + 1))
    down = 1.15 if is_signal else min(1.4, max(0.8, across * height / width))
    size = max(4.5, 1.6 + across * (len(shown) + 1)), 1.6 + n * (down + 0.2)
    figure = Figure(figsize=size, dpi=DPI, layout="constrained")
    ratios = [1.0] * n + [0.08]
    grid = figure.subplots(n + 1, len(shown) + 1, squeeze=False, height_ratios=ratios)
    grid[n, 0].set_axis_off()
    for i, line in enumerate(grid[:n]):
        for axes in line:
            _draw_input(axes, inputs[i], is_faint=axes is not line[0])
        color = "black" if truth[i] == answers[i] else ORANGE
        said = f"true {truth[i]}\nanswer {answers[i]}"
        line[0].set_ylabel(said, rotation=0, ha="right", va="center", fontsize=10, color=color)
    grid[0, 0].set_title("input", fontsize=10)
    for j, layer in enumerate(shown, 1):
        top = float(np.abs(layer.values).max()) or 1.0
        extent = (*layer.columns, *((0.0, 1.0) if is_signal else layer.rows[::-1]))
        ways: dict[str, Any] = {"cmap": AGAINST_FOR, "vmin": -top, "vmax": top, "extent": extent}
        ways |= {"aspect": "auto" if is_signal else "equal", "interpolation": "nearest"}
        for i, axes in enumerate(grid[:n, j]):
            limits = axes.get_xlim(), axes.get_ylim()
            image = axes.imshow(layer.values[i], **ways)
            axes.set(xlim=limits[0], ylim=limits[1])
            axes.set_xlabel(f"cosine {layer.cosines[i]:.2f}", fontsize=8, labelpad=2)
        grid[0, j].set_title(layer.text.replace(" ", "\n", 1), fontsize=10)
        bar = figure.colorbar(image, cax=grid[n, j], orientation="horizontal")
        bar.set_ticks([])
        bar.set_label(f"part of the cosine\n-{top:.2g} to {top:.2g}", fontsize=8)
    left_out = "" if len(shown) == len(layers) else f" ({len(shown)} of {len(layers)} convolutions)"
    title = f"Where the answer comes from{left_out}\norange speaks for it, blue against it"
    figure.suptitle(title, fontsize=12)
    return figure


def _draw_input(axes: Axes, values: NDArray[np.float64], is_faint: bool) -> None:
    """An image, or a signal's channels as lines one over the other. values: (height, width, channels)."""
    axes.set(xticks=[], yticks=[])
    height, width, channels = values.shape
    if height == 1 and channels <= MOST_LINES:
        lines = values[0] - values[0].mean(axis=0)
        lines = lines / (2 * np.abs(lines).max() or 1.0) + np.arange(channels)[::-1] + 0.5
        axes.plot(lines / channels, color="black", linewidth=0.7, alpha=0.6 if is_faint else 1.0, zorder=3)
        axes.set(xlim=(-0.5, width - 0.5), ylim=(0, 1))
    elif height == 1:
        axes.imshow(values[0].T, cmap="gray", aspect="auto", extent=(-0.5, width - 0.5, 0, 1))
    else:
        image = values if channels == 3 and not is_faint else values.mean(axis=2)
        image = (image - image.min()) / ((image.max() - image.min()) or 1.0)
        axes.imshow(0.7 + 0.3 * image if is_faint else image, cmap="gray", vmin=0, vmax=1)


def _bar(figure: Figure, image: Any, axes: Axes, text: str) -> None:
    """A bar beside the axes that says what the colors mean."""
    bar = figure.colorbar(image, ax=axes, shrink=0.8, aspect=25, fraction=0.05, pad=0.02)
    bar.set_label(text, fontsize=9)
    bar.ax.tick_params(labelsize=8)


def save(figure: Figure, path: Path) -> Path:
    """The picture as a PNG file, in place of one that was there. InputError where that cannot be."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a box stands for it
        try:
            FigureCanvasAgg(figure)
            figure.savefig(path, format="png")
        except OSError as error:
            raise InputError(f"cannot write {path}: {error.strerror}", hint=_HINT) from error
    return path
