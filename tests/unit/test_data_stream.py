"""Samples one at a time, from a data set and from lines of text."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehff.data import stream
from edgehff.data.dataset import from_arrays
from edgehff.data.split import shuffled
from edgehff.data.stream import read_lines, samples
from edgehff.errors import DataError

DATA = from_arrays("d", np.arange(20, dtype=np.int16).reshape(10, 2), np.arange(10) % 3)


def test_recording_order() -> None:
    seen = list(samples(DATA, "recording"))
    assert [x.tolist() for x, _ in seen] == DATA.x.tolist()
    assert [label for _, label in seen] == DATA.y.tolist()
    assert all(type(label) is int for _, label in seen)


def test_shuffled_order_follows_the_seed() -> None:
    order = shuffled(10, 5)
    seen = list(samples(DATA, "shuffled", seed=5))
    assert [x.tolist() for x, _ in seen] == DATA.x[order].tolist()
    assert [label for _, label in seen] == DATA.y[order].tolist()


@pytest.mark.parametrize(
    ("line", "values", "label"),
    [
        ("1,2.5,-3e2", [1, 2.5, -300], None),
        ("1, 2, 3, 4", [1, 2, 3], 4),
        ("1,2,3,-1", [1, 2, 3], -1),
        ("1,2,3, fist ", [1, 2, 3], "fist"),
        ("1,2,3,1.5", [1, 2, 3], "1.5"),
        ("1,2,3,²", [1, 2, 3], "²"),
        ('{"x": [1, 2.5, 3], "label": 2}', [1, 2.5, 3], 2),
        ('{"x": [1, 2, 3], "label": "fist"}', [1, 2, 3], "fist"),
        (' {"x": [1, 2, 3], "label": null}', [1, 2, 3], None),
        ('{"x": [1, 2, 3], "time": 5}', [1, 2, 3], None),
    ],
)
def test_a_line_is_a_sample(line: str, values: list[float], label: int | str | None) -> None:
    [(x, found)] = read_lines(io.StringIO(f"\n{line}\r\n\n"), 3)
    assert x.dtype == np.float32
    assert x.tolist() == values
    assert found == label
    assert type(found) is type(label)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1,2", "2 cells; 3 values, or 3 and a label"),
        ("1,2,3,4,5", "5 cells"),
        ("1,two,3", "cell 2 is 'two', not a finite number"),
        ("1,nan,3", "cell 2 is 'nan'"),
        ("1,2,", "cell 3 is ''"),
        ("1,2,3,", "the label is empty"),
        ("1,2,1e39", "value 3 is beyond the range of float32"),
        ('{"x": [1, 2, 3]', "not JSON"),
        ('{"x": [1, 2]}', "2 values; 3 are expected"),
        ('{"y": [1, 2, 3]}', 'no list "x"'),
        ('{"x": 1}', 'no list "x"'),
        ('{"x": [1, NaN, 3]}', r"x\[1\] is nan"),
        ('{"x": [1, -Infinity, 3]}', r"x\[1\] is -inf"),
        ('{"x": [1, true, 3]}', r"x\[1\] is True"),
        ('{"x": [1, "2", 3]}', r"x\[1\] is 2, not a finite number"),
        ('{"x": [1, [2], 3]}', r"x\[1\] is \[2\]"),
        ('{"x": [1, 2, 3], "label": 1.5}', "the label is 1.5"),
        ('{"x": [1, 2, 3], "label": true}', "the label is True"),
        ('{"x": [1, 2, 3], "label": [1]}', r"the label is \[1\]"),
        ('{"x": [1, 2, 1' + "0" * 400 + "]}", r"x\[2\] is 10"),
        ('{"x": ' + "[" * 100_000, "not JSON"),
    ],
)
def test_a_bad_line_is_named(line: str, message: str) -> None:
    lines = read_lines(io.StringIO(f"1,2,3\n\n{line}\n"), 3)
    next(lines)
    with pytest.raises(DataError, match=f"line 3: .*{message}") as refused:
        next(lines)
    assert refused.value.exit_code == 3
    assert refused.value.hint


def test_a_line_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "MAX_LINE", 10)
    assert len(list(read_lines(io.StringIO("1,2,33333\n"), 3))) == 1
    with pytest.raises(DataError, match="line 1: longer than 10 characters"):
        list(read_lines(io.StringIO("1,2,3333333\n"), 3))


def test_bytes_that_are_no_text() -> None:
    file = io.TextIOWrapper(io.BytesIO(b"1,2,\xff\n"), encoding="utf-8")
    with pytest.raises(DataError, match="line 1: not text"):
        list(read_lines(file, 3))


def test_samples_come_before_the_stream_ends() -> None:
    class Endless(io.StringIO):
        def readline(self, *_: object) -> str:
            return "1,2,3\n"

    lines = read_lines(Endless(), 3)
    assert [next(lines)[0].tolist() for _ in range(3)] == [[1, 2, 3]] * 3


finite = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(x=st.lists(finite, min_size=1, max_size=20), label=st.integers(0, 1023), as_json=st.booleans())
def test_what_is_written_is_read(x: list[float], label: int, as_json: bool) -> None:
    line = json.dumps({"x": x, "label": label}) if as_json else ",".join(map(repr, [*x, label]))
    [(values, found)] = read_lines(io.StringIO(line), len(x))
    assert values.tolist() == x
    assert found == label


@given(text=st.text(st.sampled_from('0123456789.,-e{}[]":xlab \n²\x00'), max_size=80))
def test_any_text_ends_in_a_data_error_or_in_samples(text: str) -> None:
    try:
        seen = list(read_lines(io.StringIO(text), 2))
    except DataError:
        return
    assert all(x.shape == (2,) for x, _ in seen)
