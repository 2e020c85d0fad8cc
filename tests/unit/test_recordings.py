"""Folders of event cameras' recordings as one data set."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from edgehff.data import recordings
from edgehff.data.events import EVENT, counts
from edgehff.data.recordings import Frames, load_recordings
from edgehff.errors import DataError

FRAMES = Frames((5, 6), 2, 1000)


def write(path: Path, events: list[tuple[int, int, int, int]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(bytes([x, y]) + struct.pack(">I", p << 23 | t)[1:] for t, x, y, p in events))


def test_class_folders_are_classes(tmp_path: Path) -> None:
    for name in ("d", "c", "e"):
        write(tmp_path / name / "1.bin", [(0, 0, 0, 0)])
    write(tmp_path / "b" / "1.bin", [(0, 1, 2, 1), (1500, 1, 2, 1), (2500, 0, 0, 0)])
    write(tmp_path / "a" / "2.bin", [(0, 5, 4, 0)])
    write(tmp_path / "a" / "1.bin", [(7, 3, 3, 1)])
    write(tmp_path / "a" / ".3.bin", [])
    np.save(tmp_path / "b" / "2.npy", np.array([(0, 0, 1, 1)], EVENT))
    (tmp_path / "README").write_text("about it")
    found, share = load_recordings(tmp_path, FRAMES)
    assert found.class_names == ("a", "b", "c", "d", "e")
    assert found.y.tolist() == [0, 0, 1, 1, 2, 3, 4]
    assert found.is_test is None
    assert found.x.shape == (7, 2, 5, 6, 2)
    assert found.x.dtype == np.uint8
    assert np.argwhere(found.x[:4]).tolist() == [
        [0, 0, 3, 3, 1],
        [1, 0, 4, 5, 0],
        [2, 0, 2, 1, 1],
        [2, 1, 2, 1, 1],
        [3, 0, 1, 0, 1],
    ]
    assert share == 8 / 9


def test_train_and_test_are_no_classes(tmp_path: Path) -> None:
    for part, label in (("Train", "0"), ("Train", "1"), ("Test", "1")):
        write(tmp_path / part / label / "1.bin", [(0, 1, 1, 1)])
    found, _ = load_recordings(tmp_path, FRAMES)
    assert found.class_names == ("0", "1")
    assert found.is_test is not None
    assert found.is_test.tolist() == [False, False, True]
    assert found.y.tolist() == [0, 1, 1]
    write(tmp_path / "2" / "1.bin", [(0, 1, 1, 1)])
    with pytest.raises(DataError, match="2 beside test"):
        load_recordings(tmp_path, FRAMES)


def test_pixels_are_counted_together() -> None:
    events = np.array([(0, 0, 0, 1), (1, 1, 1, 1), (2, 4, 4, 1), (3, 5, 3, 0)], EVENT)
    found = counts(events, (5, 7), 1, 1000, pool=2)
    wanted = np.zeros((1, 3, 4, 2), np.uint8)
    wanted[0, 0, 0, 1] = 2
    wanted[0, 2, 2, 1] = 1
    wanted[0, 1, 2, 0] = 1
    assert np.array_equal(found, wanted)
    assert Frames((5, 7), 1, 1000, 2).shape == wanted.shape


def test_folders_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="no recordings in class folders"):
        load_recordings(tmp_path, FRAMES)
    with pytest.raises(DataError, match="nowhere: No such file"):
        load_recordings(tmp_path / "nowhere", FRAMES)
    write(tmp_path / "a" / "1.bin", [(0, 6, 1, 1)])
    write(tmp_path / "b" / "1.bin", [(0, 5, 1, 1)])
    with pytest.raises(DataError, match=r"1\.bin: an event at x = 6, y = 1 of 6 x 5 pixels"):
        load_recordings(tmp_path, FRAMES)
    write(tmp_path / "a" / "1.bin", [])
    with pytest.raises(DataError, match=r"1\.bin: no events in it"):
        load_recordings(tmp_path, FRAMES)
    (tmp_path / "a" / "1.bin").rename(tmp_path / "a" / "1.avi")
    with pytest.raises(DataError, match=r"1\.avi: no recording of events"):
        load_recordings(tmp_path, FRAMES)
    with pytest.raises(DataError, match="2 x 260 x 346 x 2 values a sample, 65,536 are possible") as caught:
        load_recordings(tmp_path, Frames((260, 346), 2, 1000))
    assert "--pool 2" in caught.value.hint
    monkeypatch.setattr(recordings, "MAX_BYTES", 239)
    with pytest.raises(DataError, match="over 239 bytes"):
        load_recordings(tmp_path, FRAMES)
