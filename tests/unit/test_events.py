"""Recordings of event cameras: their files, and counts by step."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from edgehff import extras
from edgehff.data import events
from edgehff.data.events import EVENT, counts, read
from edgehff.errors import DataError, MissingToolError

LINES = [(100, 3, 1, 1), (100, 3, 1, 1), (1099, 0, 4, 0), (1100, 5, 0, 1), (3100, 2, 2, 0)]


def recording() -> np.ndarray:
    return np.array(LINES, EVENT)


def test_events_fall_in_steps_from_the_first_on() -> None:
    found = counts(recording(), (5, 6), 2, 1000)
    wanted = np.zeros((2, 5, 6, 2), np.uint8)
    wanted[0, 1, 3, 1] = 2
    wanted[0, 4, 0, 0] = 1
    wanted[1, 0, 5, 1] = 1
    assert np.array_equal(found, wanted)  # the last one comes too late
    assert counts(recording(), (5, 6), 4, 1000)[3, 2, 2, 0] == 1


def test_more_events_than_a_byte_holds_are_cut_off() -> None:
    assert counts(np.repeat(recording()[:1], 300), (5, 6), 1, 10)[0, 1, 3, 1] == 255


def test_what_is_no_recording_is_refused() -> None:
    with pytest.raises(DataError, match="x = 5, y = 4 of 5 x 5 pixels"):
        counts(recording(), (5, 5), 2, 1000)
    with pytest.raises(DataError, match="events without p, t"):
        counts(np.zeros(3, [("x", "u1"), ("y", "u1")]), (5, 5), 2, 1000)


def test_files_of_n_mnist(tmp_path: Path) -> None:
    path = tmp_path / "digit.bin"
    data = b"".join(bytes([x, y]) + struct.pack(">I", p << 23 | t)[1:] for t, x, y, p in LINES)
    path.write_bytes(data)
    assert read(path).tolist() == recording().tolist()
    late = struct.pack(">I", 1 << 23 | (1 << 23) - 1)[1:]
    path.write_bytes(b"\x21\x00" + late)
    assert read(path).tolist() == [((1 << 23) - 1, 33, 0, 1)]
    path.write_bytes(data[:-1])
    with pytest.raises(DataError, match="24 bytes, events have five"):
        read(path)
    path.write_bytes(b"")
    with pytest.raises(DataError, match="no events in it"):
        read(path)


def test_arrays_as_tonic_has_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.npy"
    tonics = np.array(
        [(x, y, t, p) for t, x, y, p in LINES], [("x", "i2"), ("y", "i2"), ("t", "i8"), ("p", "?")]
    )
    np.save(path, tonics)
    assert np.array_equal(counts(read(path), (5, 6), 2, 1000), counts(recording(), (5, 6), 2, 1000))
    path.write_bytes(b"no array")
    with pytest.raises(DataError, match=r"a\.npy"):
        read(path)
    np.save(path, np.array([{}], object), allow_pickle=True)
    with pytest.raises(DataError, match=r"a\.npy"):
        read(path)
    monkeypatch.setattr(events, "MAX_BYTES", 7)
    with pytest.raises(DataError, match="over 7 bytes"):
        read(path)
    with pytest.raises(DataError, match=r"a\.txt: no recording"):
        read(tmp_path / "a.txt")


def test_files_of_aedat4(tmp_path: Path) -> None:
    """small.aedat4 was written by dv-processing 2.0.4: EVENTS, after 1.7e15 microseconds."""
    pytest.importorskip("aedat")
    found = read(Path(__file__).with_name("small.aedat4"))
    assert (found["t"] - 1_700_000_000_000_000).tolist() == recording()["t"].tolist()
    for field in ("x", "y", "p"):
        assert found[field].tolist() == recording()[field].tolist()
    path = tmp_path / "a.aedat4"
    path.write_bytes(b"#!AER-DAT4.0\r\nbut no more")
    with pytest.raises(DataError, match=r"a\.aedat4: .*buffer"):
        read(path)


def test_aedat4_wants_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.aedat4"
    path.write_bytes(b"#!AER-DAT4.0")
    monkeypatch.setattr(extras, "find_spec", {}.get)
    with pytest.raises(MissingToolError, match="aedat is not installed"):
        read(path)
