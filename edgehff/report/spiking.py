"""The report of a spiking network: one HTML file with its pictures inside, which loads nothing.

Needs the extra `plot`, which the caller has checked for.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from edgehff.report.energy import CHIPS, microjoules
from edgehff.report.plots import BLUE, ORANGE

MOST_TRACES = 5
_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a}
h1{font-size:1.6rem}h2{font-size:1.2rem;margin-top:2.2rem}
table{border-collapse:collapse;margin:1rem 0}td,th{padding:.3rem .8rem;border-bottom:1px solid #ddd}
td{text-align:right;font-variant-numeric:tabular-nums}td:first-child,th:first-child{text-align:left}
figure{margin:1rem 0}svg{max-width:100%;height:auto}figcaption,.note{color:#555;font-size:.9rem}
"""


def page(document: dict[str, Any], trains: Sequence[NDArray[np.bool_]], membranes: Sequence[Any]) -> str:
    """The report as HTML.

    document: what `edgehff spike report --json` prints.  trains: of one sample, each layer's spikes,
    (steps, neurons).  membranes: likewise, before the spikes, in multiples of the threshold.
    """
    d = document
    title = f"{d['data']}: {d['accuracy']:.2%} after {d['steps']:.2f} of {d['most_steps']} steps"
    parts = [
        f"<h1>{_text(title)}</h1>",
        f"<p>{_text(d['model'])}, layers {_text(d['layers'])}, weights {_text(d['weights_crc32'])}, "
        f"{d['samples']:,} test rows. {_text(d['input'])}</p>",
        "<h2>Accuracy and work</h2>",
        _figure(
            accuracy_figure(d),
            "Left: what is answered after each step. Right: answers before the last "
            "step, once a class leads by a margin; the model's own margin is the large point.",
        ),
        _table(("", "operations a sample"), _work(d)),
        f"<p class=note>{_text(d['note'])}</p>",
        "<h2>Layers</h2>",
        _table(
            ("layer", "neurons", "spikes a sample", "slots that spike", "synaptic operations", "dense"),
            [
                (
                    i,
                    f"{w['neurons']:,}",
                    f"{w['spikes']:,.0f}",
                    f"{w['rate']:.1%}",
                    f"{w['operations']:,.0f}",
                    f"{w['dense']:,}",
                )
                for i, w in enumerate(d["per_layer"])
            ],
        ),
        "<h2>One sample</h2>",
        _figure(raster_figure(trains), "Each point is a spike. Neurons in the order of their first spike."),
        _figure(
            membrane_figure(membranes),
            "Neurons that spike at about every second step: membranes before the spike.",
        ),
        "<h2>Energy of its synapses</h2>",
        _table(
            ("chip", "microjoules a sample", "source"),
            [(chip.name, _range(*microjoules(d["work"], chip)), chip.source) for chip in CHIPS],
        ),
        "<p class=note>As published for a synaptic operation; neurons, memory at rest and input come on top. "
        "Nothing here was measured on a chip.</p>",
    ]
    head = f"<meta charset=utf-8><title>{_text(title)}</title><style>{_STYLE}</style>"
    return f"<!doctype html><html lang=en><head>{head}</head><body>{''.join(parts)}</body></html>\n"


def accuracy_figure(d: dict[str, Any]) -> Figure:
    """Accuracy against steps, and against operations with margins."""
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    steps = np.arange(1, len(d["accuracy_by_step"]) + 1)
    left.plot(steps, d["accuracy_by_step"], "o-", color=BLUE)
    left.set_xlabel("steps")
    left.set_ylabel("accuracy")
    left.yaxis.set_major_formatter(PercentFormatter(1.0))
    right.plot([e["steps"] for e in d["exits"]], [e["accuracy"] for e in d["exits"]], "-", color=BLUE)
    right.plot(d["steps"], d["accuracy"], "o", color=ORANGE, markersize=10)
    right.set_xlabel("steps in the mean")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.set_xlim(0.5, d["most_steps"] + 0.5)
    return figure


def raster_figure(trains: Sequence[NDArray[np.bool_]]) -> Figure:
    """Spikes of one sample, a panel a layer."""
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    for i, axes in enumerate(figure.subplots(1, len(trains), squeeze=False)[0]):
        fired = trains[i][:, trains[i].any(axis=0)]
        order = np.lexsort((-fired.sum(axis=0), fired.argmax(axis=0)))
        step, neuron = np.nonzero(fired[:, order])
        axes.plot(step + 1, neuron, "s", color=BLUE, markersize=3 if len(order) < 100 else 1.2)
        axes.set_title(f"layer {i}: {len(order)} of {trains[i].shape[1]} neurons spike", fontsize=10)
        axes.set_xlabel("step")
        axes.set_xlim(0.5, len(fired) + 0.5)
    return figure


def membrane_figure(membranes: Sequence[NDArray[np.float64]]) -> Figure:
    """Membranes of neurons that reach the threshold at about every second step."""
    figure = Figure(figsize=(9, 3), layout="constrained")
    for i, axes in enumerate(figure.subplots(1, len(membranes), squeeze=False)[0]):
        half = np.abs((membranes[i] > 1).sum(axis=0) - len(membranes[i]) / 2)
        most = np.argsort(half, kind="stable")[:MOST_TRACES]
        steps = np.arange(1, len(membranes[i]) + 1)
        axes.plot(steps, membranes[i][:, most], ".-", linewidth=1)
        axes.axhline(1, color="black", linestyle=":", linewidth=1)
        axes.set_title(f"layer {i}", fontsize=10)
        axes.set_xlabel("step")
        axes.set_ylabel("threshold" if i == 0 else "")
    return figure


def _work(d: dict[str, Any]) -> list[tuple[str, str]]:
    lines = [("this network, with its margin", d["work"]), ("after all steps", d["work_all_steps"])]
    if d["beside"] is not None:
        b = d["beside"]
        lines += [
            (f"{b['model']} ({b['accuracy']:.2%}), all MACs", b["dense"]),
            ("the same, MACs that are not by zero", b["effective"]),
        ]
    return [(name, f"{value:,.0f}") for name, value in lines]


def _range(low: float, high: float) -> str:
    return f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"


def _table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    head = "".join(f"<th>{_text(cell)}</th>" for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _figure(figure: Figure, caption: str) -> str:
    file = io.StringIO()
    metadata = {"Date": None, "Creator": None}
    FigureCanvasSVG(figure).print_svg(file, metadata=metadata)  # type: ignore[no-untyped-call]
    svg = re.sub(r"^.*?(?=<svg)|<metadata>.*?</metadata>", "", file.getvalue(), flags=re.DOTALL)
    said = _text(caption)
    return f"<figure role=img aria-label='{said}'>{svg}<figcaption>{said}</figcaption></figure>"


def _text(value: object) -> str:
    return html.escape(str(value), quote=True)
