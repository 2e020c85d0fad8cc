"""What a valid data set is: conversions that keep values, and one refusal for each way to be wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgehff.data.dataset import Dataset, check, from_arrays
from edgehff.errors import DataError

X = np.arange(24, dtype=np.float32).reshape(6, 2, 2)
Y = np.array([0, 1, 2, 0, 1, 2])


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("uint8", "uint8"),
        ("int8", "int8"),
        ("int16", "int16"),
        ("float32", "float32"),
        ("float16", "float32"),
        ("float64", "float32"),
        (">f4", "float32"),
        ("int32", "int16"),
        ("int64", "int16"),
        ("uint16", "int16"),
        (">i2", "int16"),
    ],
)
def test_samples_keep_their_values(given: str, kept: str) -> None:
    dataset = from_arrays("d", X.astype(given), Y)
    assert dataset.x.dtype == np.dtype(kept)
    assert dataset.x.dtype.isnative
    np.testing.assert_array_equal(dataset.x, X)


def test_bool_samples_become_bytes() -> None:
    dataset = from_arrays("d", X > 11, Y)
    assert dataset.x.dtype == np.uint8
    assert dataset.x.sum() == 12


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "uint64", ">i4"])
def test_integer_labels_of_any_dtype(dtype: str) -> None:
    dataset = from_arrays("d", X, Y.astype(dtype))
    assert dataset.y.dtype == np.uint16
    assert dataset.y.tolist() == Y.tolist()
    assert dataset.class_names == ("0", "1", "2")


def test_string_labels_become_sorted_names() -> None:
    dataset = from_arrays("d", X, np.array(["fist", "rest", "open", "fist", "rest", "open"]))
    assert dataset.class_names == ("fist", "open", "rest")
    assert dataset.y.tolist() == [0, 2, 1, 0, 2, 1]


def test_string_labels_follow_the_names_given() -> None:
    dataset = from_arrays("d", X, np.array(["b", "a", "c", "b", "a", "c"]), class_names=["c", "b", "a"])
    assert dataset.y.tolist() == [1, 2, 0, 1, 2, 0]


def test_sizes_of_one_sample() -> None:
    dataset = from_arrays("d", X, Y)
    assert (len(dataset), dataset.sample_shape, dataset.n_features, dataset.n_classes) == (6, (2, 2), 4, 3)


def test_flat_samples_have_one_value() -> None:
    assert from_arrays("d", X[:, 0, 0], Y).n_features == 1


def test_string_groups_become_numbers() -> None:
    dataset = from_arrays("d", X, Y, group=np.array(["eve", "bob", "eve", "bob", "eve", "bob"]))
    assert dataset.group is not None
    assert dataset.group.dtype == np.int64
    assert dataset.group.tolist() == [1, 0, 1, 0, 1, 0]


@pytest.mark.parametrize("index", [[4, 0], np.array([False, False, True, False, False, True])])
def test_rows_take_everything_along(index: Any) -> None:
    whole = from_arrays("d", X, Y, group=np.arange(6), is_test=np.array([0, 1, 1, 0, 1, 1]))
    part = whole.rows(index)
    numbers = np.arange(6)[np.asarray(index)]
    np.testing.assert_array_equal(part.x, X[numbers])
    assert part.y.tolist() == Y[numbers].tolist()
    assert part.group is not None
    assert part.is_test is not None
    assert part.group.tolist() == numbers.tolist()
    assert part.is_test.tolist() == [bool(np.array([0, 1, 1, 0, 1, 1])[i]) for i in numbers]
    assert part.class_names == whole.class_names


def test_no_rows_can_be_asked_for() -> None:
    assert len(from_arrays("d", X, Y).rows([])) == 0


def _with(**changes: Any) -> dict[str, Any]:
    return {"x": X, "y": Y, **changes}


def _spoilt(value: float) -> Any:
    x = X.copy()
    x[4, 1, 0] = value
    x[5] = value
    return x


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (_with(x=X[:0], y=Y[:0]), "no samples"),
        (_with(x=np.float32(3)), "no samples"),
        (_with(x=X[:5]), r"X has 5 rows, y has shape \(6,\)"),
        (_with(y=Y.reshape(6, 1)), r"y has shape \(6, 1\)"),
        (_with(group=np.arange(5)), r"group has shape \(5,\)"),
        (_with(is_test=np.zeros(7, bool)), r"is_test has shape \(7,\)"),
        (_with(x=_spoilt(np.nan)), "5 values are NaN or infinite in 2 rows, the first in row 4"),
        (_with(x=_spoilt(np.inf)), "5 values are NaN or infinite in 2 rows, the first in row 4"),
        (_with(x=_spoilt(0).astype(np.float64) + 1e300), "24 values are NaN or infinite"),
        (_with(y=np.array([0, 1, 2, 0, -1, 2])), "row 4 has label -1"),
        (_with(y=np.array([0, 1, 2, 0, 1024, 2])), "row 4 has label 1024; labels are 0 to 1023"),
        (_with(y=np.array([0, 1, 2, 0, 2**63, 2], np.uint64)), "row 4 has label 9223372036854775808"),
        (_with(class_names=["a", "b"]), "row 2 has label 2, and there are 2 class names"),
        (_with(class_names=["a", "b", "c", "d"]), "no sample of 1 of 4 classes: 'd'"),
        (_with(y=np.array([0, 3, 2, 0, 3, 2])), "no sample of 1 of 4 classes: '1'"),
        (_with(y=np.zeros(6, int)), "1 class; 2 to 1024"),
        (_with(y=np.full(6, "same")), "1 class; 2 to 1024"),
        (_with(class_names=["a", "b", "a"]), "two classes are called 'a'"),
        (_with(y=Y + 0.5), "labels are float64, not integers: row 0 has 0.5"),
        (_with(y=Y.astype(float)), "labels are float64, not integers"),
        (_with(y=Y.astype(complex)), "labels are complex128"),
        (
            _with(y=np.array(["a", "b", "x"] * 2), class_names=["a", "b", "c"]),
            "label 'x' is not one of the 3",
        ),
        (_with(x=np.zeros((6, 0), np.uint8)), r"shape \(0,\) has 0 values"),
        (_with(x=np.zeros((6, 65537), np.uint8)), "has 65537 values; 1 to 65536"),
        (_with(x=np.full((6, 2), 32768)), "samples are int64 from 32768 to 32768"),
        (_with(x=np.full((6, 2), "1")), "samples are <U1, not numbers"),
        (_with(group=np.zeros(6)), "group is float64"),
        (_with(is_test=np.array([0, 1, 2, 0, 1, 0])), "is_test is int64, not bool"),
        (_with(is_test=np.zeros(6)), "is_test is float64, not bool"),
    ],
)
def test_what_cannot_be_used_is_refused(arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message) as refused:
        from_arrays("d", **arrays)
    assert refused.value.hint
    assert refused.value.exit_code == 3


def test_limits_themselves_are_allowed() -> None:
    widest = from_arrays("d", np.zeros((2, 65536), np.uint8), np.array([0, 1]))
    assert widest.n_features == 65536
    most = from_arrays("d", np.zeros((1024, 1), np.uint8), np.arange(1024))
    assert most.n_classes == 1024
    assert from_arrays("d", np.array([[-32768], [32767]]), np.array([0, 1])).x.dtype == np.int16


def test_check_refuses_a_dtype_that_from_arrays_would_convert() -> None:
    with pytest.raises(DataError, match="samples are float64"):
        check(Dataset("d", X.astype(np.float64), Y.astype(np.uint16), ("a", "b", "c")))
