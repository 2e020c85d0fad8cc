"""Tables as data, and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """title, column heads, and rows of text; every row has as many cells as there are columns."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def markdown(tables: Sequence[Table]) -> str:
    """The tables as Markdown: first column to the left, the others to the right, `|` in a cell escaped."""
    parts = []
    for table in tables:
        lines = [_line(table.columns), _line(["---"] + ["---:"] * (len(table.columns) - 1))]
        lines += [_line(row) for row in table.rows]
        parts.append(f"**{table.title}**\n\n" + "\n".join(lines))
    return "\n\n".join(parts)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
