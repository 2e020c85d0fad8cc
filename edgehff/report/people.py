"""The picture of `edgehff bench personalize`: accuracy against samples seen and against bytes of RAM."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, PercentFormatter

from edgehff.report.plots import DPI, save

LOOKS = (
    ("#0072B2", "o", "-"),
    ("#E69F00", "s", "--"),
    ("#009E73", "^", "--"),
    ("#CC79A7", "D", ":"),
    ("#56B4E9", "v", "-."),
    ("#D55E00", "X", "-."),
)
"""A color of Okabe and Ito's, a mark and a line for each method."""


def write(path: Path, document: dict[str, Any]) -> None:
    """Draw the document of `bench personalize` as PNG. InputError where path cannot be written."""
    save(figure_of(document), path)


def figure_of(document: dict[str, Any]) -> Figure:
    """Both panels, people in recording order; bars are 95 % intervals over people."""
    figure = Figure(figsize=(12.5, 5.2), dpi=DPI, layout="constrained")
    seen, ram = figure.subplots(1, 2, sharey=True)
    for (name, method), look in zip(document["methods"].items(), LOOKS * 2, strict=False):
        color, mark, line = look
        style = {"color": color, "marker": mark, "linestyle": line, "markersize": 6, "label": name}
        curve = method["recording"]["curve"]
        seen.plot([p["samples"] for p in curve], [100 * p["mean"] for p in curve], **style)
        points = method["budgets"] or [method["recording"] | {"ram_bytes": method["ram_bytes"]}]
        means = [100 * p["mean"] for p in points]
        bars = [
            [mean - 100 * p["interval"][0] for mean, p in zip(means, points, strict=True)],
            [100 * p["interval"][1] - mean for mean, p in zip(means, points, strict=True)],
        ]
        ram.errorbar([p["ram_bytes"] / 1024 for p in points], means, bars, capsize=3, elinewidth=0.8, **style)
    n, people = document["samples"], document["people"]
    _axes(seen, "samples of the person, learned in recording order", "by samples seen")
    seen.set_ylabel("accuracy on the person's later samples", fontsize=11)
    seen.yaxis.set_major_formatter(PercentFormatter(decimals=0, symbol=" %"))
    _axes(ram, "KiB of RAM, kept samples included", f"by bytes, after all {n:.0f} samples")
    ram.set_xscale("log")
    ram.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    ram.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    ram.xaxis.set_minor_formatter(NullFormatter())
    seen.legend(fontsize=10, frameon=False, loc="lower right")
    figure.suptitle(f"{document['data']}: {people} unseen people, mean and 95 % interval", fontsize=13)
    return figure


def _axes(axes: Axes, label: str, title: str) -> None:
    axes.set_xlabel(label, fontsize=11)
    axes.set_title(title, fontsize=11)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
