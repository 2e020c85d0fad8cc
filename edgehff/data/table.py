"""Read a CSV table of one sample a row; what is wrong is named by its line and column."""

from __future__ import annotations

import csv
import math
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from edgehff.data.dataset import MAX_SAMPLE_VALUES, Dataset, from_arrays
from edgehff.errors import DataError

MAX_LINE = 4 << 20
MAX_ROWS = 5_000_000
MAX_VALUES = 1 << 28
LABEL_COLUMNS = ("label", "y", "class")
HINT = "a row is values between commas, then a label; a header may name the columns label, group and is_test"


@dataclass
class _Columns:
    n: int
    label: int
    group: int | None = None
    is_test: int | None = None

    @property
    def values(self) -> list[int]:
        return [i for i in range(self.n) if i not in (self.label, self.group, self.is_test)]


@dataclass
class _Rows:
    values: array[float] = field(default_factory=lambda: array("d"))
    labels: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    is_test: list[bool] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)


def number(text: str) -> float | None:
    """The finite number that text spells, or None."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and "_" not in text else None


def load_csv(path: Path, name: str) -> Dataset:
    """Read a comma-separated table in UTF-8.

    The first line is a header where no cell of it is a number, or where it names a column label, class, group
    or is_test. The label is the column called label, y or class, or else the last. Samples have shape
    (n_values,): int16 where all values are whole and fit, float32 otherwise.

    Raises:
        DataError: with line and column: a cell that is no finite number, rows of different length, an empty
            label; or a line, table or contents that cannot be used.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            columns, rows = _read(file, path)
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text: {error.reason} at byte {error.start}", hint=HINT) from error
    x: NDArray[Any] = np.frombuffer(rows.values, np.float64).reshape(len(rows.labels), len(columns.values))
    if (x == np.floor(x)).all() and x.min() >= -32768 and x.max() <= 32767:
        x = x.astype(np.int16)
    return from_arrays(
        name,
        x,
        _labels(path, rows, columns),
        group=_whole(rows.groups) if columns.group is not None else None,
        is_test=np.array(rows.is_test) if columns.is_test is not None else None,
    )


def _lines(file: TextIO, path: Path) -> Iterator[str]:
    for n, line in enumerate(iter(lambda: file.readline(MAX_LINE + 1), ""), start=1):
        if len(line) > MAX_LINE:
            raise DataError(f"{path}: line {n} is longer than {MAX_LINE} characters", hint=HINT)
        yield line


def _read(file: TextIO, path: Path) -> tuple[_Columns, _Rows]:
    reader = csv.reader(_lines(file, path), strict=True)
    rows, columns = _Rows(), None
    try:
        for cells in reader:
            if not cells:
                continue
            if columns is None:
                columns, is_header = _columns(cells, f"{path}: line {reader.line_num}")
                if is_header:
                    continue
            _append(rows, columns, cells, f"{path}: line {reader.line_num}")
            rows.lines.append(reader.line_num)
            if len(rows.labels) > MAX_ROWS or len(rows.values) > MAX_VALUES:
                raise DataError(
                    f"{path}: more than {MAX_ROWS} rows or {MAX_VALUES} values",
                    hint="save it as .npz instead",
                )
    except csv.Error as error:
        raise DataError(f"{path}: line {reader.line_num}: {error}", hint=HINT) from error
    if columns is None or not rows.labels:
        raise DataError(f"{path}: no samples", hint=HINT)
    return columns, rows


def _columns(cells: list[str], where: str) -> tuple[_Columns, bool]:
    names = [cell.strip().lower() for cell in cells]
    sure = {"label", "class", "group", "is_test"}
    is_header = all(number(cell) is None for cell in cells) or not sure.isdisjoint(names)
    columns = _Columns(n=len(cells), label=len(cells) - 1)
    if is_header:
        found = [i for i, cell in enumerate(names) if cell in LABEL_COLUMNS]
        if len(found) > 1:
            raise DataError(f"{where} names {len(found)} label columns", hint="rename all but one")
        columns.group = names.index("group") if "group" in names else None
        columns.is_test = names.index("is_test") if "is_test" in names else None
        others = [i for i in range(columns.n) if i not in (columns.group, columns.is_test)]
        columns.label = found[0] if found else others[-1] if others else 0
    if not 1 <= len(columns.values) <= MAX_SAMPLE_VALUES:
        raise DataError(
            f"{where} has {len(columns.values)} value columns; 1 to {MAX_SAMPLE_VALUES} are possible",
            hint=HINT,
        )
    return columns, is_header


def _append(rows: _Rows, columns: _Columns, cells: list[str], where: str) -> None:
    if len(cells) != columns.n:
        raise DataError(f"{where} has {len(cells)} columns, the first line has {columns.n}", hint=HINT)
    for i in columns.values:
        value = number(cells[i])
        if value is None:
            raise DataError(f"{where}, column {i + 1}: {cells[i][:40]!r} is not a finite number", hint=HINT)
        rows.values.append(value)
    label = cells[columns.label].strip()
    if label.lower() in ("", "nan"):
        raise DataError(f"{where}, column {columns.label + 1}: no label", hint=HINT)
    rows.labels.append(label)
    if columns.group is not None:
        rows.groups.append(cells[columns.group].strip())
    if columns.is_test is not None:
        text = cells[columns.is_test].strip().lower()
        if text not in ("0", "1", "false", "true"):
            raise DataError(
                f"{where}, column {columns.is_test + 1}: is_test is {cells[columns.is_test][:40]!r}",
                hint="write 0 or 1",
            )
        rows.is_test.append(text in ("1", "true"))


def _labels(path: Path, rows: _Rows, columns: _Columns) -> NDArray[Any]:
    numbers = [number(label) for label in rows.labels]
    if any(value is None for value in numbers):
        return np.array(rows.labels)
    for value, line in zip(numbers, rows.lines, strict=True):
        if value is not None and (not value.is_integer() or abs(value) > 2**53):
            raise DataError(
                f"{path}: line {line}, column {columns.label + 1}: label {value} is not a whole number",
                hint="name the label column `label` in a header, or put it last",
            )
    return np.array([int(value) for value in numbers if value is not None])


def _whole(texts: list[str]) -> NDArray[Any]:
    try:
        return np.array([int(text) for text in texts], np.int64)
    except (ValueError, OverflowError):
        return np.array(texts)
