"""The picture of `edgehff replay --plot`: how much more surprising each class has become."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from edgehff.report.plots import DPI, MOST_LINES, plain, save

COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#555555")
MOST_POINTS = 2000
"""Of one line; of longer ones the largest of every few is drawn."""

Course = Sequence[tuple[int, float, bool]]


def write(path: Path, drifts: Mapping[str, Course], alarm: float) -> None:
    """Draw it as PNG. drifts: by class (samples, bits, alarmed).  alarm: bits. InputError as `save`."""
    save(figure_of(drifts, alarm), path)


def figure_of(drifts: Mapping[str, Course], alarm: float) -> Figure:
    """A line a class, a triangle where it alarmed; beyond 16 classes those that came nearest to an alarm."""
    worst = sorted(drifts, key=lambda name: -max((bits for _, bits, _ in drifts[name]), default=0.0))
    shown = [name for name in drifts if name in worst[:MOST_LINES]]
    figure = Figure(figsize=(10, 4.8), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    for i, name in enumerate(shown):
        course = thinned(drifts[name])
        color, line = COLORS[i % len(COLORS)], ("-", "--", ":")[i // len(COLORS) % 3]
        numbers, bits = [n for n, _, _ in course], [bits for _, bits, _ in course]
        axes.plot(numbers, bits, color=color, linestyle=line, label=plain(name))
        alarms = [n for n, _, alarmed in drifts[name] if alarmed]
        axes.plot(alarms, [alarm] * len(alarms), "v", color=color, markersize=10)
    axes.axhline(alarm, color="black", linewidth=0.8, linestyle=(0, (6, 4)))
    axes.annotate("alarm", (1, alarm), (-4, 3), ("axes fraction", "data"), "offset points", ha="right")
    axes.set_ylim(0, 1.12 * alarm)
    axes.set_xlim(left=0)
    axes.set_xlabel("samples of the class, as they were learned", fontsize=11)
    axes.set_ylabel("surprise beyond its mean, summed up, bits", fontsize=11)
    left_out = f", {len(shown)} of {len(drifts)}" if len(shown) < len(drifts) else ""
    axes.set_title(
        f"Drift of each class{left_out}: its samples' surprise before they were learned", fontsize=12
    )
    axes.spines[["top", "right"]].set_visible(False)
    if shown:
        axes.legend(fontsize=10, frameon=False, loc="upper left", bbox_to_anchor=(1.01, 1.0))
    return figure


def thinned(course: Course) -> Course:
    """At most MOST_POINTS points: of each few in a row the one with the most bits."""
    step = -(-len(course) // MOST_POINTS)
    return [
        max(course[i : i + step], key=lambda point: point[1]) for i in range(0, len(course), max(step, 1))
    ]
