"""A labeled data set in memory, and the one place that says what a valid one is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehff.errors import DataError

MAX_CLASSES = 1024
MAX_SAMPLE_VALUES = 65536
SAMPLE_DTYPES = ("uint8", "int8", "int16", "float32")


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples with their classes, in recording order.

    name: what the data set is called in messages and documents.
    x: raw samples, shape (n, *sample_shape), dtype uint8, int8, int16 or float32, finite.
    y: class index of each sample, shape (n,), uint16, below len(class_names).
    class_names: one name a class, at least two.
    group: the subject or speaker of each sample, shape (n,), int64; None where unknown.
    is_test: the suggested test rows, shape (n,), bool; None where there is no suggestion.
    """

    name: str
    x: NDArray[Any]
    y: NDArray[np.uint16]
    class_names: tuple[str, ...]
    group: NDArray[np.int64] | None = None
    is_test: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.y)

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """The shape of one sample, without the row axis."""
        return tuple(self.x.shape[1:])

    @property
    def n_features(self) -> int:
        """How many values one sample has."""
        return prod(self.sample_shape)

    @property
    def n_classes(self) -> int:
        """How many classes there are, with or without samples."""
        return len(self.class_names)

    def rows(self, index: NDArray[np.int64] | NDArray[np.bool_] | Sequence[int]) -> Dataset:
        """The rows at index, in that order; the classes stay, though some may have no sample here.

        index: row numbers, or a bool mask of shape (n,).
        """
        at = np.asarray(index)
        if at.size == 0 and at.dtype != np.bool_:
            at = at.astype(np.int64)
        return replace(
            self,
            x=self.x[at],
            y=self.y[at],
            group=None if self.group is None else self.group[at],
            is_test=None if self.is_test is None else self.is_test[at],
        )


def from_arrays(
    name: str,
    x: NDArray[Any],
    y: NDArray[Any],
    *,
    class_names: Sequence[str] | None = None,
    group: NDArray[Any] | None = None,
    is_test: NDArray[Any] | None = None,
) -> Dataset:
    """Make a valid Dataset from arrays as a user brings them.

    x: shape (n, *sample_shape). uint8, int8, int16 and float32 are kept, bool becomes uint8, other floats
       become float32, other integers become int16 where every value fits.
    y: shape (n,): class indices of any integer dtype, or strings, which become indices into class_names or,
       without them, into the sorted distinct labels.
    group: shape (n,), integers, or strings, which become indices into their sorted distinct values.
    is_test: shape (n,), bool, or integers 0 and 1.

    Raises:
        DataError: an array has a dtype that cannot be used, or `check` refuses the result.
    """
    labels, names = _classes(name, np.asarray(y), class_names)
    dataset = Dataset(
        name=name,
        x=_samples(name, np.asarray(x)),
        y=labels,
        class_names=names,
        group=None if group is None else _groups(name, np.asarray(group)),
        is_test=None if is_test is None else _mask(name, np.asarray(is_test)),
    )
    check(dataset)
    return replace(dataset, y=labels.astype(np.uint16))


def check(dataset: Dataset) -> None:
    """Refuse a data set that cannot be learned from.

    Raises:
        DataError: no rows, numbers of rows that differ, samples of 0 or more than 65,536 values, a dtype
            outside SAMPLE_DTYPES, NaN or infinite values, a label that is negative, above 1,023 or names no
            class, fewer than 2 or more than 1,024 classes, two classes of one name, or a class without a
            sample.
    """
    name, n = dataset.name, len(dataset.x) if dataset.x.ndim else 0
    if n == 0:
        raise DataError(f"{name}: no samples", hint="edgehff data list")
    for field, rows in (("y", dataset.y), ("group", dataset.group), ("is_test", dataset.is_test)):
        if rows is not None and rows.shape != (n,):
            raise DataError(
                f"{name}: X has {n} rows, {field} has shape {rows.shape}",
                hint=f"give {field} one value a row",
            )
    _check_samples(dataset)
    _check_labels(dataset)
    _check_classes(dataset)


def _check_samples(dataset: Dataset) -> None:
    name, x = dataset.name, dataset.x
    if x.dtype.name not in SAMPLE_DTYPES:
        raise DataError(
            f"{name}: samples are {x.dtype}, not one of {', '.join(SAMPLE_DTYPES)}",
            hint="save X.astype(np.float32)",
        )
    if not 1 <= dataset.n_features <= MAX_SAMPLE_VALUES:
        raise DataError(
            f"{name}: a sample of shape {dataset.sample_shape} has {dataset.n_features} values; "
            f"1 to {MAX_SAMPLE_VALUES} are possible",
            hint="shorten the window or shrink the image",
        )
    if x.dtype.kind == "f":
        finite = np.isfinite(x.reshape(len(x), -1))
        if not finite.all():
            bad = ~finite.all(axis=1)
            raise DataError(
                f"{name}: {int(finite.size - finite.sum())} values are NaN or infinite "
                f"in {int(bad.sum())} rows, the first in row {int(bad.argmax())}",
                hint="remove those rows, or fill the gaps before saving the data",
            )


def _check_labels(dataset: Dataset) -> None:
    name, y = dataset.name, dataset.y
    outside = (y < 0) | (y >= MAX_CLASSES)
    if outside.any():
        row = int(outside.argmax())
        raise DataError(
            f"{name}: row {row} has label {int(y[row])}; labels are 0 to {MAX_CLASSES - 1}",
            hint="number the classes from 0, or store the labels as strings",
        )
    names = dataset.class_names
    if int(y.max()) >= len(names):
        raise DataError(
            f"{name}: row {int(y.argmax())} has label {int(y.max())}, and there are {len(names)} class names",
            hint=f"give {int(y.max()) + 1} class names, or correct the labels",
        )


def _check_classes(dataset: Dataset) -> None:
    name, names = dataset.name, dataset.class_names
    if not 2 <= len(names) <= MAX_CLASSES:
        raise DataError(
            f"{name}: {len(names)} class{'' if len(names) == 1 else 'es'}; 2 to {MAX_CLASSES} are possible",
            hint="a classifier needs samples of at least two classes",
        )
    if len(set(names)) < len(names):
        twice = next(c for i, c in enumerate(names) if c in names[:i])
        raise DataError(f"{name}: two classes are called {twice!r}", hint="give each class its own name")
    counts = np.bincount(dataset.y.astype(np.int64), minlength=len(names))
    if not counts.all():
        empty = [names[c] for c in np.flatnonzero(counts == 0)]
        shown = ", ".join(repr(c) for c in empty[:5]) + (", ..." if len(empty) > 5 else "")
        raise DataError(
            f"{name}: no sample of {len(empty)} of {len(names)} classes: {shown}",
            hint="add samples of it, or take it out of class_names and number the labels without gaps",
        )


def _samples(name: str, x: NDArray[Any]) -> NDArray[Any]:
    if x.dtype.name in SAMPLE_DTYPES and x.dtype.isnative:
        return x
    if x.dtype.kind == "f":
        with np.errstate(over="ignore"):  # what leaves the range of float32 is reported as infinite
            return x.astype(np.float32)
    if x.dtype.kind == "b":
        return x.astype(np.uint8)
    if x.dtype.kind in "iu":
        low, high = (int(x.min()), int(x.max())) if x.size else (0, 0)
        if low >= -32768 and high <= 32767:
            return x.astype(np.int16)
        raise DataError(
            f"{name}: samples are {x.dtype} from {low} to {high}, which int16 cannot hold",
            hint="save X.astype(np.float32)",
        )
    raise DataError(f"{name}: samples are {x.dtype}, not numbers", hint="save X.astype(np.float32)")


def _classes(
    name: str, y: NDArray[Any], class_names: Sequence[str] | None
) -> tuple[NDArray[Any], tuple[str, ...]]:
    if y.dtype.kind in "iub":
        labels = y.astype(np.uint8) if y.dtype.kind == "b" else y
        top = min(int(labels.max()), MAX_CLASSES - 1) if labels.size else -1
        return labels, tuple(str(c) for c in range(top + 1)) if class_names is None else tuple(class_names)
    if y.dtype.kind == "U":
        found = [str(c) for c in np.unique(y)]
        names = tuple(found if class_names is None else class_names)
        number = {c: i for i, c in enumerate(names)}
        unknown = [c for c in found if c not in number]
        if unknown:
            raise DataError(
                f"{name}: label {unknown[0]!r} is not one of the {len(names)} class names",
                hint="add it to class_names, or leave class_names out",
            )
        return np.array([number[str(c)] for c in y.ravel()], np.int64).reshape(y.shape), names
    hint = "save y.astype(np.int64), or names with y.astype(str)"
    if y.dtype.kind == "f" and y.size:
        odd = y != np.floor(y)
        row = int(odd.ravel().argmax())
        raise DataError(
            f"{name}: labels are {y.dtype}, not integers: row {row} has {y.ravel()[row]}", hint=hint
        )
    raise DataError(f"{name}: labels are {y.dtype}, not integers or strings", hint=hint)


def _groups(name: str, group: NDArray[Any]) -> NDArray[np.int64]:
    if group.dtype.kind == "U":
        return np.unique(group, return_inverse=True)[1].reshape(group.shape).astype(np.int64)
    if group.dtype.kind not in "iu":
        raise DataError(
            f"{name}: group is {group.dtype}, not integers or strings", hint="save group.astype(np.int64)"
        )
    return group.astype(np.int64)


def _mask(name: str, is_test: NDArray[Any]) -> NDArray[np.bool_]:
    if is_test.dtype.kind in "iu" and not ((is_test != 0) & (is_test != 1)).any():
        return is_test.astype(np.bool_)
    if is_test.dtype.kind != "b":
        raise DataError(
            f"{name}: is_test is {is_test.dtype}, not bool or 0 and 1", hint="save is_test.astype(bool)"
        )
    return is_test.astype(np.bool_, copy=False)
