"""Samples one at a time, from a data set and from lines of text."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehff.data.dataset import from_arrays
from edgehff.data.split import shuffled
from edgehff.data.stream import parse_line, samples
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
    item = parse_line(f"{line}\r\n", 3)
    assert item.values is not None
    assert item.values.dtype == np.float32
    assert item.values.tolist() == values
    assert item.label == label
    assert type(item.label) is type(label)


def test_a_label_may_come_after_its_sample() -> None:
    first, then = parse_line('{"x": [1, 2], "id": "a7"}', 2), parse_line('{"id": "a7", "label": 1}', 2)
    assert (first.sample_id, first.label) == ("a7", None)
    assert (then.sample_id, then.label, then.values) == ("a7", 1, None)


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
        ('{"id": "a"}', 'no list "x"'),
        ('{"label": 1}', 'no list "x"'),
        ('{"x": [1, 2, 3], "id": 7}', "the id is '7'"),
        ('{"x": [1, 2, 3], "id": ""}', "the id is ''"),
        ('{"x": [1, 2, 3], "id": "' + "a" * 256 + '"}', "not text of 1 to 255"),
        ('{"x": [' + "1," * 100_000 + "1]}", "100001 values; 3 are expected"),
    ],
)
def test_a_bad_line_is_named(line: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as refused:
        parse_line(line, 3)
    assert refused.value.exit_code == 3
    assert refused.value.hint


finite = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(x=st.lists(finite, min_size=1, max_size=20), label=st.integers(0, 1023), as_json=st.booleans())
def test_what_is_written_is_read(x: list[float], label: int, as_json: bool) -> None:
    line = json.dumps({"x": x, "label": label}) if as_json else ",".join(map(repr, [*x, label]))
    item = parse_line(line, len(x))
    assert item.values is not None
    assert item.values.tolist() == x
    assert item.label == label


@given(text=st.text(st.sampled_from('0123456789.,-e{}[]":xlab \n²\x00'), max_size=80))
def test_any_text_ends_in_a_data_error_or_in_a_sample(text: str) -> None:
    try:
        item = parse_line(text, 2)
    except DataError:
        return
    assert item.values is None or item.values.shape == (2,)
