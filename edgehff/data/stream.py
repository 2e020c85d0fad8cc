"""One sample at a time: from a data set, or from lines of text as a device or a program writes them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any, Literal, TextIO

import numpy as np
from numpy.typing import NDArray

from edgehff.data.dataset import Dataset
from edgehff.data.split import shuffled
from edgehff.data.table import number
from edgehff.errors import DataError

MAX_LINE = 4 << 20
LARGEST = sys.float_info.max
Order = Literal["recording", "shuffled"]
Label = int | str | None


def samples(dataset: Dataset, order: Order, seed: int = 0) -> Iterator[tuple[NDArray[Any], int]]:
    """Each sample once, as (values of dataset.sample_shape, class index).

    order: as recorded, or shuffled by seed.
    """
    for i in range(len(dataset)) if order == "recording" else shuffled(len(dataset), seed):
        yield dataset.x[i], int(dataset.y[i])


def read_lines(file: TextIO, width: int) -> Iterator[tuple[NDArray[np.float32], Label]]:
    """Each line of file as (values of shape (width,), label); empty lines are passed over.

    A line is `v1,...,vn` or `v1,...,vn,label`, or JSON `{"x": [v1, ...], "label": 3}`; the label may be an
    integer or a name, and may be left out. float32 holds integers to 16,777,216 exactly.

    Raises:
        DataError: with the line number: a line of another form or width, a value that is no finite number, or
            more than 4 Mi characters.
    """
    for n, line in enumerate(_bounded(file), start=1):
        text = line.strip()
        if text:
            values, label = _from_json(text, n) if text.startswith("{") else _from_csv(text, width, n)
            yield _sample(values, width, n), label


def _bounded(file: TextIO) -> Iterator[str]:
    n = 0
    while True:
        n += 1
        try:
            line = file.readline(MAX_LINE + 1)
        except UnicodeDecodeError as error:
            raise _error(n, f"not text: {error.reason}") from error
        if not line:
            return
        if len(line) > MAX_LINE:
            raise _error(n, f"longer than {MAX_LINE} characters")
        yield line


def _from_csv(text: str, width: int, n: int) -> tuple[list[float], Label]:
    cells = text.split(",")
    if len(cells) not in (width, width + 1):
        raise _error(n, f"{len(cells)} cells; {width} values, or {width} and a label, are expected")
    values = []
    for i, cell in enumerate(cells[:width], start=1):
        value = number(cell)
        if value is None:
            raise _error(n, f"cell {i} is {cell[:40]!r}, not a finite number")
        values.append(value)
    if len(cells) == width:
        return values, None
    label = cells[width].strip()
    if not label:
        raise _error(n, "the label is empty")
    return values, int(label) if label.isascii() and label.lstrip("-").isdigit() and len(
        label
    ) < 10 else label


def _from_json(text: str, n: int) -> tuple[list[float], Label]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _error(n, f"not JSON: {error}") from error
    values, label = document.get("x"), document.get("label")
    if not isinstance(values, list):
        raise _error(n, 'no list "x" in it')
    for i, value in enumerate(values, start=1):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= LARGEST:
            raise _error(n, f"x[{i - 1}] is {str(value)[:40]}, not a finite number")
    if isinstance(label, bool) or not isinstance(label, (int, str, type(None))):
        raise _error(n, f"the label is {str(label)[:40]}, not an integer or a name")
    return values, label


def _sample(values: list[float], width: int, n: int) -> NDArray[np.float32]:
    if len(values) != width:
        raise _error(n, f"{len(values)} values; {width} are expected")
    with np.errstate(over="ignore"):
        x = np.array(values, np.float64).astype(np.float32)
    if not np.isfinite(x).all():
        raise _error(n, f"value {int((~np.isfinite(x)).argmax()) + 1} is beyond the range of float32")
    return x


def _error(n: int, what: str) -> DataError:
    return DataError(
        f"line {n}: {what}", hint='give one sample a line: v1,...,vn,label or {"x": [...], "label": 3}'
    )
