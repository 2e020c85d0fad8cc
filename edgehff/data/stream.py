"""One sample at a time: from a data set, or from a line of text as a device or a program writes it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgehff.data.dataset import Dataset
from edgehff.data.split import shuffled
from edgehff.data.table import number
from edgehff.errors import DataError

LARGEST = sys.float_info.max
MAX_ID = 255
Order = Literal["recording", "shuffled"]
Label = int | str | None


@dataclass(frozen=True, eq=False)
class Item:
    """What a stream brings: a sample, with a label or without, or the label of an earlier sample.

    values: numbers of one sample, flat; None: a label alone.
    label: a class's number or name.  sample_id: names the sample, so that its label may come later.
    """

    values: NDArray[Any] | None
    label: Label = None
    sample_id: str | None = None


def samples(dataset: Dataset, order: Order, seed: int = 0) -> Iterator[tuple[NDArray[Any], int]]:
    """Each sample once, as (values of dataset.sample_shape, class index).

    order: as recorded, or shuffled by seed.
    """
    for i in range(len(dataset)) if order == "recording" else shuffled(len(dataset), seed):
        yield dataset.x[i], int(dataset.y[i])


def parse_line(text: str, width: int) -> Item:
    """The item in one line of text.

    A line is `v1,...,vn` or `v1,...,vn,label`, or JSON `{"x": [v1, ...], "label": 3, "id": "a7"}`. The label
    may be an integer or a name, and may be left out, as may the id; an id with a label and no x labels the
    sample that came with this id before. Values are float32, which holds integers to 16,777,216 exactly.

    Raises:
        DataError: another form or width, or a value that is no finite number.
    """
    text = text.strip()
    return _from_json(text, width) if text.startswith("{") else _from_csv(text, width)


def _from_csv(text: str, width: int) -> Item:
    cells = text.split(",")
    if len(cells) not in (width, width + 1):
        raise _error(f"{len(cells)} cells; {width} values, or {width} and a label, are expected")
    values = []
    for i, cell in enumerate(cells[:width], start=1):
        value = number(cell)
        if value is None:
            raise _error(f"cell {i} is {cell[:40]!r}, not a finite number")
        values.append(value)
    if len(cells) == width:
        return Item(_sample(values, width))
    label = cells[width].strip()
    if not label:
        raise _error("the label is empty")
    is_number = label.isascii() and label.lstrip("-").isdigit() and len(label) < 10
    return Item(_sample(values, width), int(label) if is_number else label)


def _from_json(text: str, width: int) -> Item:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _error(f"not JSON: {error}") from error
    values, label, sample_id = (document.get(key) for key in ("x", "label", "id"))
    if isinstance(label, bool) or not isinstance(label, (int, str, type(None))):
        raise _error(f"the label is {str(label)[:40]}, not an integer or a name")
    if not isinstance(sample_id, (str, type(None))) or (sample_id is not None and not _is_id(sample_id)):
        raise _error(f"the id is {str(sample_id)[:40]!r}, not text of 1 to {MAX_ID} characters")
    if values is None and sample_id is not None and label is not None:
        return Item(None, label, sample_id)
    if not isinstance(values, list):
        raise _error('no list "x" in it')
    for i, value in enumerate(values[: width + 1]):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= LARGEST:
            raise _error(f"x[{i}] is {str(value)[:40]}, not a finite number")
    return Item(_sample(values, width), label, sample_id)


def _is_id(text: str) -> bool:
    return 0 < len(text) <= MAX_ID


def _sample(values: list[float], width: int) -> NDArray[np.float32]:
    if len(values) != width:
        raise _error(f"{len(values)} values; {width} are expected")
    with np.errstate(over="ignore"):
        x = np.array(values, np.float64).astype(np.float32)
    if not np.isfinite(x).all():
        raise _error(f"value {int((~np.isfinite(x)).argmax()) + 1} is beyond the range of float32")
    return x


def _error(what: str) -> DataError:
    return DataError(what, hint='give one sample a line: v1,...,vn,label or {"x": [...], "label": 3}')
