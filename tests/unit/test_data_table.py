"""CSV tables: what is read, and that a mistake is named by its line and column."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgehff.data import table
from edgehff.data.files import load_path
from edgehff.errors import DataError


def save(folder: Path, text: str | bytes) -> Path:
    path = folder / "mine.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_no_header_and_the_label_last(tmp_path: Path) -> None:
    dataset = load_path(save(tmp_path, "1,2.5,0\n3,-4,1\n\n5,6,0\n"))
    assert dataset.name == "mine"
    assert dataset.x.dtype == np.float32
    assert dataset.x.tolist() == [[1, 2.5], [3, -4], [5, 6]]
    assert dataset.y.tolist() == [0, 1, 0]
    assert dataset.class_names == ("0", "1")
    assert dataset.group is None
    assert dataset.is_test is None


def test_whole_values_become_int16(tmp_path: Path) -> None:
    assert load_path(save(tmp_path, "1,-32768,0\n3,32767.0,1\n")).x.dtype == np.int16


@pytest.mark.parametrize("beyond", ["32768", "-32769"])
def test_whole_values_beyond_int16_become_float(tmp_path: Path, beyond: str) -> None:
    dataset = load_path(save(tmp_path, f"1,{beyond},0\n3,0,1\n"))
    assert dataset.x.dtype == np.float32
    assert dataset.x[0, 1] == float(beyond)


def test_header_with_all_columns_in_any_order(tmp_path: Path) -> None:
    text = "is_test,Label,a,group,b\n0,fist,1,anna,2\ntrue,rest,3,bert,4\n1,fist,5,anna,6\n"
    dataset = load_path(save(tmp_path, text))
    assert dataset.x.tolist() == [[1, 2], [3, 4], [5, 6]]
    assert dataset.class_names == ("fist", "rest")
    assert dataset.y.tolist() == [0, 1, 0]
    assert dataset.group is not None
    assert dataset.group.tolist() == [0, 1, 0]
    assert dataset.is_test is not None
    assert dataset.is_test.tolist() == [False, True, True]


@pytest.mark.parametrize(
    "header", ["label,a,b", "a,y,b", "class,0,1", "0,1,label", "a,b,c", "\ufeffa,b,label"]
)
def test_headers(tmp_path: Path, header: str) -> None:
    dataset = load_path(save(tmp_path, f"{header}\n0,1,0\n1,0,1\n"))
    assert len(dataset) == 2


@pytest.mark.parametrize("text", ["\ufefflabel,a\n0,7\n1,7\n", "\ufeff7,0\n7,1\n"])
def test_a_byte_order_mark_is_no_part_of_the_first_cell(tmp_path: Path, text: str) -> None:
    dataset = load_path(save(tmp_path, text))
    assert dataset.x.tolist() == [[7], [7]]
    assert dataset.y.tolist() == [0, 1]


def test_a_first_row_whose_label_is_y_is_data(tmp_path: Path) -> None:
    assert load_path(save(tmp_path, "1,2,y\n3,4,n\n")).class_names == ("n", "y")


def test_integer_groups_stay_as_they_are(tmp_path: Path) -> None:
    dataset = load_path(save(tmp_path, "a,group,label\n1,7,0\n2,-3,1\n"))
    assert dataset.group is not None
    assert dataset.group.tolist() == [7, -3]


def test_labels_written_as_floats(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    np.savetxt(path, np.array([[0.5, 1], [0.25, 0]]), delimiter=",")
    assert load_path(path).y.tolist() == [1, 0]


def test_quoted_cells_and_windows_line_ends(tmp_path: Path) -> None:
    dataset = load_path(save(tmp_path, 'a,label\r\n"1","left, up"\r\n2,right\r\n'))
    assert dataset.class_names == ("left, up", "right")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no samples"),
        ("a,b,label\n", "no samples"),
        ("1\n2\n", "line 1 has 0 value columns"),
        ("1;2;0\n1;2;1\n", "line 1 has 0 value columns"),
        ("1,2,0\n1,2\n", "line 2 has 2 columns, the first line has 3"),
        ("1,2,0\n1,2,3,1\n", "line 2 has 4 columns"),
        ("1,2,0\n1,two,1\n", "line 2, column 2: 'two' is not a finite number"),
        ("1,2,0\n1,,1\n", "line 2, column 2: '' is not a finite number"),
        ("a,b,label\n1,nan,0\n", "line 2, column 2: 'nan'"),
        ("1,2,0\n\n1,-inf,1\n", "line 3, column 2: '-inf'"),
        ("1,2,0\n1,1_0,1\n", "line 2, column 2: '1_0'"),
        ("1,2,0\n1,2,\n", "line 2, column 3: no label"),
        ("1,2,0\n1,2,NaN\n", "line 2, column 3: no label"),
        ("1,2,0\n1,2,0.5\n", "line 2, column 3: label 0.5 is not a whole number"),
        ("1,2,0\n1,2,1e300\n", "line 2, column 3: label 1e[+]300"),
        ("1,2,0\n1,2,-1\n", "row 1 has label -1"),
        ("1,2,0\n1,2,1024\n", "row 1 has label 1024"),
        ("1,2,0\n1,2,2\n", "no sample of 1 of 3 classes: '1'"),
        ("1,2,0\n1,1e39,1\n", "1 values are NaN or infinite in 1 rows, the first in row 1"),
        ("label,y,b\n0,1,2\n", "line 1 names 2 label columns"),
        ("a,is_test,label\n1,maybe,0\n", "line 2, column 2: is_test is 'maybe'"),
        ("group,is_test\n1,0\n", "line 1 has 0 value columns"),
        ('1,2,0\n1,"2,1\n', "line 2: "),
        ('1,2,0\n1,"2"x,1\n', "line 2: "),
        (b"1,2,0\n1,\xff,1\n", "not UTF-8 text: invalid start byte"),
        (b"1,2,0\n1,\x00,1\n", "line 2"),
        ("1,2,0\n" + "9" * 200_000 + ",2,1\n", "line 2"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(DataError, match=message) as refused:
        load_path(save(tmp_path, text))
    assert refused.value.hint


def test_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path, "1,2,0\n1,2,1\n1,2,0\n")
    monkeypatch.setattr(table, "MAX_ROWS", 2)
    with pytest.raises(DataError, match="more than 2 rows"):
        load_path(path)
    monkeypatch.setattr(table, "MAX_ROWS", 3)
    monkeypatch.setattr(table, "MAX_VALUES", 5)
    with pytest.raises(DataError, match="or 5 values"):
        load_path(path)
    monkeypatch.setattr(table, "MAX_VALUES", 6)
    assert len(load_path(path)) == 3
    monkeypatch.setattr(table, "MAX_LINE", 5)
    with pytest.raises(DataError, match="line 1 is longer than 5 characters"):
        load_path(path)


def test_too_wide(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="line 1 has 65537 value columns"):
        load_path(save(tmp_path, "0," * 65537 + "1\n"))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.sampled_from('0123456789.,-ea\n\r"\x00 é'), max_size=60))
def test_any_text_ends_in_a_data_error_or_in_data(tmp_path: Path, text: str) -> None:
    try:
        dataset = load_path(save(tmp_path, text))
    except DataError:
        return
    assert np.isfinite(dataset.x).all()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(*[st.floats(width=32, allow_nan=False, allow_infinity=False)] * 3), min_size=2)
)
def test_what_is_written_is_read(tmp_path: Path, rows: list[tuple[float, float, float]]) -> None:
    text = "".join(f"{a!r},{b!r},{c!r},{i % 2}\n" for i, (a, b, c) in enumerate(rows))
    dataset = load_path(save(tmp_path, text))
    assert dataset.x.astype(np.float32).tolist() == np.array(rows, np.float32).tolist()
    assert dataset.y.tolist() == [i % 2 for i in range(len(rows))]
