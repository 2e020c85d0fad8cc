"""Streams that are torn, malformed, endless or slow: an item, a refusal or a pause each, and bounded."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehff.data.stream import Item
from edgehff.errors import InputError, NoDeviceError
from edgehff.personalize import sources
from edgehff.personalize.sources import Came, Descriptor, Refusal, SerialPort


class Chunks:
    """A byte source of given pieces; b"" is a pause."""

    def __init__(self, *chunks: bytes) -> None:
        self.chunks = iter(chunks)

    def read(self, _: float) -> bytes | None:
        return next(self.chunks, None)

    def close(self) -> None:
        pass


def plain(stream: Iterator[Came]) -> list[object]:
    """What came, in short: (values, label) or (values, label, id), "where: reason", None."""
    out: list[object] = []
    for came in stream:
        if isinstance(came, Item):
            values = None if came.values is None else came.values.tolist()
            out.append((values, came.label, came.sample_id) if came.sample_id else (values, came.label))
        elif isinstance(came, Refusal):
            out.append(f"{came.where}: {came.reason}")
        else:
            out.append(came)
    return out


def test_lines_are_put_together_from_pieces_and_pauses_are_told() -> None:
    got = plain(sources.lines(Chunks(b"1,2", b"", b",fist\r\n\n3,4\n", b"5,", b"6,0\n"), 2))
    assert got == [None, ([1, 2], "fist"), ([3, 4], None), ([5, 6], 0)]


def test_a_bad_line_is_passed_over_with_its_number_and_the_next_one_read() -> None:
    text = b'1,2,a\n1\n{"x": [1, 2], "id": "k"}\n\xff\xfe\n1,nan\n{"id": "k", "label": "a"}\n3,4,b\n'
    assert plain(sources.lines(Chunks(text), 2)) == [
        ([1, 2], "a"),
        "line 2: 1 cells; 2 values, or 2 and a label, are expected",
        ([1, 2], None, "k"),
        "line 4: not text: invalid start byte",
        "line 5: cell 2 is 'nan', not a finite number",
        (None, "a", "k"),
        ([3, 4], "b"),
    ]


def test_a_line_that_ends_nowhere_is_not_learned_unless_it_closes_itself() -> None:
    assert plain(sources.lines(Chunks(b"1,2,a\n1,2,1"), 2)) == [
        ([1, 2], "a"),
        "line 2: the stream ends in the middle of it",
    ]
    assert plain(sources.lines(Chunks(b'{"x": [1, 2]}'), 2)) == [([1, 2], None)]
    assert plain(sources.lines(Chunks(b'{"x": [1, 2'), 2))[0].startswith("line 1: not JSON")  # type: ignore[attr-defined]


def test_a_line_of_any_length_takes_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MAX_LINE", 100)
    held = []

    class Endless(Chunks):
        def read(self, _: float) -> bytes | None:
            chunk = next(self.chunks, None)
            held.append(0 if chunk is None else len(chunk))
            return chunk

    got = plain(sources.lines(Endless(*[b"1," * 50] * 1000, b"\n1,2,a\n", b"3" * 101 + b"\n5,6\n"), 2))
    assert got == [
        "line 1: longer than 100 bytes",
        ([1, 2], "a"),
        "line 3: longer than 100 bytes",
        ([5, 6], None),
    ]
    assert plain(sources.lines(Chunks(b"1" * 60, b"1" * 60), 2)) == ["line 1: longer than 100 bytes"]


def test_a_sample_of_a_million_numbers_is_refused() -> None:
    text = b"1," * 999_999 + b"1\n1,2\n"
    pieces = [text[i : i + 65536] for i in range(0, len(text), 65536)]
    assert plain(sources.lines(Chunks(*pieces), 2)) == [
        "line 1: 1000000 cells; 2 values, or 2 and a label, are expected",
        ([1, 2], None),
    ]


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "float32"])
def test_binary_records(dtype: str) -> None:
    values = np.array([1, 2, 100], dtype)
    record = (5).to_bytes(2, "little") + values.astype(values.dtype.newbyteorder("<")).tobytes()
    blank = b"\xff\xff" + record[2:]
    stream = record + blank + record[:3]
    got = plain(sources.records(Chunks(stream[:4], b"", stream[4:]), 3, np.dtype(dtype)))
    end = f"record 3: the stream ends in the middle of it: 3 of {len(record)} bytes"
    assert got == [None, ([1, 2, 100], 5), ([1, 2, 100], None), end]


def test_a_binary_record_with_nan_is_refused() -> None:
    bad = b"\0\0" + np.array([1, np.nan], "<f4").tobytes()
    assert plain(sources.records(Chunks(bad), 2, np.dtype("float32"))) == [
        "record 1: a value is NaN or infinite"
    ]


@given(data=st.binary(max_size=300), cuts=st.lists(st.integers(0, 300), max_size=6), binary=st.booleans())
def test_any_bytes_end_and_do_not_depend_on_how_they_are_cut(
    data: bytes, cuts: list[int], binary: bool
) -> None:
    def read(*chunks: bytes) -> list[object]:
        parse = sources.parser("binary" if binary else "text", 2, np.dtype("int8"))
        return [came for came in plain(parse(Chunks(*chunks))) if came is not None]

    ends = [0, *sorted(min(c, len(data)) for c in cuts), len(data)]
    assert read(*(data[a:b] for a, b in pairwise(ends))) == read(data)


def test_a_pipe_that_stalls_gives_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "PAUSE_S", 0.01)
    out, into = os.pipe()
    source = Descriptor(out)
    stream = sources.lines(source, 2)
    os.write(into, b"1,2,a\n3")
    assert plain(islice(stream, 3)) == [([1, 2], "a"), None, None]
    os.write(into, b",4\n")
    os.close(into)
    assert [came for came in plain(stream) if came is not None] == [([3, 4], None)]
    source.close()


def test_a_folders_files_are_read_once_in_order_and_moved(tmp_path: Path) -> None:
    for name, text in (("b.csv", "3,4,b\n"), ("a.csv", "1,2,a\n1\n"), ("c.csv.tmp", "5,6\n"), ("d.md", "x")):
        (tmp_path / name).write_text(text)
    (tmp_path / "e.bin").write_bytes(b"\x01\x00\x07\x08")

    def more(_: float) -> None:
        (tmp_path / "c.csv.tmp").rename(tmp_path / "c.csv")

    stream = sources.folder(tmp_path, sources.by_suffix(2, np.dtype("int8")), pause=more)
    assert plain(islice(stream, 5)) == [
        ([1, 2], "a", "a.csv:1"),
        "a.csv, line 2: 1 cells; 2 values, or 2 and a label, are expected",
        ([3, 4], "b", "b.csv:1"),
        ([7, 8], 1, "e.bin:1"),
        None,
    ]
    assert sorted(p.name for p in (tmp_path / "done").iterdir()) == ["a.csv", "b.csv", "e.bin"]
    assert plain(islice(stream, 1)) == [([5, 6], None, "c.csv:1")]
    with pytest.raises(InputError, match="No such file"):
        next(sources.folder(tmp_path / "none" / "none", {}))


def test_a_serial_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "PAUSE_S", 0.05)
    leader, follower = os.openpty()
    os.set_blocking(leader, False)
    port = SerialPort(os.ttyname(follower), 115200)
    stream = sources.lines(port, 2)
    assert plain(islice(stream, 1)) == [None]
    threading.Timer(0.01, lambda: os.write(leader, b"1,2,a\n3,4\n")).start()
    assert plain(islice((c for c in stream if c is not None), 2)) == [([1, 2], "a"), ([3, 4], None)]
    port.close()
    os.close(leader)
    os.close(follower)
    with pytest.raises(NoDeviceError, match="cannot open"):
        SerialPort("/dev/no-such-port", 115200)
